//go:build linux

package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/check"
	"lifeline/proof/pid"
)

// attack is one run of the driver.
type attack struct {
	settings
	seed     uint64
	rounds   int
	only     func(kind) bool // nil: every fault
	progress io.Writer
}

// outcome is the result of an attack.
type outcome struct {
	*check.Cluster
	leftovers []string
	atEnd     int      // instances when all was quiet again
	stuck     []string // rounds after which no instance came up in time
	said      []string // what guards printed at ticks that should be silent
	rounds    int
}

// cron is the interval between ticks.
const cron = 200 * time.Millisecond

// driver plays cron on every node, and does the damage.
type driver struct {
	*arena
	attack attack
	stop   chan struct{}
	crons  sync.WaitGroup
	faults sync.WaitGroup
	mu     sync.Mutex
	result outcome
}

func run(c attack) (*outcome, error) {
	if c.nodes == 0 {
		c.nodes = 2 + int(rand.New(rand.NewPCG(c.seed, 1<<40)).IntN(4))
	}
	a, err := open(c.settings)
	if err != nil {
		return nil, err
	}
	defer a.close()
	d := &driver{arena: a, attack: c, stop: make(chan struct{})}
	d.watch.Note("begin", "")
	for i, n := range d.nodes {
		d.crons.Go(func() { d.cron(n, uint64(i)) })
	}
	for n := range c.rounds {
		if !d.awaitQuiet(30*time.Second + 10*c.ttl) {
			d.result.stuck = append(d.result.stuck, fmt.Sprintf("before round %d: %s", n, d.state()))
			break
		}
		d.play(n)
		d.result.rounds++
		if err := d.failed(); err != nil {
			return nil, err
		}
	}
	d.awaitQuiet(30*time.Second + 10*c.ttl)
	d.result.atEnd = len(d.watch.Living())
	d.watch.Note("end", "")
	close(d.stop)
	d.crons.Wait()
	d.result.leftovers = d.sweep(10*time.Second + 2*c.ttl)
	for _, n := range d.nodes {
		n.done.Wait()
	}
	d.result.Cluster, err = d.judge()
	return &d.result, err
}

// cron ticks one node.
func (d *driver) cron(n *node, number uint64) {
	rng := rand.New(rand.NewPCG(d.attack.seed, 1<<41+number))
	clock := time.NewTicker(cron)
	defer clock.Stop()
	for {
		var flags []string
		if rng.IntN(2) == 0 {
			flags = append(flags, "-ignore-term")
		}
		n.tick(flags...)
		if d.subject.again && rng.IntN(50) == 0 {
			if err := n.beside(); err != nil {
				d.mu.Lock()
				d.result.said = append(d.result.said, err.Error())
				d.mu.Unlock()
			}
		}
		select {
		case <-d.stop:
			return
		case <-clock.C:
		}
	}
}

