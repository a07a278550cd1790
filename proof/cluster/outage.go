//go:build linux

package main

import (
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"lifeline/proof/check"
	"lifeline/proof/engine"
	"lifeline/proof/pid"
)

// outage is the result of a run in which the engine was away.
type outage struct {
	*check.Cluster
	how         string
	ended       time.Duration // from the engine's end to the worker's
	back        time.Duration // from the engine's return to the next start
	exits       int           // guards that ended
	connections float64       // tried per node and second while the engine was away
	busiest     int           // the most connections that one node tried in a second
	requests    float64       // sent per node and second while the engine was away
	surge       int           // requests and connections of all nodes in the first second after the return
	normal      float64       // requests per node and second before
	atEnd       int
	leftovers   []string
}

// outageAll takes the engine away in both ways: connections are refused, and
// requests stay unanswered.
func outageAll(s settings, f flags) error {
	fmt.Printf("the engine is away for %s, five nodes, TTL %s\n\n| guard | how | the worker ended after | overlaps | "+
		"guards that ended | connections per node and s | the most in one s | requests per node and s (before) | "+
		"first s after, all nodes | next start after | at the end "+
		"|\n|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|\n", f.away, f.ttl)
	good := true
	for _, name := range strings.Split(f.subjects, ",") {
		subject, ok := subjectOf(name)
		if !ok || !subject.fence { // a peer doesn't end its worker
			continue
		}
		for _, silent := range []bool{false, true} {
			s.subject = subject
			s.nodes, s.dir = 5, filepath.Join(f.dir, fmt.Sprintf("outage-%s-%t", name, silent))
			o, err := engineAway(s, f.away, silent)
			if err != nil {
				return fmt.Errorf("%s: %w; its log is in %s", name, err, s.dir)
			}
			fmt.Printf("| %s | %s | %s | %d | %d | %.1f | %d | %.1f (%.1f) | %d | %s | %d |\n",
				name, o.how, ms(o.ended),
				len(o.Overlaps), o.exits,
				o.connections, o.busiest, o.requests, o.normal, o.surge, ms(o.back), o.atEnd)
			if bad := o.bad(s); bad != "" {
				good = false
				fmt.Println(bad)
			}
		}
	}
	if !good {
		return fmt.Errorf("a promise was broken")
	}
	return nil
}

// bad says what isn't as promised. Of the times it judges only the deadline, because
// the machine may be slow.
func (o *outage) bad(s settings) string {
	var bad []string
	if o.ended > s.ttl {
		bad = append(bad, fmt.Sprintf("the worker ended %s after the engine, later than its TTL %s", o.ended, s.ttl))
	}
	if len(o.Overlaps) > 0 {
		bad = append(bad, fmt.Sprint("overlaps: ", o.Overlaps))
	}
	if o.exits > 0 {
		bad = append(bad, fmt.Sprintf("%d guards ended instead of waiting", o.exits))
	}
	if o.atEnd != 1 {
		bad = append(bad, fmt.Sprintf("%d instances afterwards", o.atEnd))
	}
	// A holder tries twenty times per TTL while some of its lease is left.
	if o.busiest > 60 || o.requests > 20 {
		bad = append(bad, fmt.Sprintf("%d connections in one second and %.1f requests a second of one node: a flood",
			o.busiest, o.requests))
	}
	if len(o.leftovers) > 0 {
		bad = append(bad, strings.Join(o.leftovers, "\n"))
	}
	return strings.Join(bad, "\n")
}

// traffic counts the connections and requests of all nodes.
func (a *arena) traffic() (connections, requests int) {
	for _, n := range a.nodes {
		connections += n.link.Counter().Connections()
		requests += n.link.Counter().Requests()
	}
	return connections, requests
}

func engineAway(s settings, away time.Duration, silent bool) (*outage, error) {
	a, err := open(s)
	if err != nil {
		return nil, err
	}
	defer a.close()
	o := &outage{how: "refused"}
	if silent {
		o.how = "no answer"
	}
	a.watch.Note("begin", "")
	if _, err := a.ready(); err != nil {
		return nil, err
	}
	per := func(count int, d time.Duration) float64 { return float64(count) / float64(len(a.nodes)) / d.Seconds() }
	_, r0 := a.traffic()
	calm := 3 * s.ttl
	time.Sleep(calm)
	c1, r1 := a.traffic()
	o.normal = per(r1-r0, calm)
	a.watch.Note("fault", "the engine goes: "+o.how)
	was, begun := a.watch.Living(), a.begun()
	from := pid.Now()
	a.absent(silent, true)
	o.busiest = a.count(away)
	c2, r2 := a.traffic()
	o.connections, o.requests = per(c2-c1, away), per(r2-r1, away)
	for _, id := range was {
		if d := a.watch.Death(id); d > 0 {
			o.ended = max(o.ended, time.Duration(d-from))
		} else {
			o.ended = away
		}
	}
	o.exits = a.begun() - begun + a.gone()
	started := a.watch.Started()
	a.absent(silent, false)
	if err := a.engine.Ready(60 * time.Second); err != nil {
		return nil, err
	}
	a.watch.Note("fault", "end of the engine's absence")
	from = pid.Now()
	c3, r3 := a.traffic()
	time.Sleep(time.Second)
	c4, r4 := a.traffic()
	o.surge = c4 - c3 + r4 - r3
	next, err := a.next(started, 60*time.Second)
	if err != nil {
		return nil, fmt.Errorf("after the engine had come back: %w", err)
	}
	o.back = time.Duration(next.Start - from)
	time.Sleep(2 * s.ttl) // time in which a second instance might start
	o.atEnd = len(a.watch.Living())
	a.watch.Note("end", "")
	o.leftovers = a.sweep(10*time.Second + 2*s.ttl)
	o.Cluster, err = a.judge()
	return o, err
}

// absent takes the engine away or brings it back.
func (a *arena) absent(silent, away bool) {
	for i := range a.engine.Addresses() {
		switch {
		case silent:
		case away:
			a.engine.Kill(i)
		default:
			a.engine.Signal(i, syscall.SIGCONT)
			_ = a.engine.Start(i) // Ready reports a failure
		}
	}
	for _, n := range a.nodes {
		switch {
		case !silent:
		case away:
			n.link.Cut(engine.Both)
		default:
			n.link.Heal()
		}
	}
}

// count waits for d, and returns the most connections that a node tried in a second.
func (a *arena) count(d time.Duration) (most int) {
	clock := time.NewTicker(time.Second)
	defer clock.Stop()
	before := make([]int, len(a.nodes))
	look := func(judge bool) {
		for i, n := range a.nodes {
			c := n.link.Counter().Connections()
			if judge {
				most = max(most, c-before[i])
			}
			before[i] = c
		}
	}
	look(false)
	for end := time.Now().Add(d); time.Now().Before(end); {
		<-clock.C
		look(true)
	}
	return most
}

// begun counts the guards started so far.
func (a *arena) begun() (sum int) {
	for _, n := range a.nodes {
		n.mu.Lock()
		sum += n.begun
		n.mu.Unlock()
	}
	return sum
}

func (a *arena) gone() (sum int) {
	for _, n := range a.nodes {
		n.mu.Lock()
		if n.guard == nil {
			sum++
		}
		n.mu.Unlock()
	}
	return sum
}
