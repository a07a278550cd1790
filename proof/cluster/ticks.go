//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/check"
)

// drill is a run of a scheduled job on nodes whose clocks differ.
type drill struct {
	settings
	seed  uint64
	ticks int           // runs to see
	apart time.Duration // between the first and the last node's clock
	kills bool          // holders are killed too, not only asked to end
	again bool          // --at-least-once
}

// ticked is the result of a drill.
type ticked struct {
	*check.Cluster
	ticks     int      // labels that were run
	doubled   []string // run more than once
	skipped   []string // never run, though an earlier and a later label were
	excused   int      // skipped labels whose claimant was killed, as another node said
	handovers int
	leftovers []string
}

// period is the period of the schedule. The schedule has seconds, because a
// thousand ticks of a minute each would take most of a day.
const period, schedule = time.Second, "@everysecond"

// ticksAll runs the drill in both modes and on both engines.
func ticksAll(s settings, f flags) error {
	fmt.Printf("%d nodes, clocks apart by %s, a tick every %s, jobs of 0 s to %s, seed %d\n\n"+
		"| guard | mode | ticks | hand-overs | doubled | skipped | of those, claimant killed | overlaps | leftovers "+
		"|\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n",
		f.tickNodes, f.apart, period, longest, f.seed)
	good := true
	for _, name := range strings.Split(f.subjects, ",") {
		subject, ok := subjectOf(name)
		if !ok || !subject.fence {
			continue
		}
		for _, again := range []bool{false, true} {
			if f.again && !again {
				continue
			}
			d := drill{settings: s, seed: f.seed, ticks: f.ticks, apart: f.apart, kills: true, again: again}
			d.subject, d.nodes, d.dir = subject, f.tickNodes, filepath.Join(f.dir,
				fmt.Sprintf("ticks-%s-%t", name, again))
			r, err := d.run()
			if err != nil {
				return fmt.Errorf("%s: %w; its log is in %s", name, err, d.dir)
			}
			fmt.Println(r.row(d))
			if bad := r.bad(d); bad != "" {
				good = false
				fmt.Fprintf(os.Stderr, "%s\nthe evidence is in %s\n", bad, d.dir)
			}
		}
	}
	if !good {
		return fmt.Errorf("the promise was broken")
	}
	return nil
}

func (r *ticked) row(d drill) string {
	mode := "at most once"
	if d.again {
		mode = "at least once"
	}
	return fmt.Sprintf("| %s | %s | %d | %d | %d | %d | %d | %d | %d |", d.subject.name, mode, r.ticks, r.handovers,
		len(r.doubled), len(r.skipped), r.excused, len(r.Overlaps), len(r.leftovers))
}

func (r *ticked) bad(d drill) string {
	var bad []string
	add := func(what string, list []string) {
		if len(list) > 0 {
			bad = append(bad, fmt.Sprintf("%s: %s", what, strings.Join(list, ", ")))
		}
	}
	if r.ticks < d.ticks {
		bad = append(bad, fmt.Sprintf("%d ticks came, not %d", r.ticks, d.ticks))
	}
	// Whether the run of a killed claimant had ended is unknown.
	if d.again && d.kills {
		add("skipped", r.skipped)
	} else {
		add("doubled", r.doubled)
		if len(r.skipped) > r.excused {
			add(fmt.Sprintf("skipped, and only %d of them had a killed claimant", r.excused), r.skipped)
		}
	}
	for _, o := range r.Overlaps {
		bad = append(bad, o.Why)
	}
	add("left over", r.leftovers)
	return strings.Join(bad, "\n")
}

// lengths has the lengths of the job by node, from nothing to longer than a period.
var lengths = []time.Duration{0, 10 * time.Millisecond, period / 3, longest}

const longest = period * 8 / 5

// job returns the job of node i.
func (d *drill) job(i int) []string {
	flags := []string{"-for", lengths[i%len(lengths)].String()}
	if i%3 == 0 {
		flags = append(flags, "-ignore-term")
	}
	return flags
}

// offset returns how wrong the clock of node i is. The clocks of the first and the last
// node differ most.
func (d *drill) offset(i int, rng *rand.Rand) time.Duration {
	switch i {
	case 0:
		return -d.apart / 2
	case 1:
		return d.apart / 2
	}
	return time.Duration(rng.Int64N(int64(d.apart)+1)) - d.apart/2
}

