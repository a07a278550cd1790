package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/engine"
)

// crashes counts how often the worker has failed here in a row (--fail-after).
type crashes struct {
	failed int
	rounds int           // hand-overs because of failures, in a row
	until  time.Duration // until when this node takes no lease
}

// stable is how long a worker must be up to end a row of failures, as for the
// supervisor's respawn delay.
const stable = 10 * time.Second

func (c *crashes) sitting(now time.Duration) bool { return now < c.until }

// judge counts failed workers for --fail-after.
func (s *session) judge(up time.Duration, well bool) {
	c := &s.crash
	switch {
	case s.FailAfter == 0 || s.handingOver || !s.holding || s.leaving:
	case well || up >= stable:
		c.failed = 0
		if up >= stable {
			c.rounds = 0
		}
	default:
		if c.failed++; c.failed >= s.FailAfter {
			s.tryAt = s.w.now() // look for a node that stands by
		}
	}
}

// considerHandOver hands over if this node is drained, fails, or another node is wished
// for or preferred.
func (s *session) considerHandOver(state engine.State) {
	if s.handingOver || s.ticks.running() {
		return
	}
	if s.isDrained(s.Node) {
		if s.others(state) {
			s.handOver("this node is drained, until lifeline undrain " + s.Node)
		}
		return
	}
	if !s.isLowest(state) {
		return
	}
	switch {
	case s.FailAfter > 0 && s.crash.failed >= s.FailAfter:
		if !s.others(state) {
			return
		}
		sit := min(time.Minute<<min(s.crash.rounds, 4), 10*time.Minute)
		s.crash = crashes{rounds: s.crash.rounds + 1, until: s.w.now() + sit}
		s.handOver(fmt.Sprintf("it has failed %d times in a row on this node (--fail-after): another node has its turn",
			s.FailAfter))
	case state.Wish != "" && state.Wish != s.Node && standsBy(state, state.Wish) && !s.isDrained(state.Wish):
		s.handOver("handed over to " + state.Wish)
	case s.Prefer != "" && s.Prefer != s.Node && s.isBack(state):
		s.do("wish", s.limit(), func(ctx context.Context) error {
			return s.engine.Wish(ctx, s.Name, s.Prefer, s.Grace+s.Hello.TTL+5*time.Second)
		}, func(err error) {
			if !s.again(err) && s.holding && !s.handingOver {
				s.handOver(s.Prefer + " is back (--prefer)")
			}
		})
	}
}

func (s *session) handOver(why string) {
	s.handingOver = true
	s.say(cluster.Message{Verb: "yield", Text: why})
}

// isLowest reports whether this node holds the lowest slot. Only that holder hands over.
func (s *session) isLowest(state engine.State) bool {
	mine, lowest := -1, -1
	for _, m := range state.Members {
		if m.Slot < 0 {
			continue
		}
		if m.Mine {
			mine = m.Slot
		}
		if lowest < 0 || m.Slot < lowest {
			lowest = m.Slot
		}
	}
	return mine >= 0 && mine == lowest
}

func (s *session) others(state engine.State) bool {
	for _, m := range state.Members {
		if m.Slot < 0 && !m.Mine && m.Node != s.Node && !s.isDrained(m.Node) {
			return true
		}
	}
	return false
}

func (s *session) isDrained(node string) bool { return slices.Contains(s.drained, node) }

// tellOfDrain reports the beginning and the end of a drain, once each.
func (s *session) tellOfDrain() {
	if is := s.isDrained(s.Node); is != s.isTold {
		s.isTold = is
		text := "this node is drained: it takes no lease, until lifeline undrain " + s.Node
		if !is {
			text = "this node is drained no longer"
		}
		s.tell(text)
	}
}

// seen is a session, and the time at which this node first saw it.
type seen struct {
	id string
	at time.Duration
}

// isBack reports whether the preferred node has stood by for twice the TTL.
func (s *session) isBack(state engine.State) bool {
	for _, m := range state.Members {
		if m.Node != s.Prefer || m.Slot >= 0 || s.isDrained(m.Node) {
			continue
		}
		if s.back.id != m.ID {
			s.back = seen{m.ID, s.w.now()}
		}
		return s.w.now()-s.back.at >= 2*s.Hello.TTL
	}
	return false
}

func (s *session) withdrawWish() {
	s.do("wish", s.limit(), func(ctx context.Context) error { return s.engine.Wish(ctx, s.Name, "", 0) },
		func(error) {})
}

// doSit waits because the worker has failed too often on this node. The wait ends early
// if no other node is a member.
func (s *session) doSit() {
	s.ask(func(state engine.State, err error) {
		s.openAt = s.w.now() + s.fallback()
		if err != nil {
			s.failed(err)
			return
		}
		s.answered()
		if len(state.Members) == 0 {
			s.crash.until = 0
			s.openAt = s.w.now()
		}
		if !s.standingSaid {
			s.standingSaid = true
			s.say(cluster.Message{Verb: "standing"})
		}
	})
}
