package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strconv"
	"time"

	"lifeline/lifeline/cluster"
	"lifeline/lifeline/cluster/engine"
	"lifeline/procscan"
)

// session is lifeline-remote's work for one lifeline: one goroutine, one
// select. At most one call of the engine is out at a time; the deadline doesn't
// wait for it.
//
//	        want             joined            granted
//	idle ─────────► joining ────────► standing ────────► holding
//	 ▲                 ▲                  ▲  │ lost         │ lost, or the deadline:
//	 │ release         └──────────────────┼──┘              │ kill the tree
//	 └────────────────────────────────────┴─────────────────┘ then wait for "want"
type session struct {
	cluster.Hello
	w      world
	out    io.Writer
	open   func(context.Context, cluster.Hello) (engine.Engine, error)
	engine engine.Engine // nil before it is open

	wanted  bool // lifeline wants the lease
	joined  bool // we are a member
	holding bool // and have a place
	leaving bool // lifeline is gone, or has said bye
	broken  bool // the socket is

	ttl      time.Duration // the smaller one of asked for and granted
	deadline time.Duration // of the session: the last confirmed renewal was sent, plus ttl
	times    cluster.Times
	release  bool // lifeline wants it given back
	trees    []tree

	busy    bool // an engine call is out
	done    chan func()
	renewAt time.Duration
	backAt  time.Duration // when to try again to give it back
	tryAt   time.Duration // when to look for a free place, or for a wish
	openAt  time.Duration // when to open or join again
	fails   int           // engine calls in a row that failed
	away    bool          // which was told
	settled bool          // standing was said once
	raised  bool          // a TTL that isn't what was asked for was told

	asked   time.Duration // lifeline owes a pong since then; 0: it doesn't
	looked  time.Duration // when look was here last
	sweepAt time.Duration // when to kill once more what a silent lifeline may have started

	crash crashes
	yield bool // lifeline was asked to hand over
	back  seen
	ticks ticks
}

// world is what a test takes into its own hands.
type world struct {
	now   func() time.Duration // CLOCK_BOOTTIME
	wall  func() time.Time
	rang  <-chan struct{}
	alarm func(at time.Duration)
	kill  func([]tree, procscan.ID)
}

func newSession(h cluster.Hello, out io.Writer, open func(context.Context, cluster.Hello) (engine.Engine, error), w world) *session {
	s := &session{Hello: h, w: w, out: out, open: open, ttl: h.TTL, done: make(chan func(), 1)}
	return s
}

// run works until lifeline is gone and what it had is given back.
func (s *session) run(in *cluster.Reader) int {
	s.say("remote", cluster.Version)
	messages := make(chan cluster.Message)
	gone := make(chan error, 1)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			m, err := in.Next()
			if err != nil {
				gone <- err
				return
			}
			select {
			case messages <- m:
			case <-stop:
				return
			}
		}
	}()
	if h, err := parseSchedule(s.Tick); s.Tick != "" && err != nil {
		s.refuse(&engine.Refused{Code: 64, Text: err.Error()})
		return 64
	} else if s.Tick != "" {
		s.ticks.schedule = h
	}
	var end time.Duration // when to give up giving it back
	for {
		s.look()
		s.act()
		if s.leaving && !s.joined && !s.busy {
			return 0
		}
		if s.leaving {
			if end == 0 {
				end = s.w.now() + 1500*time.Millisecond
			}
			if s.w.now() >= end {
				return 1
			}
		}
		s.arm(end)
		var changes <-chan struct{}
		if s.engine != nil {
			changes = s.engine.Changes()
		}
		select {
		case m := <-messages:
			s.asked = 0
			if err := s.heard(m); err != nil {
				s.leave(false)
			}
		case err := <-gone:
			gone = nil
			s.leave(!errors.Is(err, cluster.ErrNonsense))
		case f := <-s.done:
			s.busy = false
			f()
		case <-changes:
			s.tryAt = s.w.now()
		case <-s.w.rang:
		}
		if s.broken {
			s.broken = false
			s.leave(false)
		}
	}
}