func (d *driver) failed() error {
	for _, n := range d.nodes {
		n.mu.Lock()
		err := n.err
		n.mu.Unlock()
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitQuiet waits until as many workers run as there are slots.
func (d *driver) awaitQuiet(limit time.Duration) bool {
	deadline := time.After(limit)
	for {
		changed := d.watch.Changed()
		if len(d.watch.Living()) >= max(1, d.slots) {
			return true
		}
		select {
		case <-changed:
		case <-deadline:
			return false
		}
	}
}

// state describes every node, for a report.
func (d *driver) state() string {
	list := []string{"the engine serves"}
	if err := d.engine.Ready(5 * time.Second); err != nil {
		list[0] = err.Error()
	}
	for _, n := range d.nodes {
		n.mu.Lock()
		line := fmt.Sprintf("%s: %d guards begun, codes %v", n.name, n.begun, n.codes[max(0, len(n.codes)-5):])
		n.mu.Unlock()
		if text, err := os.ReadFile(d.path("said-" + n.name)); err == nil {
			lines := strings.Split(strings.TrimSpace(string(text)), "\n")
			line += ", said last: " + strings.Join(lines[max(0, len(lines)-3):], " | ")
		}
		list = append(list, line)
	}
	return strings.Join(list, "\n")
}

// play carries out the faults of a round, and waits until they are undone.
func (d *driver) play(n int) {
	plan := planOf(d.attack.seed, n, d.ttl)
	if d.attack.progress != nil {
		fmt.Fprintf(d.attack.progress, "round %d: %v\n", n, plan)
	}
	for _, act := range plan {
		if d.attack.only != nil && !d.attack.only(act.kind) {
			continue
		}
		d.faults.Go(func() {
			time.Sleep(act.after)
			d.do(act)
		})
	}
	d.faults.Wait()
}

// target picks a node: mostly the node whose worker runs.
func (d *driver) target(pick float64) *node {
	living := d.watch.Living()
	if pick < 0.8 && len(living) > 0 {
		holder := nodeOf(living[int(pick/0.8*float64(len(living)))].PID)
		for _, n := range d.nodes {
			if n.name == holder {
				return n
			}
		}
	}
	return d.nodes[int(pick*997)%len(d.nodes)]
}

// do carries out one fault, from its beginning to its end.
func (d *driver) do(a action) {
	n := d.target(a.pick)
	d.watch.Note("fault", a.String()+" at "+n.name)
	undo := d.begin(a, n)
	if undo == nil {
		return
	}
	time.Sleep(a.hold)
	undo()
	d.watch.Note("fault", "end of "+a.String()+" at "+n.name)
}

func (d *driver) begin(a action, n *node) (undo func()) {
	lifeline, remote, worker := d.programs.Lifeline, d.remote, d.programs.Witness
	if d.subject.name == "etcdctl" {
		lifeline = d.etcdctl
	}
	all := func(sig unix.Signal, programs ...string) func() {
		// Find all processes before the first signal, so that the signals come close
		// together.
		var handles []*pid.Handle
		for _, p := range programs {
			for _, id := range n.processes(p) {
				if h, err := pid.Open(id); err == nil {
					handles = append(handles, h)
				}
			}
		}
		for _, h := range handles {
			h.Signal(sig)
		}
		return func() {
			for _, h := range handles {
				if sig == unix.SIGSTOP {
					h.Signal(unix.SIGCONT)
				}
				h.Close()
			}
		}
	}
	switch a.kind {
	case killLifeline:
		all(unix.SIGKILL, lifeline)()
	case killRemote:
		all(unix.SIGKILL, remote)()
	case killWorker:
		all(unix.SIGKILL, worker)()
	case killGuards:
		all(unix.SIGKILL, lifeline, remote)()
	case killNode:
		all(unix.SIGKILL, lifeline, remote, worker)()
	case termLifeline:
		n.signal(unix.SIGTERM)
	case stopLifeline:
		return all(unix.SIGSTOP, lifeline)
	case stopRemote:
		return all(unix.SIGSTOP, remote)
	case stopWorker:
		return all(unix.SIGSTOP, worker)
	case stopGuards:
		return all(unix.SIGSTOP, lifeline, remote)
	case pauseNode:
		// The guards wake up first, because the three can't wake in the same instant.
		return all(unix.SIGSTOP, lifeline, remote, worker)
	case cutNode, cutReplies:
		n.link.Cut(a.way())
		return n.link.Heal
	case killLeader:
		return d.engineDown([]int{d.engine.Leader()}, true)
	case stopLeader:
		return d.engineDown([]int{d.engine.Leader()}, false)
	case killEngine:
		var members []int
		for i := range d.engine.Addresses() {
			members = append(members, i)
		}
		return d.engineDown(members, true)
	}
	return nil
}

// engineDown kills or stops members, until undo is called.
func (d *driver) engineDown(members []int, kill bool) (undo func()) {
	for _, m := range members {
		if m < 0 {
			continue
		}
		if kill {
			d.engine.Kill(m)
		} else {
			d.engine.Signal(m, syscall.SIGSTOP)
		}
	}
	return func() {
		for _, m := range members {
			if m < 0 {
				continue
			}
			d.engine.Signal(m, syscall.SIGCONT)
			if err := d.engine.Start(m); err != nil {
				d.mu.Lock()
				d.result.stuck = append(d.result.stuck, err.Error())
				d.mu.Unlock()
			}
		}
	}
}
