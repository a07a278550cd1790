package supervisor

import (
	"fmt"
	"time"

	"lifeline/internal/journal"
	"lifeline/internal/process"
	"lifeline/internal/sdnotify"
	"lifeline/procscan"
)

// Events holds functions that the loop calls when something has happened. While one
// of these functions runs, the next start waits.
type Events struct {
	State     func(Snapshot)    // the snapshot has changed
	Ended     func(journal.Run) // a worker and its whole tree have ended
	EndsFirst bool              // the loop calls Ended before the next start, not after it
}

// The states of a [Snapshot].
const (
	StateStarting   = "starting"    // the worker isn't ready yet
	StateRunning    = "running"     // the worker is up
	StateReady      = "ready"       // the worker is up, and has said so (--notify) or shown it (--ready-check)
	StateReloading  = "reloading"   // a new generation starts beside the worker, or the worker has said RELOADING=1
	StateStopping   = "stopping"    // the worker has been asked to end
	StateBackingOff = "backing off" // the worker has ended; another starts at NextStart
	StateStandingBy = "standing by" // another node of the cluster has the lease
	StateWaiting    = "waiting"     // this node has the lease and waits for the next --tick
)

// Snapshot is what the supervisor reports of itself and its worker.
type Snapshot struct {
	State      string
	Worker     procscan.ID // zero for none
	Generation string
	Began      time.Time // the worker's start
	Ready      time.Time // when the worker became up; zero before
	NextStart  time.Time // in StateBackingOff
	Restarts   int       // workers after the first, reloads not counted
	Reloads    int
	Status     string // the worker's own STATUS=
	Lost       string // what of an adopted worker can't be taken up
	Fence      uint64 // LIFELINE_FENCE; 0 without a cluster
}

// because notes why the worker is being ended; only the first reason counts.
func (w *worker) because(outcome, format string, args ...any) {
	if w.outcome == "" {
		w.outcome, w.why = outcome, fmt.Sprintf(format, args...)
	}
}

// snapshot returns the present Snapshot.
func (l *loop) snapshot() Snapshot {
	s := Snapshot{Restarts: max(l.starts-1, 0), Reloads: l.reloads}
	held := l.job.Lease.Held()
	if held {
		s.Fence = l.job.Lease.Fence()
	}
	w := l.cur
	if w == nil {
		s.State, s.NextStart = StateBackingOff, l.at
		switch {
		case len(l.leaving) > 0 || !l.goal.up():
			s.State = StateStopping
		case !held:
			s.State, s.Status = StateStandingBy, l.job.Lease.Trouble()
		case l.job.Lease.Ticks():
			s.State = StateWaiting
		case l.at.IsZero():
			s.State = StateStarting
		}
		return s
	}
	s.Worker, s.Generation, s.Began, s.Ready, s.Status = w.id, w.generation, w.lived(), w.ready, w.status
	s.Lost = w.lost
	switch {
	case w.state == stopping:
		s.State = StateStopping
	case w.state == starting:
		s.State = StateStarting
	case l.next != nil, w.said == sdnotify.Reloading:
		s.State = StateReloading
	case (l.o.Notify || l.o.ReadyCheck.Text != "") && !w.ready.IsZero() && w.ours:
		s.State = StateReady
	default:
		s.State = StateRunning
	}
	return s
}

// tell calls Events.Ended for each new end, and Events.State when the snapshot has
// changed. The loop calls tell last, because writing to disk delays the next start.
func (l *loop) tell() {
	l.tellEnds()
	if l.job.Events.State == nil {
		return
	}
	if s := l.snapshot(); s != l.told {
		l.told = s
		l.job.Events.State(s)
	}
}

// lived returns the worker's start, also when another supervisor started the worker.
func (w *worker) lived() time.Time {
	if !w.since.IsZero() {
		return w.since
	}
	return w.began
}

func (l *loop) tellEnds() {
	for _, run := range l.ends {
		l.job.Events.Ended(run)
	}
	l.ends = nil
}

// noteEnd keeps a summary of the worker's life for Events.Ended.
func (l *loop) noteEnd(w *worker) {
	if l.job.Events.Ended == nil || w.pid == 0 && w.verdict == nil {
		return
	}
	r := journal.Run{Generation: w.generation, PID: w.pid, Start: w.lived(), End: time.Now(), Outcome: w.outcome,
		Why: w.why, Code: -1}
	if !w.ready.IsZero() {
		ready := w.ready.Round(0) // without the monotonic clock
		r.Ready = &ready
	}
	if e := w.exit; e != nil {
		r.Code = e.Code()
		if e.Status.Signaled() {
			r.Signal = process.SignalName(e.Status.Signal())
		}
		r.MaxRSS = int64(e.Usage.Maxrss) * maxrssUnit
		r.CPU = time.Duration(e.Usage.Utime.Nano() + e.Usage.Stime.Nano()).Seconds()
	}
	end, failed := w.verdict.(*EndError)
	switch {
	case r.Outcome != "":
	case w.exit == nil && failed && w.pid == 0:
		r.Outcome, r.Code, r.Why = journal.NoStart, end.Code, end.Text
	case w.exit == nil:
		r.Outcome = journal.Unknown
	case failed && r.Code == 0: // --min-runtime
		r.Outcome, r.Why = journal.Failed, end.Text
	case r.Signal != "":
		r.Outcome = journal.Killed
	case r.Code != 0:
		r.Outcome = journal.Failed
	default:
		r.Outcome = journal.OK
	}
	if r.Why == "" && r.Outcome != journal.OK {
		r.Why = w.cause
	}
	l.ends = append(l.ends, r)
}

// ExitTimeout is the exit code after --max-runtime, as in timeout(1).
const ExitTimeout = 124