// leave: lifeline is gone, has said bye, or can't be understood. What it has
// left of the worker is killed; then the lease can go, if lifeline is certain
// not to start anything on it.
func (s *session) leave(certain bool) {
	if s.leaving {
		return
	}
	s.killAll()
	s.leaving, s.wanted = true, false
	s.release, s.backAt = s.holding, 0
	if s.holding && !certain {
		s.holding, s.release, s.joined = false, false, false
	}
}

func (s *session) killAll() {
	if len(s.trees) > 0 {
		s.w.kill(s.trees, s.supervisor())
		s.trees = nil
	}
}

// heard is one message of lifeline's.
func (s *session) heard(m cluster.Message) error {
	switch m.Verb {
	case "want":
		s.wanted, s.yield, s.sweepAt = true, false, 0
		s.openAt, s.tryAt = s.w.now(), s.w.now()
	case "release":
		s.release, s.backAt = s.holding, 0
		if !s.holding {
			s.say("released")
		}
		s.wanted = false
	case "starting":
		s.trees = append(s.trees, tree{generation: m.Fields[0], cgroup: m.Fields[1]})
		s.ticks.begun()
	case "started":
		return s.started(m)
	case "ended":
		up, err := m.Number(1)
		if err != nil {
			return err
		}
		s.forget(m.Fields[0])
		if s.Tick == "" {
			s.judge(time.Duration(up), m.Fields[2] == "0")
		}
	case "done":
		s.ticks.ended(m.Fields[0])
		if s.Tick != "" {
			s.judge(0, m.Fields[1] == "0")
		}
	case "ping":
		s.say("pong")
	case "bye":
		s.leave(true)
	}
	return nil
}

func (s *session) started(m cluster.Message) error {
	pid, err := m.Number(1)
	start, perr := strconv.ParseUint(m.Fields[2], 10, 64)
	if err != nil || perr != nil {
		return cluster.ErrNonsense
	}
	for i := range s.trees {
		if s.trees[i].generation == m.Fields[0] {
			s.trees[i].root = procscan.ID{PID: int(pid), Start: start}
			return nil
		}
	}
	return cluster.ErrNonsense
}

func (s *session) forget(generation string) {
	for i, t := range s.trees {
		if t.generation == generation {
			s.trees = append(s.trees[:i], s.trees[i+1:]...)
			return
		}
	}
}

func (s *session) supervisor() (id procscan.ID) {
	_, _ = fmt.Sscanf(s.Supervisor, "%d:%d", &id.PID, &id.Start)
	return id
}

// say writes a line. Lifeline may be stopped for a long time: when the socket
// is full at last, it is given up.
func (s *session) say(verb string, fields ...any) {
	if c, ok := s.out.(interface{ SetWriteDeadline(time.Time) error }); ok {
		_ = c.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
	}
	if _, err := io.WriteString(s.out, cluster.Line(verb, fields...)); err != nil && !s.leaving {
		s.broken = true
	}
}

func (s *session) refuse(r *engine.Refused) { s.say("refused", r.Code, r.Text) }

// look is what the deadline asks for, whatever else goes on.
func (s *session) look() {
	now := s.w.now()
	if now-s.looked > s.ttl {
		s.asked = 0 // it was this process that was away
	}
	s.looked = now
	if s.sweepAt != 0 && now >= s.sweepAt {
		s.sweepAt = 0
		s.killAll()
	}
	switch {
	case s.holding && now >= s.times.Kill:
		s.lose("it couldn't be renewed in time")
	case s.holding && s.asked != 0 && now-s.asked >= max(2*s.Hello.TTL, 3*time.Second) && !s.leaving:
		s.sweepAt = s.times.Kill
		s.lose("lifeline itself was silent for too long")
	case s.joined && !s.holding && now >= s.deadline:
		s.joined = false
	}
}

// lose: the lease is another's, or will be in a moment.
func (s *session) lose(why string) {
	s.joined = false
	if !s.holding {
		return
	}
	s.wanted = s.wanted && s.release // what was given up already is wanted anew
	s.holding, s.release = false, false
	s.times = cluster.Times{}
	s.ticks.reset()
	s.say("lost", why)
	s.killAll()
}

