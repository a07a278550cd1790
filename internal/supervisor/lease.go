package supervisor

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/journal"
	"lifeline/internal/process"
	"lifeline/procscan"
)

// Lease is the right to run. A cluster grants a lease for a time (package cluster);
// without a cluster the lease always holds.
//
//	want ──► granted ──► starting … up ──► (worker ends) ──► down, still held
//	 ▲                                │ stop (due, or a planned hand-over), kill
//	 └──── release ◄── tree empty ◄───┘
type Lease interface {
	C() <-chan struct{} // rings when Next may have something
	// Next returns what has happened: granted, tick, stop, kill or refused. text is a
	// tick's label, or the reason of a stop, kill or refusal. n is the fence of a grant,
	// or the exit code of a refusal.
	Next() (verb, text string, n uint64, ok bool)
	Want()           // stands by for the lease; no worker lives
	Release()        // gives a held lease back; no worker lives
	Held() bool      // a worker may be started now
	Ticks() bool     // the command runs at ticks, not all the time
	Until() int64    // CLOCK_BOOTTIME in nanoseconds; 0 for a lease that never ends
	Trouble() string // the last trouble with the engine; "" for none
	Fence() uint64   // LIFELINE_FENCE; 0 for a lease that never ends
	Starting(generation, cgroup string)
	Started(generation string, id procscan.ID)
	Ended(generation string, up time.Duration, code int, begun bool) // begun: the command was executed
	Done(label string, code int)
	Helpers() []procscan.ID // lifeline's children that belong to no worker
}

// lease is what the loop notes of its lease.
type lease struct {
	leaving bool   // all workers are being ended, and the lease with them
	label   string // the label of the scheduled run under way
}

// always is the lease of a name that no cluster shares: it never ends.
type always struct{}

func (always) C() <-chan struct{}                     { return nil }
func (always) Next() (string, string, uint64, bool)   { return "", "", 0, false }
func (always) Want()                                  {}
func (always) Release()                               {}
func (always) Held() bool                             { return true }
func (always) Ticks() bool                            { return false }
func (always) Until() int64                           { return 0 }
func (always) Trouble() string                        { return "" }
func (always) Fence() uint64                          { return 0 }
func (always) Starting(string, string)                {}
func (always) Started(string, procscan.ID)            {}
func (always) Ended(string, time.Duration, int, bool) {}
func (always) Done(string, int)                       {}
func (always) Helpers() []procscan.ID                 { return nil }

// standBy gives a held lease back and waits for the next. No worker lives.
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

// onPause ends an instance that waits for a lease, or waits for a tick, so that no
// other node hands over to a paused instance.
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

// onTick starts the command for a scheduled run.
func (l *loop) onTick(label string) {
	if !l.goal.up() || l.lease.leaving || len(l.workers()) > 0 {
		l.job.Lease.Done(label, 125)
		return
	}
	l.lease.label = label
	l.startNext()
}

// onLeaseEnds ends all workers, and then stands by for the next lease.
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

// releaseAfter gives the lease back when the last worker has ended and none follows.
// The journal is written later, because other nodes wait. A scheduled run keeps the
// lease until its end is reported.
func (l *loop) releaseAfter(w *worker) {
	if l.goal.up() && !l.lease.leaving || l.lease.label != "" {
		return
	}
	if !slices.ContainsFunc(l.workers(), func(o *worker) bool { return o != w }) {
		l.job.Lease.Release()
	}
}

// leaseAfter decides what follows the worker that counted. It returns false when that
// doesn't depend on the lease.
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
		if !l.lease.leaving { // the worker's end is handled before the lease's
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

// standByWhenEmpty stands by when no generation lives.
func (l *loop) standByWhenEmpty() {
	if len(l.workers()) == 0 {
		l.standBy()
	}
}

// leaseRefuses returns why the lease forbids a command now; "" when it doesn't.
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

// refusal is the pipe by which a launcher says that it didn't execute the command, because
// the lease had ended. A scheduled run that wasn't begun stays due.
type refusal struct{ ours, theirs int }

func newRefusal() (*refusal, error) {
	var p [2]int
	if err := unix.Pipe(p[:]); err != nil {
		return nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	unix.CloseOnExec(p[0])
	unix.CloseOnExec(p[1])
	_ = unix.SetNonblock(p[0], true)
	return &refusal{p[0], p[1]}, nil
}

// launched closes the launcher's end here.
func (r *refusal) launched() { _ = unix.Close(r.theirs) }

// heard reports whether the launcher has refused, and closes the pipe.
func (r *refusal) heard() bool {
	if r == nil {
		return false
	}
	n, _ := unix.Read(r.ours, make([]byte, 1))
	_ = unix.Close(r.ours)
	return n == 1
}

// bind ties a worker to a lease that ends: its environment has the fence. The kernel
// kills the worker with lifeline, so a worker never outlives the lease.
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
