package supervisor

import (
	"errors"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/journal"
	"lifeline/internal/process"
	"lifeline/procscan"
)

// Lease is the right to run. A cluster gives it for a time (package cluster);
// without one, it always holds.
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
	Want()           // stand by for it; nothing lives
	Release()        // give it back, if it is held; nothing lives
	Held() bool      // a worker may be started now
	Ticks() bool     // the command runs at ticks, not all the time
	Until() int64    // CLOCK_BOOTTIME in nanoseconds; 0 for a lease that never ends
	Trouble() string // with the engine, as last heard; "" for none
	Fence() uint64   // 0 for such a one
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

// always is the lease of a name that no cluster shares: it never ends.
type always struct{}

func (always) C() <-chan struct{}                   { return nil }
func (always) Next() (string, string, uint64, bool) { return "", "", 0, false }
func (always) Want()                                {}
func (always) Release()                             {}
func (always) Held() bool                           { return true }
func (always) Ticks() bool                          { return false }
func (always) Until() int64                         { return 0 }
func (always) Trouble() string                      { return "" }
func (always) Fence() uint64                        { return 0 }
func (always) Starting(string, string)              {}
func (always) Started(string, procscan.ID)          {}
func (always) Ended(string, time.Duration, int)     {}
func (always) Done(string, int)                     {}
func (always) Helpers() []procscan.ID               { return nil }

// standBy waits for the lease. What was held is given back: nothing lives.
func (l *loop) standBy() {
	l.at = time.Time{}
	l.lease = lease{}
	l.last = nil
	l.renewed()
	l.answer("error it stands by for the lease again")
	l.job.Lease.Release()
	if l.job.Hold.Paused() {
		l.endAll()
		l.finishIfEmpty()
		return
	}
	_ = l.job.Above.Status("standing by for the lease")
	l.control.listen(l.job.Hold.Control(), l.job.Warn)
	l.job.Lease.Want()
}

// onPause ends an instance that waits for a lease, or holds one without a
// worker: no other node may hand over to it while it is paused.
func (l *loop) onPause(r *request) {
	if l.job.Lease.Held() && !l.job.Lease.Ticks() || len(l.workers()) > 0 {
		r.answer("ok") // the next start finds the pause
		return
	}
	r.answer("ok it no longer stands by for the lease")
	l.endAll()
	l.finishIfEmpty()
}

func (l *loop) onLease() {
	for l.goal != over {
		verb, text, n, ok := l.job.Lease.Next()
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
			if l.goal.up() && len(l.workers()) == 0 {
				l.endAll()
				l.finish(&EndError{int(n), text})
			}
		}
	}
}

func (l *loop) onGranted() {
	switch {
	case !l.goal.up() || len(l.workers()) > 0:
	case l.job.Lease.Ticks():
		_ = l.job.Above.Status("holds the lease, waiting for a tick")
	default:
		l.startNext()
	}
}

// onTick runs the command for a scheduled run.
func (l *loop) onTick(label string) {
	if !l.goal.up() || l.lease.leaving || len(l.workers()) > 0 {
		l.job.Lease.Done(label, 125)
		return
	}
	l.lease.label = label
	l.startNext()
}

// onLeaseEnds ends the worker, which perhaps comes back afterwards.
func (l *loop) onLeaseEnds(why string, atOnce bool) {
	if !l.goal.up() {
		if atOnce {
			for _, w := range l.workers() {
				w.kill()
			}
		}
		return
	}
	if !l.lease.leaving {
		l.job.Warn("standing by again: %s", why)
	}
	l.lease.leaving = true
	l.renewed()
	if len(l.workers()) == 0 {
		l.standBy()
		return
	}
	for _, w := range l.workers() {
		w.because(journal.Stopped, "%s", why)
		if atOnce {
			w.kill()
		} else {
			w.stop(l.o.stopSignal())
		}
	}
}

// releaseAfter gives the lease back with the last worker, where that is what
// comes next: before anything is written down, for others wait. What ran for a
// tick is told of first.
func (l *loop) releaseAfter(w *worker) {
	if l.goal.up() && !l.lease.leaving || l.lease.label != "" {
		return
	}
	if !slices.ContainsFunc(l.workers(), func(o *worker) bool { return o != w }) {
		l.job.Lease.Release()
	}
}

// leaseAfter decides what comes after the worker that counted, where that
// depends on the lease; false: it doesn't.
func (l *loop) leaseAfter() bool {
	if !l.goal.up() {
		return false
	}
	if label := l.lease.label; label != "" {
		l.lease.label = ""
		l.job.Lease.Done(label, codeOf(l.last))
		if l.last != nil && l.last.Error() != "" && !l.lease.leaving {
			l.job.Warn("the run for %s: %v", label, l.last)
		}
	}
	switch {
	case l.lease.leaving || !l.job.Lease.Held():
		if !l.lease.leaving { // its end is heard of before that of the lease
			l.job.Warn("standing by again: the lease has ended")
			l.lease.leaving = true
		}
		l.standByWhenEmpty()
	case l.job.Lease.Ticks():
		_ = l.job.Above.Status("holds the lease, waiting for a tick")
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
func (l *loop) leaseRefuses() string {
	switch {
	case l.job.Lease.Ticks():
		return "it runs at its ticks"
	case !l.job.Lease.Held():
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

// bind ties a worker to a lease that ends: its environment has the fence, and it
// doesn't outlive the lease where both programs are killed at once.
func (l *loop) bind(w *worker, spec *process.Spec) {
	if spec.Until = l.job.Lease.Until(); spec.Until == 0 {
		return
	}
	spec.Deathsig, w.fence = unix.SIGKILL, l.job.Lease.Fence()
	env := []string{"LIFELINE_FENCE=" + strconv.FormatUint(l.job.Lease.Fence(), 10)}
	if l.lease.label != "" {
		env = append(env, "LIFELINE_TICK="+l.lease.label)
	}
	spec.Env = merge(spec.Env, env)
}