// do calls the engine beside the loop; then follows in the loop.
func (s *session) do(limit time.Duration, call func(context.Context) error, then func(error)) {
	s.busy = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
		defer cancel()
		err := call(ctx)
		if ctx.Err() != nil && err != nil {
			err = fmt.Errorf("no answer within %s: %w", limit.Round(time.Millisecond), err)
		}
		s.done <- func() { then(err) }
	}()
}

// limit is how long a call may take: so that there is time for another one.
func (s *session) limit() time.Duration {
	return min(max(s.ttl/4, 100*time.Millisecond), 5*time.Second)
}

// act starts the one engine call that is most urgent.
func (s *session) act() {
	now := s.w.now()
	switch {
	case s.busy:
	case s.engine == nil:
		if s.wanted && now >= s.openAt {
			s.doOpen()
		}
	case s.release && s.joined:
		if now >= s.backAt {
			s.doRelease()
		}
	case s.joined && !s.holding && (s.leaving || s.crash.sitting(now)):
		s.doLeave()
	case s.joined && now >= s.renewAt:
		s.doRenew()
	case s.holding && s.ticks.busy(s):
		s.doTick()
	case s.joined && now >= s.tryAt && (s.holding || s.wanted):
		s.doLook()
	case !s.joined && s.wanted && now >= s.openAt:
		if s.crash.sitting(now) {
			s.doSit()
		} else {
			s.doJoin()
		}
	}
}

// arm sets the alarm to what is due next.
func (s *session) arm(end time.Duration) {
	next := end
	due := func(at time.Duration) {
		if next == 0 || at < next {
			next = max(at, 1)
		}
	}
	if s.sweepAt != 0 {
		due(s.sweepAt)
	}
	if s.holding {
		due(s.times.Kill)
	} else if s.joined {
		due(s.deadline)
	}
	if s.release && s.joined && !s.busy { // nothing else is done before
		due(s.backAt)
	} else if !s.busy {
		if s.joined {
			due(s.renewAt)
			if s.holding || s.wanted {
				due(s.tryAt)
			}
		} else if s.wanted {
			due(s.openAt)
		}
		if s.holding && s.ticks.schedule != nil {
			due(s.ticks.wake(s))
		}
	}
	s.w.alarm(next)
}

// failed notes an engine call that came to nothing, and says so once.
func (s *session) failed(err error) {
	s.fails++
	if s.fails >= 2 && !s.away && !s.leaving {
		s.away = true
		s.say("say", fmt.Sprintf("the cluster's engine can't be reached, trying again: %v", err))
	}
}

// fine: the engine has answered.
func (s *session) fine() {
	s.fails = 0
	if s.away {
		s.away = false
		s.say("say", "the cluster's engine answers again")
	}
}

// pause is how long to wait after so many failures: growing, and different on
// every node, so that nobody floods an engine that comes back.
func (s *session) pause() time.Duration {
	base := min(100*time.Millisecond<<min(s.fails, 6), max(s.ttl, time.Second), 5*time.Second)
	if s.holding { // what is left of the lease is short
		base = min(base, max(s.ttl/20, 20*time.Millisecond))
	}
	return base/2 + rand.N(base)
}

