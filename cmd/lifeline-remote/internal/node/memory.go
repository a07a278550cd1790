package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"lifeline/internal/cluster/engine"
)

// memory is what this node knows of a name in an engine. The engine may know
// less later: it may be restored from a copy, wiped, or replaced by a standby
// that lags behind. A file keeps it over a restart.
type memory struct {
	engine.Floor
	Epoch    string `json:"epoch"`
	History  string `json:"history"`
	Revision uint64 `json:"revision"`
}

// readMemory reads the file. A file that is missing or damaged gives an empty
// memory.
func readMemory(path string) (m memory) {
	if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &m) != nil {
		return memory{}
	}
	return m
}

// writer writes the file in a goroutine of its own, so that a slow disk can't
// hold up the loop. The latest memory is always written in the end. The second
// function ends it.
func writer(path string) (keep func(memory), end func()) {
	if path == "" {
		return func(memory) {}, func() {}
	}
	next, over := make(chan memory, 1), make(chan struct{})
	go func() {
		defer close(over)
		for m := range next {
			text, _ := json.Marshal(m)
			if err := os.WriteFile(path+".new", text, 0o600); err == nil {
				_ = os.Rename(path+".new", path)
			}
		}
	}()
	keep = func(m memory) {
		select {
		case <-next:
		default:
		}
		next <- m
	}
	return keep, func() {
		close(next)
		select {
		case <-over:
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// believe compares an engine with what is known of it. An engine that may have
// gone back doesn't tell who holds a lease. So no slot is taken for a whole
// TTL, in which all leases end that only the old state could renew. A holder
// that finds its slot goes on, because the slot kept all other nodes out.
func (s *session) believe(v engine.View, state engine.State) {
	was := s.past
	back := v.Epoch == was.Epoch && v.Revision < was.Revision || v.History != was.History || was.Fence > state.Fence
	if v.Epoch != was.Epoch || back {
		s.freeAt = s.w.now() + s.Hello.TTL
		if was.Epoch != "" && back {
			s.tell(fmt.Sprintf("the cluster's engine has gone back in time (restored or replaced): "+
				"nothing is started for %s, and fences and ticks go on from %d and %s",
				s.Hello.TTL, was.Fence, stampOf(was.Mark.Claimed)))
		}
	}
	s.past.Epoch, s.past.History, s.past.Revision = v.Epoch, v.History, v.Revision
	if t := &s.ticks; t.label.IsZero() && t.pending.IsZero() && state.Mark.Serial > t.mark.Serial {
		t.known = false // an operator has set the mark back
	}
	if s.past.Learn(state) || v.Epoch != was.Epoch || back {
		s.w.keep(s.past)
	}
}

func stampOf(t time.Time) string {
	if t.IsZero() {
		return "none"
	}
	return t.Format(time.RFC3339)
}

// remember keeps a mark that the engine may not have yet.
func (s *session) remember(m engine.Mark) {
	if m.Serial > s.past.Mark.Serial {
		s.past.Mark = m
		s.w.keep(s.past)
	}
}

// doRaise gives back what the engine has forgotten.
func (s *session) doRaise() {
	floor := s.past.Floor
	s.do("raise", s.limit(), func(ctx context.Context) error { return s.engine.Raise(ctx, s.Name, floor) },
		func(err error) {
			if !s.again(err) {
				s.wrote()
				s.tryAt = s.w.now()
			}
		})
}

// clock compares this node's clock with the engine's.
type clock struct {
	at  time.Duration // when to compare them again
	off bool          // they differ by more than --max-clock-skew

	told time.Duration // what the engine has of the difference
	has  bool          // it has
}

// doClock compares the clocks. A node whose clock is wrong runs no ticks.
func (s *session) doClock() {
	var theirs engine.Clock
	var before, after time.Time
	s.do("clock", s.limit(), func(ctx context.Context) (err error) {
		before = s.w.wall()
		theirs, err = s.engine.Clock(ctx, s.w.wall)
		after = s.w.wall()
		return err
	}, func(err error) {
		s.clock.at = s.w.now() + engine.ClockEvery
		if s.ticks.schedule == nil { // only for people
			s.clock.at += 5 * engine.ClockEvery
		}
		if s.again(err) || theirs.At.IsZero() && !theirs.Alone || !s.joined {
			return
		}
		s.answered()
		if theirs.Alone { // the others, from which it differed perhaps, have gone
			theirs = engine.Clock{At: s.w.wall(), Of: "the other nodes'"}
			before, after = theirs.At, theirs.At
		}
		ahead := before.Add(after.Sub(before) / 2).Sub(theirs.At)
		was := s.clock.off
		s.clock.off = s.ticks.schedule != nil && s.MaxClockSkew > 0 && ahead.Abs() > s.MaxClockSkew
		switch {
		case s.clock.off && !was:
			why := fmt.Sprintf("this node's clock is %s %s (--max-clock-skew %s): it runs no ticks until the clock is set "+
				"right", aheadOf(ahead), theirs.Of, s.MaxClockSkew)
			s.tell(why)
		case was && !s.clock.off:
			s.tell("this node's clock agrees with " + theirs.Of + " again")
			s.tryAt = s.w.now()
		}
		if s.clock.off && s.holding && !s.handingOver && !s.ticks.running() {
			s.handOver("the clock is wrong")
		}
		if near := ahead.Round(time.Second); !s.clock.has || (near-s.clock.told).Abs() >= time.Second {
			s.do("tell", s.limit(), func(ctx context.Context) error { return s.engine.Tell(ctx, near) }, func(err error) {
				if s.clock.has = err == nil; s.clock.has {
					s.clock.told = near
				}
			})
		}
	})
}
