package supervisor

import (
	"fmt"
	"time"

	"lifeline/internal/journal"
)

// Recycle says when a healthy worker is replaced: at an age or at a time of day. The
// zero value means never.
type Recycle struct {
	After time.Duration
	Daily bool
	Clock time.Duration // with Daily: since midnight, local time
}

// Set reads a time such as 24h, or a time of day such as 04:30.
func (r *Recycle) Set(text string) error {
	if at, err := time.Parse("15:04", text); err == nil {
		*r = Recycle{Daily: true, Clock: time.Duration(at.Hour())*time.Hour + time.Duration(at.Minute())*time.Minute}
		return nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 {
		return fmt.Errorf("neither a time such as 24h nor a time of day such as 04:30")
	}
	*r = Recycle{After: d}
	return nil
}

func (r *Recycle) String() string {
	switch {
	case r == nil:
	case r.Daily:
		return time.Time{}.Add(r.Clock).Format("15:04")
	case r.After > 0:
		return r.After.String()
	}
	return ""
}

// next returns when a worker that was started at began is replaced; zero for never.
func (r Recycle) next(began, now time.Time) time.Time {
	switch {
	case r.Daily:
		// time.Date gives a wall clock time, which stays right when the clock is set or
		// the machine is suspended.
		h, m := int(r.Clock/time.Hour), int(r.Clock%time.Hour/time.Minute)
		at := time.Date(now.Year(), now.Month(), now.Day(), h, m, 0, 0, now.Location())
		if !at.After(now) {
			at = time.Date(now.Year(), now.Month(), now.Day()+1, h, m, 0, 0, now.Location())
		}
		return at
	case r.After > 0:
		return began.Add(r.After)
	}
	return time.Time{}
}

// recycleAgain is the longest time until lifeline tries again to replace a worker.
const recycleAgain = time.Hour

// onRecycle replaces a healthy worker. A reload does so where generations share
// sockets or say takeover; otherwise the worker is ended first.
func (w *worker) onRecycle() {
	l := w.l
	w.recycleAt = time.Now().Add(recycleAgain)
	if d := l.o.Recycle.After; d > 0 && d < recycleAgain {
		w.recycleAt = time.Now().Add(d)
	}
	switch {
	case w != l.cur || l.next != nil || !l.reload.again.IsZero(): // a replacement is under way
	case (len(l.o.Listen) > 0 || l.o.readyBy() == ByTakeover) && !l.socketsLost() && l.leaseRefuses() == "":
		l.onReload(nil)
	default:
		w.spent = true
		w.because(journal.Stopped, "--recycle-after %s", &l.o.Recycle)
		w.stop(l.o.stopSignal())
	}
}
