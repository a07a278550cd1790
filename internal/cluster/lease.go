package cluster

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"lifeline/procscan"
)

// Lease is lifeline's side of a name's lease. One goroutine calls all its methods;
// other goroutines only ring C.
type Lease struct {
	hello Hello
	warn  func(format string, args ...any)
	w     world

	wanted   bool
	usable   bool  // a lifeline-remote has found the engine usable before
	held     bool  // granted, and not given up since
	times    Times // of the lease; kept while no lifeline-remote runs
	fence    uint64
	trouble  string // with the engine, as lifeline-remote last reported
	peer     *peer
	told     Times           // the Stop and the Kill that the supervisor knows
	at       time.Duration   // when to start lifeline-remote, or to check it
	asked    bool            // lifeline-remote owes a pong
	failures int             // starts of lifeline-remote in a row that failed
	living   map[string]bool // generations that may have a living process
	out      []Event
	bell     chan struct{}
}

// Event is what a Lease tells the supervisor.
type Event struct {
	Verb string // granted, stop, kill, tick, refused
	Text string // the tick's label, or the reason
	N    uint64 // the fence, or the exit code
}

// world has the clock, timers and processes, which tests replace.
type world struct {
	now    func() time.Duration
	alarm  *Alarm
	set    func(at time.Duration)
	killAt func(at time.Duration) // when the kernel kills this process; 0 for never
	start  func() (io.ReadWriteCloser, procscan.ID, error)
	kill   func(procscan.ID)
	reap   func(procscan.ID)
}

// peer is a running lifeline-remote.
type peer struct {
	conn  io.ReadWriteCloser
	id    procscan.ID
	mu    sync.Mutex
	queue []Message
	err   error         // why no more messages will come
	over  chan struct{} // closed when no more messages will come
}

const (
	patience   = 5 * time.Second // with a lifeline-remote that owes a pong
	goodbye    = 2 * time.Second // for giving a lease back at the end
	maxRestart = 30 * time.Second
	misused    = 64  // the exit code of a refusal because of the command line
	unfit      = 125 // the exit code of a refusal because of the installed programs
)

// Join makes the lease of a name from checked options. Want starts lifeline-remote.
func Join(o Options, name string, grace time.Duration, warn func(format string, args ...any)) (*Lease, error) {
	program, err := Find()
	if err != nil {
		return nil, err
	}
	alarm, err := NewAlarm()
	if err != nil {
		return nil, fmt.Errorf("cannot make a timer: %w", err)
	}
	l := newLease(Hello{URL: o.URL, Prefix: o.Prefix, Name: name, Node: o.Node, TTL: o.TTL,
		Grace: grace, Slots: o.Slots,
		Prefer:    o.Prefer,
		FailAfter: o.FailAfter, Tick: o.Tick, AtLeastOnce: o.AtLeastOnce,
		MaxClockSkew: o.MaxClockSkew, ForceOptions: o.ForceOptions, Memory: Bytes(o.Memory),
		ShareStatus: o.ShareStatus, Supervisor: procscan.Self()}, warn,
		world{now: Now, alarm: alarm, set: alarm.Set, killAt: newKillTimer().set, kill: kill, reap: reap,
			start: func() (io.ReadWriteCloser, procscan.ID, error) { return start(program) }})
	go func() {
		for range alarm.C {
			l.ring()
		}
	}()
	return l, nil
}

func newLease(h Hello, warn func(string, ...any), w world) *Lease {
	return &Lease{hello: h, warn: warn, w: w, living: map[string]bool{}, bell: make(chan struct{}, 1)}
}

func (l *Lease) ring() {
	select {
	case l.bell <- struct{}{}:
	default:
	}
}

// C receives a value when Next may have an event.
func (l *Lease) C() <-chan struct{} { return l.bell }

// Ticks reports whether the command runs at ticks instead of all the time.
func (l *Lease) Ticks() bool { return l.hello.Tick != "" }

// Held reports whether a worker may be started now. It takes in the messages that have
// come, because the start of a worker may have taken longer than a renewal, and checks the
// deadline again.
func (l *Lease) Held() bool {
	l.listen()
	return l.held && l.peer != nil && l.times.Held(l.w.now())
}

// Until returns the latest time at which the worker's tree is killed, on the clock of
// [Now].
func (l *Lease) Until() int64 { return int64(l.times.Kill) }

// Fence returns the number of the grant.
func (l *Lease) Fence() uint64 { return l.fence }

// Trouble returns what keeps lifeline-remote from the engine; "" for nothing.
func (l *Lease) Trouble() string { return l.trouble }

