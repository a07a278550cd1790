package node

import (
	"context"
	"errors"
	"io"
	"strings"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/engine"
	"lifeline/procscan"
)

// session is lifeline-remote's work for one lifeline: one goroutine, one select. At most
// one engine call is under way; the deadline doesn't wait for the call.
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
	joined  bool // this node is a member
	holding bool // this node is a member and has a slot
	leaving bool // lifeline has ended, or has said bye
	broken  bool // the socket failed

	ttl      time.Duration // the smaller of the TTLs asked for and granted
	deadline time.Duration // of the session: the last confirmed renewal was sent, plus ttl
	times    cluster.Times
	fence    uint64
	release  bool // lifeline wants the lease given back
	trees    []tree

	busy         bool // an engine call is out
	done         chan func()
	renewAt      time.Duration
	backAt       time.Duration // when to try the release again
	tryAt        time.Duration // when to look for a free slot, or for a wish
	openAt       time.Duration // when to open or join again
	fails        int           // engine calls in a row that failed
	away         string        // the reported failure, without the cause; "" for none
	calling      string        // the call under way, or the last call
	readOnly     string        // the call whose write was refused last; "" when writes are taken
	standingSaid bool          // lifeline knows that the engine is usable
	raised       bool          // another TTL than asked for was reported

	asked   time.Duration // since when lifeline owes a pong; 0: it owes none
	looked  time.Duration // the last call of look
	sweepAt time.Duration // when to kill again what a silent lifeline may have started

	past     memory        // of the engine and the name
	freeAt   time.Duration // no slot is taken before
	joinedAt time.Duration
	clock    clock
	drained  []string // nodes, as last seen
	isTold   bool     // this node's drain was reported

	crash       crashes
	handingOver bool // lifeline was asked to hand over
	back        seen
	ticks       ticks
	share       share
}

// world has the clocks, the alarm and the side effects, which tests replace.
type world struct {
	now   func() time.Duration // CLOCK_BOOTTIME
	wall  func() time.Time
	rang  <-chan struct{}
	alarm func(at time.Duration)
	kill  func([]tree, procscan.ID)
	keep  func(memory) // writes the memory down
	share <-chan summary
}

func newSession(h cluster.Hello, out io.Writer, open func(context.Context, cluster.Hello) (engine.Engine, error),
	w world) *session {
	s := &session{Hello: h, w: w, out: out, open: open, ttl: h.TTL, done: make(chan func(), 1)}
	s.past.Fence = h.Fence
	return s
}

// run works until lifeline has ended and its lease is given back. It returns the exit
// code.
func (s *session) run(in *cluster.Reader) int {
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
	var end time.Duration // when to give up the release
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
		case next := <-s.w.share:
			s.share.take(next, s.w.now())
		case <-s.w.rang:
		}
		if s.broken {
			s.broken = false
			s.leave(false)
		}
	}
}

// leave ends the session, because lifeline has ended, said bye, or talks nonsense. It
// kills the worker's leftovers. If it is certain that lifeline starts no more workers,
// leave gives back the lease.
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
		s.w.kill(s.trees, s.Supervisor)
		s.trees = nil
	}
}

// heard handles a message of lifeline.
func (s *session) heard(m cluster.Message) error {
	switch m.Verb {
	case "want":
		s.wanted, s.handingOver, s.sweepAt = true, false, 0
		s.openAt, s.tryAt = s.w.now(), s.w.now()
	case "release":
		s.release, s.backAt = s.holding, 0
		if !s.holding {
			s.say(cluster.Message{Verb: "released"})
		}
		s.wanted = false
	case "starting":
		s.trees = append(s.trees, tree{generation: m.Generation, cgroup: string(m.Cgroup)})
		s.ticks.begun()
	case "started":
		return s.started(m)
	case "ended":
		s.forget(m.Generation)
		s.ticks.started = s.ticks.started && !m.Unbegun
		if s.Tick == "" {
			s.judge(m.Up, m.Code == 0)
		}
	case "done":
		s.ticks.ended(m.Label, m.Code, s.w.wall().UTC())
		s.remember(s.ticks.finished())
		if s.Tick != "" {
			s.judge(0, m.Code == 0)
		}
	case "ping":
		s.say(cluster.Message{Verb: "pong"})
	case "bye":
		s.leave(true)
	}
	return nil
}

func (s *session) started(m cluster.Message) error {
	for i := range s.trees {
		if s.trees[i].generation == m.Generation {
			s.trees[i].root = procscan.ID{PID: m.PID, Start: m.Start}
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

// maxText limits a message's text, in bytes, because an engine's errors may be long.
const maxText = 800

// say sends a message. A lifeline that is stopped for long fills the socket, and is then
// given up.
func (s *session) say(m cluster.Message) {
	if len(m.Text) > maxText {
		m.Text = strings.ToValidUTF8(m.Text[:maxText], "") + "…"
	}
	if err := cluster.Send(s.out, m); err != nil && !s.leaving {
		s.broken = true
	}
}

// tell makes lifeline print a line.
func (s *session) tell(text string) { s.say(cluster.Message{Verb: "say", Text: text}) }

func (s *session) refuse(r *engine.Refused) {
	s.say(cluster.Message{Verb: "refused", Code: r.Code, Text: r.Text})
}

// look does what the deadline requires, also during an engine call.
func (s *session) look() {
	now := s.w.now()
	if now-s.looked > s.ttl {
		s.asked = 0 // this process was stopped or suspended
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

// lose gives up a lease that another node may have, and kills the worker's tree.
func (s *session) lose(why string) {
	s.joined = false
	if !s.holding {
		return
	}
	s.wanted = s.wanted && s.release // lifeline wants the lease again, after a release
	s.holding, s.release = false, false
	s.times = cluster.Times{}
	s.ticks.reset()
	s.say(cluster.Message{Verb: "lost", Text: why})
	s.killAll()
}

// act starts the most urgent engine call.
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
	case s.joined && s.ticks.schedule != nil && now >= s.clock.at:
		s.doClock()
	case s.holding && s.ticks.busy(s):
		s.doTick()
	case s.joined && now >= s.tryAt && (s.holding || s.wanted):
		s.doLook()
	case s.joined && now >= s.clock.at:
		s.doClock()
	case s.joined && s.share.next != nil && now < s.renewAt-s.limit():
		s.doShare()
	case !s.joined && s.wanted && now >= s.openAt:
		if s.crash.sitting(now) {
			s.doSit()
		} else {
			s.doJoin()
		}
	}
}

// arm sets the alarm to the next time at which something is due.
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
	if s.release && s.joined && !s.busy { // the release comes first
		due(s.backAt)
	} else if !s.busy {
		if s.joined {
			due(s.renewAt)
			if s.holding || s.wanted {
				due(s.tryAt)
			}
			due(s.clock.at)
		} else if s.wanted {
			due(s.openAt)
		}
		if s.holding && s.ticks.schedule != nil {
			due(s.ticks.wake(s))
		}
	}
	s.w.alarm(next)
}
