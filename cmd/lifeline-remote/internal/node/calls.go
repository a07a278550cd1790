package node

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/engine"
)

// do calls the engine in a goroutine, and then `then` in the loop.
func (s *session) do(what string, limit time.Duration, call func(context.Context) error, then func(error)) {
	s.busy, s.calling = true, what
	e, told, again := s.engine, s.away != "", s.fails > 0
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		var err error
		if e != nil && again {
			err = e.Reconnect(ctx)
		}
		if err == nil {
			err = call(ctx)
		}
		if ctx.Err() != nil && err != nil {
			err = fmt.Errorf("no answer within %s: %w", limit.Round(time.Millisecond), err)
			if e != nil && !told {
				asking, cancel := context.WithTimeout(context.Background(), limit/4)
				defer cancel()
				if why := e.Reason(asking); why != nil {
					err = why
				}
			}
		}
		s.done <- func() { then(err) }
	}()
}

// limit returns how long a call may take, so that time is left for a second call.
func (s *session) limit() time.Duration {
	return min(max(s.ttl/4, 100*time.Millisecond), 5*time.Second)
}

// The messages for failures, before their cause.
const (
	unreachable = "the cluster's engine can't be reached, trying again: "
	refusing    = "the cluster's engine refuses this node, trying again: "
	onlyReading = "the cluster's engine answers and refuses writes, trying again: "
)

// failed notes a failed engine call, and reports the second failure in a row once.
func (s *session) failed(err error) {
	s.fails++
	told := unreachable
	var refused *engine.Refused
	if errors.As(err, &refused) {
		told = refusing
		if refused.ReadOnly {
			told, s.readOnly = onlyReading, s.calling
		}
	}
	if s.fails >= 2 && s.away != told && !s.leaving {
		s.away = told
		s.tell(told + err.Error())
		s.say(cluster.Message{Verb: "trouble", Text: told + err.Error()})
	}
}

// answered notes that the engine has answered. It doesn't end a refusal of writes,
// because such an engine answers reads.
func (s *session) answered() {
	if s.readOnly == "" {
		s.recovered()
	}
}

// wrote notes that the engine has taken a write. A holder's write, or the call that
// was refused, ends the refusal.
func (s *session) wrote() {
	if s.holding || s.readOnly == s.calling || s.calling == "join" || s.calling == "acquire" {
		s.readOnly = ""
	}
	s.answered()
}

func (s *session) recovered() {
	s.fails = 0
	if s.away != "" {
		text := "the cluster's engine answers again"
		if s.away == onlyReading {
			text = "the cluster's engine takes writes again"
		}
		s.away = ""
		s.tell(text)
		s.say(cluster.Message{Verb: "trouble"})
	}
}

// pause returns how long to wait after s.fails failures. It grows, and is random, so
// that all nodes don't call a returning engine at once.
func (s *session) pause() time.Duration {
	base := min(100*time.Millisecond<<min(s.fails, 6), max(s.ttl, time.Second), 5*time.Second)
	if s.holding { // the rest of the lease is short
		base = min(base, max(s.ttl/20, 20*time.Millisecond))
	}
	return base/2 + rand.N(base)
}

func (s *session) doOpen() {
	var e engine.Engine
	s.do("open", 10*time.Second, func(ctx context.Context) (err error) {
		e, err = s.open(ctx, s.Hello)
		return err
	}, func(err error) {
		var refused *engine.Refused
		switch {
		case err == nil:
			s.engine = e
			s.answered()
		case errors.As(err, &refused):
			s.refuse(refused)
			s.wanted = false
		default:
			s.failed(err)
			s.openAt = s.w.now() + s.pause()
		}
	})
}

