package supervisor

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"lifeline/procscan"
)

// Lease is the right to run, which a cluster gives for a time: package cluster
// has the one that is real. nil stands for a right that never ends.
//
//	want ──► granted ──► starting … up ──► (worker ends) ──► down, still held
//	 ▲                                │ stop (due, or a planned hand-over), kill
//	 └──── release ◄── tree empty ◄───┘
type Lease interface {
	C() <-chan struct{} // rung when Next may have something
	// Next is what has happened: granted (n is the fence), tick (text is its
	// label), stop and kill (text is the reason), refused (text, n is the exit
	// code).
	Next() (verb, text string, n uint64, ok bool)
	Want()       // stand by for it; nothing lives
	Release()    // give it back, if it is held; nothing lives
	Held() bool  // a worker may be started now
	Ticks() bool // the command runs at ticks, not all the time
	Until() int64
	Trouble() string // with the engine, as last heard; "" for none
	Fence() uint64
	Starting(generation, cgroup string)
	Started(generation string, id procscan.ID)
	Ended(generation string, up time.Duration, code int)
	Done(label string, code int)
	Helpers() []procscan.ID // children of ours that belong to no worker
}

// lease is the loop's side of it.
type lease struct {
	leaving bool   // what lives is being ended, to give the lease back or lose it
	label   string // the tick that runs
}

func (l *loop) leaseC() <-chan struct{} {
	if l.Lease == nil {
		return nil
	}
	return l.Lease.C()
}

// mayStart looks at the deadline again before every start. Without the
// lease it is waited for.
func (l *loop) mayStart() bool { return l.Lease == nil || l.Lease.Held() }

// standBy waits for the lease. What was held is given back: nothing lives.
func (l *loop) standBy() {
	l.at = time.Time{}
	l.lease = lease{}
	l.last, l.restart = nil, false
	l.answer("error it stands by for the lease again")
	l.Lease.Release()
	if l.Hold.Paused() {
		l.desired = false
		l.finishIfEmpty()
		return
	}
	_ = l.Above.Status("standing by for the lease")
	l.control.listen(l.Hold.Control(), l.Warn)
	l.Lease.Want()
}

// onPause ends an instance that waits for a lease, or holds one without a
// worker: no other node may hand over to it while it is paused.
func (l *loop) onPause(r *request) {
	if l.Lease == nil || len(l.workers()) > 0 {
		r.answer("ok")
		return
	}
	r.answer("ok it no longer stands by for the lease")
	l.desired, l.at = false, time.Time{}
	l.finishIfEmpty()
}

func (l *loop) onLease() {
	for !l.done {
		verb, text, n, ok := l.Lease.Next()
		if !ok {
			return
		}
		switch verb {
		case "granted":
			l.onGranted()
		case "tick":
			l.onTick(text)
		case "stop", "kill":
			l.onLeaseEnds(text, verb == "kill")
		case "refused":
			if l.desired && len(l.workers()) == 0 {
				l.desired = false
				l.finish(&EndError{int(n), text})
			}
		}
	}
}

func (l *loop) onGranted() {
	switch {
	case !l.desired || len(l.workers()) > 0:
	case l.Lease.Ticks():
		_ = l.Above.Status("holds the lease, waiting for a tick")
	default:
		l.startNext()
	}
}

// onTick runs the command for a scheduled run.
func (l *loop) onTick(label string) {
	if !l.desired || l.lease.leaving || len(l.workers()) > 0 {
		l.Lease.Done(label, 125)
		return
	}
	l.lease.label = label
	l.startNext()
}

// onLeaseEnds ends the worker, which perhaps comes back afterwards.
func (l *loop) onLeaseEnds(why string, atOnce bool) {
	if !l.desired {
		if atOnce {
			for _, w := range l.workers() {
				w.kill()
			}
		}
		return
	}
	if !l.lease.leaving {
		l.Warn("standing by again: %s", why)
	}
	l.lease.leaving, l.restart = true, false
	if len(l.workers()) == 0 {
		l.standBy()
		return
	}
	for _, w := range l.workers() {
		w.because(OutcomeStopped, "%s", why)
		if atOnce {
			w.kill()
		} else {
			w.stop(l.stopSignal())
		}
	}
}

// releaseAfter gives the lease back with the last worker, where that is what
// comes next: before anything is written down, for others wait. What ran for a
// tick is told of first.
func (l *loop) releaseAfter(w *worker) {
	if l.Lease == nil || l.desired && !l.lease.leaving || l.lease.label != "" {
		return
	}
	if !slices.ContainsFunc(l.workers(), func(o *worker) bool { return o != w }) {
		l.Lease.Release()
	}
}

// leaseAfter decides what comes after the worker that counted, where that
// depends on the lease; false: it doesn't.
func (l *loop) leaseAfter() bool {
	if l.Lease == nil || !l.desired {
		return false
	}
	if label := l.lease.label; label != "" {
		l.lease.label = ""
		l.Lease.Done(label, codeOf(l.last))
		if l.last != nil && l.last.Error() != "" && !l.lease.leaving {
			l.Warn("the run for %s: %v", label, l.last)
		}
	}
	switch {
	case l.lease.leaving || !l.Lease.Held():
		if !l.lease.leaving { // its end is heard of before that of the lease
			l.Warn("standing by again: the lease has ended")
			l.lease.leaving = true
		}
		l.standByWhenEmpty()
	case l.Lease.Ticks():
		_ = l.Above.Status("holds the lease, waiting for a tick")
	default:
		return false
	}
	return true
}

// standByWhenEmpty stands by as soon as no old generation drains any more.
func (l *loop) standByWhenEmpty() {
	if len(l.workers()) == 0 {
		l.standBy()
	}
}

// leaseRefuses says why a command can't be followed now; "" when it can.
func (l *loop) leaseRefuses(verb string) string {
	switch {
	case l.Lease == nil:
	case verb == "self":
		return "a lifeline with --cluster can't replace itself: lifeline terminate hands the name over, and the next tick starts the new one"
	case l.Lease.Ticks():
		return "it runs at its ticks"
	case !l.Lease.Held():
		return "it stands by for the lease: another node runs it"
	case l.lease.leaving:
		return "it is being ended for another node"
	}
	return ""
}

func codeOf(err error) int {
	var end *EndError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &end):
		return end.Code
	}
	return 125
}

// leaseEnviron is what the worker learns of the lease.
func (l *loop) leaseEnviron() []string {
	env := []string{"LIFELINE_FENCE=" + strconv.FormatUint(l.Lease.Fence(), 10)}
	if l.lease.label != "" {
		env = append(env, "LIFELINE_TICK="+l.lease.label)
	}
	return env
}
