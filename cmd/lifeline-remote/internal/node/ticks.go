package node

import (
	"context"
	"errors"
	"fmt"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/engine"
)

// ticks runs a schedule: each tick once in the whole cluster, though the nodes' clocks
// differ. Only the holder of the lease runs ticks, in order. A tick's label is its
// scheduled time. The holder claims the tick by moving the mark in the engine, which only
// rises. The next holder goes on from the mark, whatever its clock shows.
type ticks struct {
	schedule *schedule
	known    bool        // mark is what the engine has
	mark     engine.Mark // the last mark that was read or written
	label    time.Time   // the tick that runs, or is about to; zero for none
	started  bool        // lifeline has begun to start the run
	over     bool        // the run has ended, and the engine doesn't know yet
	returned bool        // lifeline didn't begin the run, and the engine still has the claim
	before   engine.Mark // the mark before label was claimed
	pending  time.Time   // a claim whose answer was lost; zero for none
	retryAt  time.Duration
	waited   int64 // the serial, plus 1, of the mark whose end on another node was waited for
	future   time.Time
	run      engine.Run // the tick's run, for the engine
}

// catchUp is how far back all missed ticks are run. Of older ticks only the latest is run.
const catchUp = 10 * time.Minute

func (t *ticks) reset() { *t = ticks{schedule: t.schedule, future: t.future} }

// finished returns the mark with the end of the run, or without the claim of a run that
// wasn't begun.
func (t *ticks) finished() (m engine.Mark) {
	switch {
	case !t.known || !t.over && !t.returned:
		return m
	case t.over:
		m = t.mark
		m.Done = t.label
	default:
		m = t.before
	}
	m.Serial = t.mark.Serial + 1
	return m
}

func (t *ticks) running() bool { return !t.label.IsZero() && !t.over && !t.returned }

func (t *ticks) begun() {
	if !t.label.IsZero() {
		t.started = true
	}
}

func (t *ticks) ended(label string, code int, at time.Time) {
	if !t.label.IsZero() && t.label.Format(time.RFC3339) == label {
		t.over, t.returned = t.started, !t.started
		t.run.Ended, t.run.Code = at, code
	}
}

// change is a change of the mark; run is the run that ended, or nil.
type change struct {
	from, to engine.Mark
	run      *engine.Run
}

func moved(from, to engine.Mark) *change {
	to.Serial = from.Serial + 1
	return &change{from: from, to: to}
}

// revert returns the change that takes back the claim of a tick that was never begun, so
// that the tick stays due after the release. For an ended run it returns the end.
func (t *ticks) revert() *change {
	if !t.known && !t.pending.IsZero() { // the claim may have been made
		from := t.before
		from.Claimed, t.pending = t.pending, time.Time{}
		from.Serial++
		return moved(from, t.before)
	}
	if t.label.IsZero() || !t.known {
		return nil
	}
	from := t.mark
	switch {
	case t.over:
		to := from
		to.Done = t.label
		t.label = time.Time{}
		end, run := moved(from, to), t.run
		end.run = &run
		return end
	case !t.started:
		t.label = time.Time{}
		return moved(from, t.before)
	}
	return nil
}

func (t *ticks) unrevert(m *change) {
	if m != nil {
		t.label = m.from.Claimed
	}
}

// busy reports whether doTick has something to do now.
func (t *ticks) busy(s *session) bool {
	if t.schedule == nil || s.clock.off && !t.over || s.release || s.handingOver && !t.over || s.w.now() < t.retryAt {
		return false
	}
	switch {
	case !t.known, t.over, t.returned:
		return true
	case t.running():
		return false
	case t.mark.Claimed.After(t.mark.Done): // a run of another node that never ended
		return true
	}
	return !t.due(s.w.wall()).IsZero()
}

// due returns the tick to run now; zero for none.
func (t *ticks) due(now time.Time) time.Time {
	next := t.schedule.next(t.mark.Claimed)
	if next.IsZero() || next.After(now) {
		return time.Time{}
	}
	if now.Sub(next) > catchUp {
		if last, err := t.schedule.last(now); err == nil {
			if now.Sub(last) > catchUp {
				return last
			}
			for next.Before(now.Add(-catchUp)) {
				next = t.schedule.next(now.Add(-catchUp))
			}
		}
	}
	return next
}

// wake returns when doTick may have something to do.
func (t *ticks) wake(s *session) time.Duration {
	now := s.w.now()
	later := now + 30*time.Second // the wall clock may be corrected
	switch {
	case now < t.retryAt:
		return min(later, t.retryAt)
	case !t.known || t.running() || s.handingOver:
		return later
	}
	next := t.schedule.next(t.mark.Claimed)
	if next.IsZero() {
		return later
	}
	return min(later, now+max(next.Sub(s.w.wall()), time.Millisecond))
}

