//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/check"
	"lifeline/proof/engine"
)

// lapse is a way for an engine to lose what it knew.
type lapse struct {
	name   string
	engine string // etcd, postgres or "" for both
	change func(engine.Engine) (engine.Engine, error)
	before func(a *arena) error            // the engine loses what happens after this call
	do     func(a *arena, round int) error // makes the engine lose it
	off    time.Duration                   // how wrong a node's clock is
}

const clockSet = "clock set by 60 s"

// restorable is an engine whose data can be put back.
type restorable interface {
	Copy() error
	Back() error
	Wipe() error
}

var lapses = []lapse{
	{
		name:   "data put back",
		before: func(a *arena) error { return a.engine.(restorable).Copy() },
		do:     func(a *arena, _ int) error { return a.engine.(restorable).Back() },
	},
	{
		name: "wiped",
		do: func(a *arena, _ int) error {
			if err := a.engine.(restorable).Wipe(); err != nil || a.subject.prepare == nil {
				return err
			}
			return a.subject.prepare(a)
		},
	},
	{
		name: "standby promoted", engine: "postgres",
		change: func(e engine.Engine) (engine.Engine, error) { return engine.NewPair(e.(*engine.Postgres)) },
		before: func(a *arena) error {
			if err := a.engine.(*engine.Pair).Follow(); err != nil {
				return err
			}
			return a.engine.(*engine.Pair).Lag()
		},
		do: func(a *arena, _ int) error { return a.engine.(*engine.Pair).Promote() },
	},
	{
		name: "standby promoted, the primary answers nothing", engine: "postgres",
		change: func(e engine.Engine) (engine.Engine, error) { return engine.NewPair(e.(*engine.Postgres)) },
		before: func(a *arena) error { return a.engine.(*engine.Pair).Follow() },
		do:     func(a *arena, _ int) error { return a.engine.(*engine.Pair).Hang() },
	},
	{
		name: clockSet, engine: "postgres",
		change: func(e engine.Engine) (engine.Engine, error) { return e, e.(*engine.Postgres).Fake() },
		do: func(a *arena, round int) error {
			return a.engine.(*engine.Postgres).Step([]time.Duration{time.Minute, 0, -time.Minute, 0}[round%4])
		},
	},
	{
		name: "nothing lost, a node's clock ten years ahead", off: 87600 * time.Hour,
		do: func(*arena, int) error { return nil },
	},
}

// backAll makes the engines lose what they knew, in each way.
func backAll(s settings, f flags) error {
	fmt.Printf("seed %d, %d rounds, TTL %s\n\n| guard | the engine | rounds | starts | overlaps | longest overlap | "+
		"fences that fell | ticks | doubled | lost | without an instance after it: median | longest | leftovers |\n"+
		"|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n", f.seed, f.rounds, f.ttl)
	which, err := regexp.Compile(f.faults)
	if err != nil {
		return fmt.Errorf("-faults: %w", err)
	}
	good := true
	for _, name := range strings.Split(f.subjects, ",") {
		subject, ok := subjectOf(name)
		if !ok || !subject.fence {
			continue
		}
		for i, l := range lapses {
			if l.engine != "" && l.engine != subject.engine || !which.MatchString(l.name) {
				continue
			}
			for _, ticks := range []bool{false, true} {
				s.subject, s.dir = subject, filepath.Join(f.dir, fmt.Sprintf("back-%s-%d-%t", name, i, ticks))
				r, err := back(s, l, f.rounds, f.seed, ticks)
				if err != nil { // the others are to be seen, too
					good = false
					fmt.Fprintf(os.Stderr, "%s, %s: %v; its log is in %s\n", name, l.name, err, s.dir)
					continue
				}
				fmt.Println(r.row(s, l))
				if bad := r.bad(); bad != "" {
					good = false
					fmt.Fprintf(os.Stderr, "%s\nthe evidence is in %s\n", bad, s.dir)
				}
			}
		}
	}
	if !good {
		return fmt.Errorf("the promise was broken")
	}
	return nil
}

// lapsed is the result of a run with lapses.
type lapsed struct {
	*check.Cluster
	rounds    int
	gaps      []time.Duration
	ticked    ticked
	leftovers []string
}

func (r *lapsed) row(s settings, l lapse) string {
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %s | %d | %d | %d | %d | %s | %s | %d |", s.subject.name, l.name,
		r.rounds, len(r.Runs), len(r.Overlaps),
		ms(r.Longest()), len(r.Fences), r.ticked.ticks, len(r.ticked.doubled), len(r.ticked.skipped)-r.ticked.excused,
		ms(check.Quantile(r.gaps, 0.5)), ms(check.Quantile(r.gaps, 1)), len(r.leftovers))
}