func (d *drill) run() (*ticked, error) {
	base := d.subject.argv
	d.subject.argv = func(a *arena, n *node, worker []string) []string {
		argv := base(a, n, worker)
		more := []string{argv[0], "--tick", schedule}
		if d.again {
			more = append(more, "--at-least-once")
		}
		return append(more, argv[1:]...)
	}
	a, err := open(d.settings)
	if err != nil {
		return nil, err
	}
	defer a.close()
	rng := rand.New(rand.NewPCG(d.seed, 1))
	for i, n := range a.nodes {
		n.env = []string{"LIFELINE_PROOF_CLOCK=" + d.offset(i, rng).String()}
	}
	r := &ticked{}
	a.watch.Note("begin", "")
	// A node whose clock is behind waits for ticks that another node has run early.
	end := time.Now().Add(4*time.Duration(d.ticks)*period + 4*d.apart)
	next := time.Now().Add(5 * period)
	for clock := time.NewTicker(cron); time.Now().Before(end) && a.watch.Started() < d.ticks+r.handovers; <-clock.C {
		for i, n := range a.nodes {
			n.tick(d.job(i)...)
			if n.err != nil {
				return nil, n.err
			}
		}
		if time.Now().After(next) {
			r.handovers++
			d.handover(a, rng)
			next = time.Now().Add(period + time.Duration(rng.Int64N(int64(12*period))))
		}
	}
	a.watch.Note("end", "")
	r.leftovers = a.sweep(10*time.Second + 2*d.ttl)
	if r.Cluster, err = a.judge(); err != nil {
		return nil, err
	}
	r.count(a)
	return r, nil
}

// handover makes the node that ran the last tick lose its lease, in one of several
// ways.
func (d *drill) handover(a *arena, rng *rand.Rand) {
	lives := a.watch.Lives()
	n := a.nodes[rng.IntN(len(a.nodes))]
	if len(lives) > 0 {
		last := lives[len(lives)-1]
		for _, m := range a.nodes {
			if m.name == last.Node() {
				n = m
			}
		}
	}
	how := rng.IntN(5)
	if !d.kills {
		how = 0
	}
	a.watch.Note("fault", fmt.Sprintf("hand-over %d at %s", how, n.name))
	switch how {
	case 0, 1:
		n.signal(unix.SIGTERM)
	case 2:
		n.signal(unix.SIGKILL)
	case 3:
		n.each(a.remote, unix.SIGKILL)
	case 4:
		n.each(a.programs.Lifeline, unix.SIGKILL)
		n.each(a.remote, unix.SIGKILL)
		n.each(a.programs.Witness, unix.SIGKILL)
	}
}

var unfinished = regexp.MustCompile(`the run for (\S+) was begun and never finished`)

// count counts the runs of each label. A label of a killed claimant may have no run;
// the next claimant then says so.
func (r *ticked) count(a *arena) {
	runs := map[string][]check.Run{}
	for _, x := range r.Runs {
		runs[x.Tick] = append(runs[x.Tick], x)
	}
	delete(runs, "")
	r.ticks = len(runs)
	var labels []string
	for label, list := range runs {
		labels = append(labels, label)
		if len(list) > 1 {
			r.doubled = append(r.doubled, fmt.Sprintf("%s (%d)", label, len(list)))
		}
	}
	slices.Sort(labels)
	slices.Sort(r.doubled)
	said := map[string]bool{}
	for _, n := range a.nodes {
		text, _ := os.ReadFile(a.path("said-" + n.name))
		for _, m := range unfinished.FindAllSubmatch(text, -1) {
			said[string(m[1])] = true
		}
	}
	if len(labels) == 0 {
		return
	}
	first, _ := time.Parse(time.RFC3339, labels[0])
	last, _ := time.Parse(time.RFC3339, labels[len(labels)-1])
	for t := first; t.Before(last); t = t.Add(period) {
		label := t.UTC().Format(time.RFC3339)
		if len(runs[label]) == 0 {
			r.skipped = append(r.skipped, label)
			if said[label] {
				r.excused++
			}
		}
	}
}