// Helpers returns the processes that belong to lifeline instead of a worker.
func (l *Lease) Helpers() []procscan.ID {
	if l.peer == nil || l.peer.id.Zero() {
		return nil
	}
	return []procscan.ID{l.peer.id}
}

// Want stands by for the lease, while no process of the worker lives.
func (l *Lease) Want() {
	l.wanted = true
	if l.peer != nil {
		l.say(Message{Verb: "want"})
		l.quietSince()
	} else if l.at == 0 {
		l.connect()
	}
	l.arm()
}

// Release gives back the lease if it is held, while no process of the worker
// lives.
func (l *Lease) Release() {
	if l.held {
		l.say(Message{Verb: "release"})
	}
	l.wanted = false
	l.forget()
	// All events but refused are about the lease that is given back.
	l.out = slices.DeleteFunc(l.out, func(e Event) bool { return e.Verb != "refused" })
	l.arm()
}

// Starting tells lifeline-remote of a generation that it may have to kill.
func (l *Lease) Starting(generation, cgroup string) {
	l.living[generation] = true
	l.armKillTimer()
	l.say(Message{Verb: "starting", Generation: generation, Cgroup: Bytes(cgroup)})
}

// Started tells lifeline-remote which process the worker is.
func (l *Lease) Started(generation string, id procscan.ID) {
	l.say(Message{Verb: "started", Generation: generation, PID: id.PID, Start: id.Start})
}

// Ended tells lifeline-remote that every process of a generation has ended; begun says
// that the command was executed.
func (l *Lease) Ended(generation string, up time.Duration, code int, begun bool) {
	delete(l.living, generation)
	l.armKillTimer()
	l.say(Message{Verb: "ended", Generation: generation, Up: up, Code: code, Unbegun: !begun})
}

// Done tells lifeline-remote that the run for a tick has ended.
func (l *Lease) Done(label string, code int) {
	l.say(Message{Verb: "done", Label: label, Code: code})
}

// Close ends lifeline-remote, which gives back the lease after the worker's
// tree has ended. Close waits up to 2 s for that.
func (l *Lease) Close() {
	if p := l.peer; p != nil {
		l.say(Message{Verb: "bye"})
		select {
		case <-p.over:
		case <-time.After(goodbye):
		}
		_ = p.conn.Close()
		l.w.reap(p.id)
	}
	if l.w.alarm != nil {
		l.w.alarm.Close()
	}
}

// Next returns the next event; ok is false if there is none.
func (l *Lease) Next() (verb, text string, n uint64, ok bool) {
	l.listen()
	l.look()
	l.arm()
	if len(l.out) == 0 {
		return "", "", 0, false
	}
	e := l.out[0]
	l.out = l.out[1:]
	return e.Verb, e.Text, e.N, true
}

func (l *Lease) tell(verb, text string, n uint64) { l.out = append(l.out, Event{verb, text, n}) }

func (l *Lease) say(m Message) {
	if l.peer == nil {
		return
	}
	if err := Send(l.peer.conn, m); errors.Is(err, ErrFull) {
		l.peer.mu.Lock()
		l.peer.err = err
		l.peer.mu.Unlock()
		l.ring()
	} // the reader gets other errors, perhaps after their reason
}

// listen handles lifeline-remote's messages.
func (l *Lease) listen() {
	for l.peer != nil {
		p := l.peer
		p.mu.Lock()
		queue, err := p.queue, p.err
		p.queue = nil
		p.mu.Unlock()
		for _, m := range queue {
			l.quietSince()
			if e := l.heard(m); e != nil {
				l.leave(e)
				return
			}
			if l.peer != p {
				return
			}
		}
		if err != nil && len(queue) == 0 {
			l.leave(err)
			return
		}
		if len(queue) == 0 {
			return
		}
	}
}

// heard handles a message.
func (l *Lease) heard(m Message) error {
	deadline := func() error {
		if d, now := m.Deadline, l.w.now(); d > now+l.hello.TTL || d < l.times.Deadline {
			return nonsense("a deadline %s from now, with a TTL of %s", d-now, l.hello.TTL)
		}
		return nil
	}
	switch m.Verb {
	case "standing":
		l.usable, l.failures = true, 0
	case "granted":
		if m.Fence <= l.fence || l.held {
			return nonsense("it grants the fence %d after %d", m.Fence, l.fence)
		}
		if !l.wanted { // the grant crossed with the release
			return nil
		}
		if err := deadline(); err != nil {
			return err
		}
		l.fence, l.held, l.told = m.Fence, true, Times{}
		l.times = TimesOf(m.Deadline, l.hello.TTL, l.hello.Grace)
		l.tell("granted", "", m.Fence)
	case "renewed":
		if !l.held {
			return nil
		}
		if err := deadline(); err != nil {
			return err
		}
		l.times, l.told.Stop = TimesOf(m.Deadline, l.hello.TTL, l.hello.Grace), 0
		l.armKillTimer()
	case "tick":
		if l.held {
			l.tell("tick", m.Label, 0)
		}
	case "yield":
		if l.held {
			l.tell("stop", m.Text, 0)
		}
	case "lost":
		if l.held {
			l.held = false
			l.tell("kill", m.Text, 0)
		}
	case "refused":
		if !l.usable || m.Code == misused && !l.held {
			l.wanted = false
			l.tell("refused", m.Text, uint64(m.Code))
			return nil
		}
		return errors.New(m.Text)
	case "ping":
		l.say(Message{Verb: "pong"})
	case "trouble":
		l.trouble = m.Text
	case "say":
		l.warn("%s", m.Text)
	}
	return nil
}