// doTick does the next step: it reads the mark, writes an end, or claims a tick.
func (s *session) doTick() {
	t := &s.ticks
	switch {
	case !t.known:
		s.readMark()
	case t.over:
		to := t.mark
		to.Done = t.label
		run := t.run
		s.claim(to, &run, func() { t.label, t.over, t.started = time.Time{}, false, false })
	case t.returned:
		run := t.run // the run wasn't begun: its end and code say why
		s.claim(t.before, &run, func() { t.label, t.returned, t.retryAt = time.Time{}, false, s.w.now()+time.Second })
	case t.mark.Claimed.IsZero(): // no tick was ever run: begin with the next tick
		last, err := t.schedule.last(s.w.wall())
		if err != nil {
			last = s.w.wall().Truncate(time.Second).UTC()
		}
		s.claim(engine.Mark{Claimed: last, Done: last}, nil, func() {})
	case t.mark.Claimed.After(t.mark.Done) && t.waited != t.mark.Serial+1: // the node may live, and write the end
		t.waited, t.known = t.mark.Serial+1, false
		t.retryAt = s.w.now() + s.Hello.TTL
	case t.mark.Claimed.After(t.mark.Done) && s.AtLeastOnce:
		t.before = t.mark
		label := t.mark.Claimed
		s.claim(t.mark, s.begins(label), func() {
			s.tell(fmt.Sprintf("the run for %s was never finished: again (--at-least-once)",
				label.Format(time.RFC3339)))
			s.runTick(label)
		})
	case t.mark.Claimed.After(t.mark.Done):
		to := t.mark
		label := to.Claimed
		to.Done, to.Skipped = label, to.Skipped+1
		s.claim(to, nil, func() {
			s.tell(fmt.Sprintf("the run for %s was begun and never finished; it isn't begun again (--at-least-once "+
				"would)", label.Format(time.RFC3339)))
		})
	default:
		label := t.due(s.w.wall())
		if label.IsZero() {
			return
		}
		t.before = t.mark
		to := t.mark
		to.Claimed, t.pending = label, label
		s.claim(to, s.begins(label), func() { t.pending = time.Time{}; s.runTick(label) })
	}
}

// begins returns the run that the next claim begins.
func (s *session) begins(label time.Time) *engine.Run {
	s.ticks.run = engine.Run{Serial: s.ticks.mark.Serial + 1, Label: label, Node: s.Node, Fence: s.fence,
		Began: s.w.wall().UTC()}
	run := s.ticks.run
	return &run
}

func (s *session) runTick(label time.Time) {
	s.ticks.label, s.ticks.started = label, false
	s.say(cluster.Message{Verb: "tick", Label: label.Format(time.RFC3339)})
}

func (s *session) readMark() {
	var mark engine.Mark
	floor := s.past.Floor
	s.do("mark", s.limit(), func(ctx context.Context) (err error) {
		if mark, err = s.engine.Mark(ctx, s.Name); err == nil && mark.Serial < floor.Mark.Serial {
			if err = s.engine.Raise(ctx, s.Name, floor); err == nil {
				mark, err = s.engine.Mark(ctx, s.Name)
			}
		}
		return err
	}, func(err error) {
		if s.tickFailed(err) {
			return
		}
		t := &s.ticks
		t.mark, t.known = mark, true
		s.remember(mark)
		if ahead := mark.Claimed.Sub(s.w.wall()); ahead > max(s.MaxClockSkew, time.Minute) &&
			!mark.Claimed.Equal(t.future) {
			t.future = mark.Claimed
			s.tell(fmt.Sprintf("the latest tick is of the future, %s, and nothing runs until then: lifeline ticks "+
				"--cluster %s reset %s sets it back to now",
				mark.Claimed.Format(time.RFC3339), typed(s.URL, s.Prefix), s.Name))
		}
		pending := t.pending
		t.pending = time.Time{}
		if !pending.IsZero() && mark.Claimed.Equal(pending) && mark.Claimed.After(mark.Done) &&
			s.holding && !s.release {
			s.runTick(pending) // the claim without an answer was made
		}
	})
}

// claim moves the mark, and calls `then` only if the move is certain. Without an answer it
// reads the mark, which only the holder moves.
func (s *session) claim(to engine.Mark, run *engine.Run, then func()) {
	t := &s.ticks
	from := t.mark
	to.Serial = from.Serial + 1
	s.do("claim", s.limit(), func(ctx context.Context) error {
		err := s.engine.Claim(ctx, from, to, run)
		if err == nil || errors.Is(err, engine.ErrLost) {
			return err
		}
		again, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.limit())
		defer cancel()
		mark, rerr := s.engine.Mark(again, s.Name)
		switch {
		case rerr != nil:
			return err
		case mark.Equal(to) && !from.Equal(to):
			return nil // the claim had been made
		}
		return err
	}, func(err error) {
		if errors.Is(err, engine.ErrClaimed) {
			t.known, t.pending = false, time.Time{} // read the mark again
			t.retryAt = s.w.now() + s.pause()
			return
		}
		if s.tickFailed(err) {
			return
		}
		t.mark = to
		s.remember(to)
		if s.holding && !s.release {
			then()
		}
	})
}

func (s *session) tickFailed(err error) bool {
	if err == nil {
		if s.calling == "claim" {
			s.wrote()
		}
		s.answered()
		return false
	}
	if errors.Is(err, engine.ErrLost) {
		return s.again(err)
	}
	s.failed(err)
	s.ticks.known = s.ticks.known && s.ticks.over // a claim may have been made after all
	s.ticks.retryAt = s.w.now() + s.pause()
	return true
}
