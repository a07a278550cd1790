//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/check"
	"lifeline/proof/engine"
	"lifeline/proof/pid"
)

// how is a way to lose the holder.
type how struct {
	name  string
	do    func(a *arena, n *node, to *node) error
	only  bool // of all guards only lifeline can do it
	stays bool // the old holder's guard lives on
}

var ways = []how{
	{name: "planned: TERM to the guard", do: func(a *arena, n, _ *node) error {
		n.signal(unix.SIGTERM)
		if !a.subject.fence { // etcdctl doesn't pass it on
			n.each(a.programs.Witness, unix.SIGTERM)
		}
		return nil
	}},
	{name: "planned: move NAME NODE", only: true, stays: true, do: func(a *arena, n, to *node) error {
		cmd := exec.Command(a.remote, "move", a.url(to), name, to.name)
		cmd.Env = environ()
		if text, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("move: %w: %s", err, text)
		}
		return nil
	}},
	{name: "SIGKILL of the guard", do: func(_ *arena, n, _ *node) error {
		n.signal(unix.SIGKILL)
		return nil
	}},
	{name: "SIGSTOP of both programs", only: true, do: func(a *arena, n, _ *node) error {
		n.each(a.programs.Lifeline, unix.SIGSTOP)
		n.each(a.remote, unix.SIGSTOP)
		return nil
	}},
	{name: "death of the node", do: func(a *arena, n, _ *node) error {
		n.link.Cut(engine.Both) // a dead machine closes no connection
		for _, id := range pid.Below(a.programs.Dir) {
			if n.owns(id.PID) {
				if h, err := pid.Open(id); err == nil {
					h.Signal(unix.SIGKILL)
					h.Close()
				}
			}
		}
		return nil
	}},
}

// times are the times of one kind of failover.
type times struct {
	subject, way string
	total, gap   []time.Duration // from the fault, and without an instance
	both         int             // failovers in which the old worker still ran
}

// failoverAll measures every guard, and prints one table.
func failoverAll(s settings, f flags) error {
	fmt.Printf("\n### A name goes to another node of three\n\n%d of each. The fault: the signal, or the start of "+
		"`lifeline move`; to the first instruction of the next worker.\n\n| guard | TTL | way | from the fault: "+
		"median | longest | without an instance: median | longest | two at once "+
		"|\n|---|--:|---|--:|--:|--:|--:|--:|\n", f.runs)
	for _, c := range []struct {
		name string
		ttl  time.Duration
	}{{"lifeline-etcd", f.ttl}, {"etcdctl", f.ttl}, {"lifeline-postgres", f.ttl},
		{"lifeline-postgres", 500 * time.Millisecond}} {
		if !slices.Contains(strings.Split(f.subjects, ","), c.name) {
			continue
		}
		s.subject, _ = subjectOf(c.name)
		s.ttl, s.nodes, s.dir = c.ttl, 3, filepath.Join(f.dir, fmt.Sprintf("failover-%s-%s", c.name, c.ttl))
		list, _, err := failover(s, f.runs)
		if err != nil {
			return fmt.Errorf("%s: %w; its log is in %s", c.name, err, s.dir)
		}
		for _, t := range list {
			fmt.Printf("| %s | %s | %s | %s | %s | %s | %s | %d |\n", t.subject, c.ttl, t.way,
				ms(check.Quantile(t.total, 0.5)), ms(check.Quantile(t.total, 1)),
				ms(check.Quantile(t.gap, 0.5)), ms(check.Quantile(t.gap, 1)), t.both)
		}
	}
	return nil
}

// failover loses the holder in each way, runs times.
func failover(s settings, runs int) ([]times, *check.Cluster, error) {
	a, err := open(s)
	if err != nil {
		return nil, nil, err
	}
	defer a.close()
	a.watch.Note("begin", "")
	var list []times
	for _, w := range ways {
		if w.only && !s.subject.fence {
			continue
		}
		t := times{subject: s.subject.name, way: w.name}
		for range runs {
			if err := a.measure(w, &t); err != nil {
				return nil, nil, fmt.Errorf("%s: %w", w.name, err)
			}
		}
		list = append(list, t)
	}
	a.watch.Note("end", "")
	a.sweep(10*time.Second + 2*s.ttl)
	c, err := a.judge()
	return list, c, err
}

// measure measures one failover. All nodes are up before. Cron is off between the fault
// and the next start, so that a standby takes over.
func (a *arena) measure(w how, t *times) error {
	for _, n := range a.nodes {
		n.link.Heal()
	}
	holder, err := a.ready()
	if err != nil {
		return err
	}
	var to *node
	for _, n := range a.nodes {
		if n != holder {
			to = n
		}
	}
	was := a.watch.Living()
	started := a.watch.Started()
	from := pid.Now()
	a.watch.Note("fault", w.name)
	if err := w.do(a, holder, to); err != nil {
		return err
	}
	next, err := a.next(started, 30*time.Second+3*a.ttl)
	if err != nil {
		return err
	}
	t.total = append(t.total, time.Duration(next.Start-from))
	if len(was) == 1 {
		if dead := a.watch.Death(was[0]); dead == 0 {
			t.both++
		} else {
			t.gap = append(t.gap, time.Duration(next.Start-dead))
		}
	}
	if !w.stays && !holder.ends(10*time.Second+a.ttl) {
		return fmt.Errorf("the guard of %s doesn't end", holder.name)
	}
	// A worker that is left mustn't disturb the next measurement.
	for _, id := range a.watch.Living() {
		if id != next.ID {
			a.watch.Signal(id, unix.SIGKILL)
		}
	}
	return nil
}

// ready starts every node that doesn't run, waits until one node holds the name and
// the others stand by, and returns the holder.
func (a *arena) ready() (*node, error) {
	for _, n := range a.nodes {
		n.tick()
	}
	for deadline := time.Now().Add(30*time.Second + 3*a.ttl); ; time.Sleep(10 * time.Millisecond) {
		living := a.watch.Living()
		if len(living) == 1 && a.standing() {
			for _, n := range a.nodes {
				if n.name == nodeOf(living[0].PID) {
					return n, n.err
				}
			}
		}
		for _, n := range a.nodes {
			n.tick()
		}
		if time.Now().After(deadline) {
			return nil, fmt.Errorf("%d instances, and not every node stands by", len(living))
		}
	}
}

// standing reports whether the guard of every node has been up long enough to have
// reached the engine.
func (a *arena) standing() bool {
	for _, n := range a.nodes {
		n.mu.Lock()
		up := n.guard != nil && time.Since(n.since) > max(a.ttl, time.Second)
		n.mu.Unlock()
		if !up {
			return false
		}
	}
	return true
}

// ends waits until the node's guard has ended.
func (n *node) ends(limit time.Duration) bool {
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		n.mu.Lock()
		gone := n.guard == nil
		n.mu.Unlock()
		if gone {
			return true
		}
	}
	return false
}

// next waits for the next start after the first started ones.
func (a *arena) next(started int, limit time.Duration) (check.Life, error) {
	deadline := time.After(limit)
	for {
		changed := a.watch.Changed()
		if all := a.watch.Lives(); len(all) > started {
			return all[started], nil
		}
		select {
		case <-changed:
		case <-deadline:
			return check.Life{}, fmt.Errorf("no worker started within %s", limit)
		}
	}
}