// leave kills this lifeline-remote. A held lease lasts until its deadline, but the
// worker is asked to end at once.
func (l *Lease) leave(err error) {
	p := l.peer
	l.peer, l.trouble = nil, ""
	_ = p.conn.Close()
	l.w.kill(p.id)
	why := "lifeline-remote has ended"
	if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		why = fmt.Sprintf("lifeline-remote is given up: %v", err)
	}
	switch foreign := new(VersionError); {
	case l.held:
		l.tell("stop", why, 0)
	case errors.As(err, &foreign): // the next tick starts the lifeline that is installed now
		l.wanted = false
		l.tell("refused", err.Error(), unfit)
	case l.wanted:
		l.warn("%s; starting it again", why)
	}
	l.failures++
	l.at = l.w.now() + min(time.Second<<min(l.failures-1, 6), maxRestart)
}

// look does what is due by time.
func (l *Lease) look() {
	now := l.w.now()
	if l.held {
		switch {
		case now >= l.times.Kill && l.told.Kill != l.times.Kill:
			l.told.Kill, l.told.Stop = l.times.Kill, l.times.Stop
			l.tell("kill", "the lease ends", 0)
		case now >= l.times.Stop && l.told.Stop != l.times.Stop:
			l.told.Stop = l.times.Stop
			l.tell("stop", "the lease couldn't be renewed in time", 0)
		}
		return
	}
	if !l.wanted || l.at == 0 || now < l.at {
		return
	}
	switch {
	case l.peer == nil:
		l.connect()
	case now > l.at+time.Second: // this process was stopped or suspended
		l.quietSince()
	case l.asked:
		l.leave(fmt.Errorf("it hasn't answered for %s", patience))
	default:
		l.say(Message{Verb: "ping"})
		l.asked, l.at = true, now+patience
	}
}

// quietSince starts the wait for lifeline-remote's next message.
func (l *Lease) quietSince() { l.asked, l.at = false, l.w.now()+patience }

// armKillTimer makes the kernel kill this process, and so the worker, at SelfKill. A
// worker lives that long only if both programs are stopped or dead.
func (l *Lease) armKillTimer() {
	if len(l.living) == 0 {
		l.w.killAt(0)
		return
	}
	l.w.killAt(l.times.SelfKill())
}

func (l *Lease) forget() { l.held, l.times, l.told = false, Times{}, Times{} }

// arm sets the alarm to the next time at which something is due.
func (l *Lease) arm() {
	var next time.Duration
	switch {
	case l.held && l.told.Kill == l.times.Kill:
	case l.held && l.told.Stop == l.times.Stop:
		next = l.times.Kill
	case l.held:
		next = l.times.Stop
	case l.wanted:
		next = l.at
	}
	l.w.set(next)
}

// connect starts a lifeline-remote.
func (l *Lease) connect() {
	conn, id, err := l.w.start()
	if err != nil {
		l.failures++
		l.at = l.w.now() + min(time.Second<<min(l.failures-1, 6), maxRestart)
		l.warn("cannot start lifeline-remote: %v", err)
		return
	}
	p := &peer{conn: conn, id: id, over: make(chan struct{})}
	l.peer = p
	go p.read(l.ring)
	l.quietSince()
	l.hello.Fence = l.fence
	_ = send(conn, FromLifeline.Banner())
	l.say(Message{Verb: "hello", Hello: &l.hello})
	l.say(Message{Verb: "want"})
}

// read collects messages until the connection ends.
func (p *peer) read(ring func()) {
	defer close(p.over)
	for r := NewReader(p.conn, FromRemote); ; {
		m, err := r.Next()
		p.mu.Lock()
		if err != nil {
			p.err = err
		} else {
			p.queue = append(p.queue, m)
		}
		p.mu.Unlock()
		ring()
		if err != nil {
			return
		}
	}
}