func (s *session) doJoin() {
	sent := s.w.now()
	var ttl time.Duration
	s.do("join", s.limit(), func(ctx context.Context) (err error) {
		ttl, err = s.engine.Join(ctx, engine.Member{Name: s.Name, Node: s.Node, TTL: s.Hello.TTL, Slots: s.Slots,
			Options: s.Options(), Force: s.ForceOptions})
		return err
	}, func(err error) {
		if s.again(err) {
			return
		}
		if ttl != s.Hello.TTL && !s.raised {
			s.raised = true
			s.tell(fmt.Sprintf("the engine makes the TTL %s, not %s (--ttl): when a node dies, another one has it "+
				"that much later", ttl, s.Hello.TTL))
		}
		s.ttl = min(ttl, s.Hello.TTL)
		s.joined, s.joinedAt, s.ForceOptions, s.clock.has = true, s.w.now(), false, false
		s.confirm(sent)
		s.tryAt = s.w.now()
		if !s.standingSaid {
			s.standingSaid = true
			s.say(cluster.Message{Verb: "standing"})
		}
	})
}

// confirm moves the deadline after an answer. The new deadline counts from sent, a time
// before the request.
func (s *session) confirm(sent time.Duration) {
	s.wrote()
	s.deadline = sent + s.ttl
	s.renewAt = sent + cluster.RenewEvery(s.ttl)
	if s.holding {
		s.times = cluster.TimesOf(s.deadline, s.Hello.TTL, s.Grace)
		s.say(cluster.Message{Verb: "renewed", Deadline: s.deadline})
		if s.asked == 0 {
			s.asked = s.w.now()
			s.say(cluster.Message{Verb: "ping"})
		}
	}
}

// again handles the errors that any call may return, and reports whether err was one.
func (s *session) again(err error) bool {
	var refused *engine.Refused
	switch {
	case err == nil:
		return false
	case errors.Is(err, engine.ErrLost):
		s.fails++
		s.lose("another node may have it: " + err.Error())
		s.openAt = s.w.now() + s.pause()
	case errors.As(err, &refused) && !s.holding && (!s.standingSaid || refused.Code == 64):
		s.refuse(refused)
		s.wanted = false
	default: // an operator may correct it while this node stands by
		s.failed(err)
		at := s.w.now() + s.pause()
		s.openAt, s.tryAt = at, at
		s.renewAt = max(s.renewAt, at)
	}
	return true
}

func (s *session) doRenew() {
	sent := s.w.now()
	var ttl time.Duration
	s.do("renew", s.limit(), func(ctx context.Context) (err error) {
		ttl, err = s.engine.Renew(ctx)
		return err
	}, func(err error) {
		if s.again(err) || !s.joined { // not joined: the deadline came before the answer
			return
		}
		if ttl > 0 && ttl < s.ttl {
			s.ttl = ttl
		}
		s.confirm(sent)
	})
}

// ask reads the state of the name.
func (s *session) ask(then func(engine.State, error)) {
	var view engine.View
	s.do("look", s.limit(), func(ctx context.Context) (err error) {
		view, err = s.engine.Look(ctx, s.Name)
		return err
	}, func(err error) {
		var state engine.State
		if len(view.States) > 0 {
			state = view.States[0]
		}
		if err == nil {
			s.drained = view.Drained
			s.believe(view, state)
		}
		then(state, err)
	})
}

// doLook reads the state of the name, and competes for a free slot.
func (s *session) doLook() {
	s.ask(func(state engine.State, err error) {
		s.tryAt = s.w.now() + s.fallback()
		if s.again(err) || !s.joined {
			return
		}
		s.answered()
		s.tellOfDrain()
		switch {
		case s.past.Above(state):
			s.doRaise()
		case s.holding:
			s.considerHandOver(state)
		case s.second(state):
			s.refuse(&engine.Refused{Code: 64, Text: fmt.Sprintf("another lifeline that calls its node %s is in this "+
				"cluster: give --node NAME, another one on each", s.Node)})
			s.wanted = false
		default:
			s.compete(state)
		}
	})
}

// second reports whether another node with the same node name joined before this node.
// It waits until an earlier, killed session of this node has ended.
func (s *session) second(state engine.State) bool {
	if s.w.now() < s.joinedAt+2*s.Hello.TTL+2*time.Second {
		return false
	}
	i := slices.IndexFunc(state.Members, func(m engine.Status) bool { return m.Mine })
	return i >= 0 && slices.ContainsFunc(state.Members, func(m engine.Status) bool {
		return !m.Mine && m.Node == s.Node && m.Order < state.Members[i].Order
	})
}

