package node

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"lifeline/internal/cluster/engine"
)

// memory is what this node knows of a name in an engine; a file keeps it over a restart.
// The engine may know less later, because it was restored from a copy, wiped, or
// replaced by a standby that lags behind.
type memory struct {
	engine.Floor
	Epoch    string `json:"epoch"`
	History  string `json:"history"`
	Revision uint64 `json:"revision"`
}

// readMemory reads the file. The memory of a missing or damaged file is empty.
func readMemory(path string) (m memory) {
	if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &m) != nil {
		return memory{}
	}
	return m
}

// writer starts a goroutine that writes the file, so that a slow disk can't block the
// loop. keep may skip a memory that a newer memory follows. end writes the last memory,
// and waits up to 200 ms for that.
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

// believe compares an engine with the memory. An engine that may have gone back doesn't
// know all holders, so no slot is taken for a TTL. By then all leases of the old state
// have ended. A holder that finds its slot goes on, because the slot kept all other
// nodes out.
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

// doRaise raises the engine's fence and mark to the memory's.
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
	off bool          // the clocks differ by more than --max-clock-skew

	told time.Duration // the difference that the engine has
	has  bool          // the engine has a difference
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
		if s.ticks.schedule == nil { // only shown to operators
			s.clock.at += 5 * engine.ClockEvery
		}
		if s.again(err) || theirs.At.IsZero() && !theirs.Alone || !s.joined {
			return
		}
		s.answered()
		if theirs.Alone { // the other nodes have gone
			theirs = engine.Clock{At: s.w.wall(), Of: "the other nodes'"}
			before, after = theirs.At, theirs.At
		}
		ahead := before.Add(after.Sub(before) / 2).Sub(theirs.At)
		was := s.clock.off
		s.clock.off = s.ticks.schedule != nil && s.MaxClockSkew > 0 && ahead.Abs() > s.MaxClockSkew
		switch {
		case s.clock.off && !was:
			why := fmt.Sprintf("this node's clock is %s %s (--max-clock-skew %s): it runs no ticks until the clock "+
				"is set right", aheadOf(ahead), theirs.Of, s.MaxClockSkew)
			s.tell(why)
		case was && !s.clock.off:
			s.tell("this node's clock agrees with " + theirs.Of + " again")
			s.tryAt = s.w.now()
		}
		if s.clock.off && s.holding && !s.handingOver && !s.ticks.running() {
			s.handOver("the clock is wrong")
		}
		if near := ahead.Round(time.Second); !s.clock.has || (near-s.clock.told).Abs() >= time.Second {
			s.do("tell", s.limit(), func(ctx context.Context) error { return s.engine.Tell(ctx, near) },
				func(err error) {
					if s.clock.has = err == nil; s.clock.has {
						s.clock.told = near
					}
				})
		}
	})
}