func (r *lapsed) bad() string {
	var bad []string
	for _, o := range r.Overlaps {
		bad = append(bad, o.Why)
	}
	bad = append(bad, r.Fences...)
	for _, label := range r.ticked.doubled {
		bad = append(bad, "run twice: "+label)
	}
	if len(r.ticked.skipped) > r.ticked.excused {
		bad = append(bad, fmt.Sprintf("never run, and lifeline reported %d of them: %v", r.ticked.excused,
			r.ticked.skipped))
	}
	bad = append(bad, r.leftovers...)
	return strings.Join(bad, "\n")
}

// back makes a lapse in each round. In most rounds another node takes the name in the
// time that the engine then forgets. With ticks, each second has a scheduled run.
func back(s settings, l lapse, rounds int, seed uint64, ticks bool) (*lapsed, error) {
	s.change = l.change
	if s.nodes == 0 {
		s.nodes = 3
	}
	if ticks {
		base := s.subject.argv
		s.subject.argv = func(a *arena, n *node, worker []string) []string {
			argv := base(a, n, worker)
			return append([]string{argv[0], "--tick", schedule}, argv[1:]...)
		}
	}
	a, err := open(s)
	if err != nil {
		return nil, err
	}
	defer a.close()
	d := &driver{arena: a, attack: attack{settings: s, seed: seed}, stop: make(chan struct{})}
	endCron := sync.OnceFunc(func() { close(d.stop); d.crons.Wait() })
	defer endCron() // also after a failure, before the arena is closed
	var flags []string
	if ticks {
		flags = []string{"-for", "100ms"}
	}
	if l.off != 0 {
		d.nodes[0].env = []string{"LIFELINE_PROOF_CLOCK=" + l.off.String()}
	}
	for _, n := range d.nodes {
		d.crons.Go(func() { play(d, n, flags) })
	}
	r := &lapsed{}
	a.watch.Note("begin", "")
	rng := rand.New(rand.NewPCG(seed, 1<<42))
	pass := func(most time.Duration) { time.Sleep(time.Duration(rng.Int64N(int64(most)))) }
	for n := range rounds {
		started := a.watch.Started()
		if _, err := a.next(max(0, started-1), time.Minute); err != nil {
			return nil, fmt.Errorf("before round %d: %w; %s", n, err, d.state())
		}
		if !ticks && !d.awaitQuiet(time.Minute) {
			return nil, fmt.Errorf("before round %d no instance runs: %s", n, d.state())
		}
		if l.before != nil {
			if err := l.before(a); err != nil {
				return nil, err
			}
		}
		if rng.IntN(3) > 0 { // the name goes to another node
			started := a.watch.Started()
			d.handOver(d.target(0), rng.IntN(3))
			if _, err := a.next(started, time.Minute); err != nil {
				return nil, fmt.Errorf("round %d: %w; %s", n, err, d.state())
			}
		}
		pass(2 * s.ttl)
		away := a.nodes[rng.IntN(len(a.nodes))]
		away.stay(rng.IntN(3) == 0) // and comes back when the others have gone on
		a.watch.Note("fault", l.name)
		if err := l.do(a, n); err != nil {
			return nil, fmt.Errorf("round %d: %w", n, err)
		}
		pass(s.ttl)
		if rng.IntN(3) == 0 { // a new guard remembers only what is in its file
			a.nodes[rng.IntN(len(a.nodes))].signal(unix.SIGKILL)
		}
		time.Sleep(3 * s.ttl) // time in which a second instance might start
		away.stay(false)
		r.rounds++
		if err := d.failed(); err != nil {
			return nil, err
		}
	}
	if !ticks {
		d.awaitQuiet(time.Minute)
	}
	a.watch.Note("end", "")
	endCron()
	r.leftovers = d.sweep(10*time.Second + 2*s.ttl)
	if r.Cluster, err = a.judge(); err != nil {
		return nil, err
	}
	if ticks {
		r.ticked.Cluster = r.Cluster
		r.ticked.count(a)
	} else {
		for _, g := range r.Gaps {
			r.gaps = append(r.gaps, g.Length())
		}
		slices.Sort(r.gaps)
	}
	return r, nil
}

// handOver gives the name to another node: the guard ends, is killed, or stays and has to
// give up the lease. The session of a guard that stays may get its slot back later, from an
// engine that has gone back.
func (d *driver) handOver(holder *node, way int) {
	switch way {
	case 0:
		holder.signal(unix.SIGTERM)
	case 1:
		holder.signal(unix.SIGKILL)
	case 2:
		for _, to := range d.nodes {
			cmd := exec.Command(d.remote, "move", d.url(to), name, to.name)
			cmd.Env = environ()
			if to != holder && cmd.Run() == nil {
				return
			}
		}
		holder.signal(unix.SIGTERM) // no other node stands by
	}
}

// play plays cron on a node.
func play(d *driver, n *node, flags []string) {
	clock := time.NewTicker(cron)
	defer clock.Stop()
	for {
		n.tick(flags...)
		select {
		case <-d.stop:
			return
		case <-clock.C:
		}
	}
}