// fallback returns the random pause before the next look without a change.
func (s *session) fallback() time.Duration {
	base := min(max(s.ttl/2, 200*time.Millisecond), 5*time.Second)
	return base/2 + rand.N(base)
}

func (s *session) compete(state engine.State) {
	if s.leaving || !s.wanted || s.clock.off || s.isDrained(s.Node) {
		return
	}
	if s.w.now() < s.freeAt {
		s.tryAt = s.freeAt
		return
	}
	taken, soonest := 0, time.Duration(0)
	for _, m := range state.Members {
		if m.Slot >= 0 && !m.Mine {
			taken++
			if m.TTL > 0 && (soonest == 0 || m.TTL < soonest) {
				soonest = m.TTL
			}
		}
	}
	if taken > 0 && s.readOnly == "acquire" { // the engine takes the writes of a holder
		s.readOnly = ""
		s.answered()
	}
	if taken >= s.Slots {
		if soonest > 0 {
			s.tryAt = min(s.tryAt, s.w.now()+soonest+time.Millisecond+rand.N(20*time.Millisecond))
		}
		return
	}
	if w := state.Wish; w != "" && w != s.Node && standsBy(state, w) && !s.isDrained(w) {
		s.tryAt = min(s.tryAt, s.w.now()+250*time.Millisecond)
		return
	}
	s.doAcquire(state.Wish == s.Node)
}

func standsBy(state engine.State, node string) bool {
	for _, m := range state.Members {
		if m.Node == node && m.Slot < 0 {
			return true
		}
	}
	return false
}

func (s *session) doAcquire(wished bool) {
	var grant engine.Grant
	s.do("acquire", s.limit(), func(ctx context.Context) (err error) {
		grant, err = s.engine.Acquire(ctx, s.past.Fence)
		return err
	}, func(err error) {
		var taken *engine.Taken
		if errors.As(err, &taken) {
			s.answered()
			if taken.After > 0 {
				s.tryAt = min(s.tryAt, s.w.now()+taken.After+rand.N(20*time.Millisecond))
			}
			return
		}
		if s.again(err) || !s.joined {
			return
		}
		s.wrote()
		s.past.Fence = max(s.past.Fence, grant.Fence)
		s.w.keep(s.past)
		s.holding, s.handingOver, s.fence = true, false, grant.Fence
		s.times = cluster.TimesOf(s.deadline, s.Hello.TTL, s.Grace)
		if !s.wanted || s.leaving || !s.times.Held(s.w.now()) { // too late: give it back
			s.release = true
			return
		}
		s.ticks.reset()
		s.say(cluster.Message{Verb: "granted", Fence: grant.Fence, Deadline: s.deadline})
		if wished {
			s.withdrawWish()
		}
	})
}

// doRelease gives the slot back after the worker's tree has ended.
func (s *session) doRelease() {
	revert := s.ticks.revert()
	s.do("release", s.limit(), func(ctx context.Context) error {
		if revert != nil {
			if err := s.engine.Claim(ctx, revert.from, revert.to, revert.run); err != nil &&
				!errors.Is(err, engine.ErrClaimed) {
				return err
			}
		}
		return s.engine.Release(ctx)
	}, func(err error) {
		if errors.Is(err, engine.ErrLost) {
			err = nil
			s.joined = false
		}
		if err != nil {
			s.ticks.unrevert(revert)
			s.failed(err)
			s.backAt = s.w.now() + s.pause()
			s.renewAt = s.backAt
			return
		}
		s.wrote()
		s.holding, s.release = false, false
		s.times = cluster.Times{}
		s.tryAt = s.w.now() + 50*time.Millisecond // other nodes come first
		if !s.leaving {
			s.say(cluster.Message{Verb: "released"})
		}
	})
}

// doLeave ends the session, so that other nodes needn't wait until it expires.
func (s *session) doLeave() {
	s.do("leave", s.limit(), func(ctx context.Context) error { return s.engine.Leave(ctx) }, func(err error) {
		s.joined = false
	})
}