func (s *session) doOpen() {
	var e engine.Engine
	s.do(10*time.Second, func(ctx context.Context) (err error) {
		e, err = s.open(ctx, s.Hello)
		return err
	}, func(err error) {
		var refused *engine.Refused
		switch {
		case err == nil:
			s.engine = e
			s.fine()
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
	s.do(s.limit(), func(ctx context.Context) (err error) {
		ttl, err = s.engine.Join(ctx, engine.Member{Name: s.Name, Node: s.Node, TTL: s.Hello.TTL, Slots: s.Slots})
		return err
	}, func(err error) {
		if s.again(err) {
			return
		}
		if ttl != s.Hello.TTL && !s.raised {
			s.raised = true
			s.say("say", fmt.Sprintf("the engine makes the TTL %s, not %s (--ttl): when a node dies, another one has it that much later", ttl, s.Hello.TTL))
		}
		s.ttl = min(ttl, s.Hello.TTL)
		s.joined = true
		s.confirm(sent)
		s.tryAt = s.w.now()
		if !s.settled {
			s.settled = true
			s.say("standing")
		}
	})
}

// confirm moves the deadline: only an answer does, and it counts from before
// the question.
func (s *session) confirm(sent time.Duration) {
	s.fine()
	s.deadline = sent + s.ttl
	s.renewAt = sent + cluster.RenewEvery(s.ttl)
	if s.holding {
		s.times = cluster.TimesOf(s.deadline, s.Hello.TTL, s.Grace)
		s.say("renewed", int64(s.deadline))
		if s.asked == 0 {
			s.asked = s.w.now()
			s.say("ping")
		}
	}
}

// again deals with what can go wrong with any call while we wait.
func (s *session) again(err error) bool {
	var refused *engine.Refused
	switch {
	case err == nil:
		return false
	case errors.Is(err, engine.ErrLost):
		s.fails++
		s.lose("another node may have it: " + err.Error())
		s.openAt = s.w.now() + s.pause()
	case errors.As(err, &refused) && !s.holding:
		s.refuse(refused)
		s.wanted = false
	default:
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
	s.do(s.limit(), func(ctx context.Context) (err error) {
		ttl, err = s.engine.Renew(ctx)
		return err
	}, func(err error) {
		if s.again(err) || !s.joined { // not joined: the deadline came first
			return
		}
		if ttl > 0 && ttl < s.ttl {
			s.ttl = ttl
		}
		s.confirm(sent)
	})
}

// doLook sees how the name stands, and takes a place that is free.
func (s *session) doLook() {
	var state engine.State
	s.do(s.limit(), func(ctx context.Context) error {
		states, err := s.engine.Look(ctx, s.Name)
		if len(states) > 0 {
			state = states[0]
		}
		return err
	}, func(err error) {
		s.tryAt = s.w.now() + s.fallback()
		switch {
		case s.again(err) || !s.joined:
		case s.holding:
			s.fine()
			s.wishes(state)
		default:
			s.fine()
			s.compete(state)
		}
	})
}

// fallback is when to look again though nothing was heard.
func (s *session) fallback() time.Duration {
	base := min(max(s.ttl/2, 200*time.Millisecond), 5*time.Second)
	return base/2 + rand.N(base)
}

func (s *session) compete(state engine.State) {
	if s.leaving || !s.wanted {
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
	if taken >= s.Slots {
		if soonest > 0 {
			s.tryAt = min(s.tryAt, s.w.now()+soonest+time.Millisecond+rand.N(20*time.Millisecond))
		}
		return
	}
	if w := state.Wish; w != "" && w != s.Node && standsBy(state, w) {
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
	s.do(s.limit(), func(ctx context.Context) (err error) {
		grant, err = s.engine.Acquire(ctx)
		return err
	}, func(err error) {
		var taken *engine.Taken
		if errors.As(err, &taken) {
			s.fine()
			if taken.After > 0 {
				s.tryAt = min(s.tryAt, s.w.now()+taken.After+rand.N(20*time.Millisecond))
			}
			return
		}
		if s.again(err) || !s.joined {
			return
		}
		s.fine()
		s.holding, s.yield = true, false
		s.times = cluster.TimesOf(s.deadline, s.Hello.TTL, s.Grace)
		if !s.wanted || s.leaving || !s.times.Held(s.w.now()) { // too late: back with it
			s.release = true
			return
		}
		s.ticks.reset()
		s.say("granted", grant.Fence, int64(s.deadline))
		if wished {
			s.unwish()
		}
	})
}

// doRelease gives the place back: nothing of the worker lives.
func (s *session) doRelease() {
	revert := s.ticks.revert()
	s.do(s.limit(), func(ctx context.Context) error {
		if revert != nil {
			if err := s.engine.Claim(ctx, revert.from, revert.to); err != nil && !errors.Is(err, engine.ErrClaimed) {
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
		s.fine()
		s.holding, s.release = false, false
		s.times = cluster.Times{}
		s.tryAt = s.w.now() + 50*time.Millisecond // the others first
		if !s.leaving {
			s.say("released")
		}
	})
}

// doLeave ends the session: the others needn't wait for its end.
func (s *session) doLeave() {
	s.do(s.limit(), func(ctx context.Context) error { return s.engine.Leave(ctx) }, func(err error) {
		s.joined = false
	})
}
