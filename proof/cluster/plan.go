//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"time"

	"lifeline/proof/engine"
)

// kind is a fault.
type kind int

const (
	killLifeline kind = iota
	killRemote
	killWorker
	killGuards // lifeline and lifeline-remote at the same moment
	killNode   // lifeline, lifeline-remote and worker: the machine has lost its power
	termLifeline
	stopLifeline
	stopRemote
	stopWorker
	pauseNode // all three stop and go on later: a suspended machine
	cutNode   // partition: every packet is dropped, and connections stay open
	cutReplies
	killLeader
	stopLeader
	killEngine // all members
	stopGuards // lifeline and lifeline-remote stop, and the worker runs on
	kinds
)

func (k kind) String() string {
	return [...]string{"KILL lifeline", "KILL lifeline-remote", "KILL worker", "KILL lifeline and lifeline-remote",
		"KILL node", "TERM lifeline", "STOP lifeline", "STOP lifeline-remote", "STOP worker", "pause node", "partition",
		"lost replies",
		"KILL leader", "STOP leader", "KILL engine", "STOP lifeline and lifeline-remote"}[k]
}

// action is one fault.
type action struct {
	kind  kind
	after time.Duration // since the round began
	hold  time.Duration // until the fault is undone, if it can be
	pick  float64       // chooses the node: below 0.8 the holder
}

func (a action) String() string {
	s := a.kind.String()
	if a.hold > 0 {
		s += fmt.Sprintf(" for %s", a.hold.Round(time.Millisecond))
	}
	return s
}

func (a action) way() engine.Way {
	if a.kind == cutReplies {
		return engine.Replies
	}
	return engine.Both
}

// planOf makes the faults of round n, which may come together. They depend only on the
// seed and the round, so that two runs of one seed differ only in the machine's timing.
func planOf(seed uint64, n int, ttl time.Duration) []action {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	after := time.Duration(rng.Int64N(int64(ttl)))
	var plan []action
	for range []int{1, 1, 1, 2, 2, 3}[rng.IntN(6)] {
		a := action{kind: kind(rng.IntN(int(kinds))), after: after, pick: rng.Float64()}
		switch a.kind {
		case stopLifeline, stopRemote, stopWorker, stopGuards, pauseNode, cutNode, cutReplies, killLeader, stopLeader,
			killEngine:
			a.hold = time.Duration(rng.Int64N(int64(5 * ttl / 2)))
		}
		if rng.IntN(3) == 0 { // else at the same moment as the fault before
			after += time.Duration(rng.Int64N(int64(ttl / 2)))
		}
		plan = append(plan, a)
	}
	return plan
}
