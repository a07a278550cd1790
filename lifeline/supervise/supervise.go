// Package supervise keeps a worker up: one goroutine, one select, one
// deadline.
//
//	err := supervise.Run(ctx, &options, hold, argv)
//	var ended *supervise.EndError // how the worker ended, if not well
//
// A state says what is; want, apart from it, says what was asked for. Each
// state has exactly one thing that happens if nothing happens, and that is its
// deadline:
//
//	            ┌────────────────────────────────────────────┐
//	            ▼                                            │
//	 ┌──────┐ delay over ┌──────────┐ ready  ┌────┐ stop,    │
//	 │ down ├───────────►│ starting ├───────►│ up │ time over│
//	 └──────┘            └────┬─────┘        └─┬──┘          │
//	    ▲                     │ failed         ▼             │
//	    │      tree empty ┌───┴──────┐  ended, with leftovers│
//	    └─────────────────┤ stopping │◄──────────────────────┘
//	                      └──────────┘
//
//	state     if nothing happens      worker ends            stop asked           kill asked
//	down      start                   -                      finish               finish
//	starting  give up: stopping       down or finish         stopping             kill
//	up        time is over: stopping  down, stopping,finish  stopping             kill
//	stopping  kill the tree           tree empty: down,      kill the tree        kill the tree
//	                                  else go on waiting
//
// "finish" ends the loop; "down" happens when the options ask for another
// start and want is still up.
package supervise

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/lifeline/child"
	"lifeline/procscan"
)

// Hold is the name the worker runs under: what the loop needs of the guard.
// [Unguarded] is the one of `lifeline run`.
type Hold interface {
	Environ(rest []string) []string // the stub's environment, of the worker's
	Marker() (name, value string)   // the variable that marks the generation
	RunFD() int                     // descriptor for the worker to inherit, 0 for none
	Note(first bool) string         // for the stub
	SetWorker(procscan.ID)          // zero when it has ended
	NextGeneration() string
	Inherited() (worker procscan.ID, follow bool) // what lives already
	Yielded(text string) (adopt procscan.ID, err error)
	Paused() bool
}

// EndError is how the last worker ended, when that wasn't well.
type EndError struct {
	Code int
	Text string
}

func (e *EndError) Error() string { return e.Text }

type state int

const (
	down state = iota
	starting
	up
	stopping
	finished
)

func (s state) String() string {
	return [...]string{"down", "starting", "up", "stopping", "finished"}[s]
}

// world is everything outside the loop that a test wants to hold in its hands.
type world struct {
	start   func(child.Spec) (*child.Child, error)
	stop    func(t child.Tree, sig unix.Signal)
	kill    func(t child.Tree) error
	members func(t child.Tree) []procscan.ID
	alone   func() bool
	reap    func() []child.Exit
	send    func(procscan.ID, unix.Signal)
	wait    func(procscan.ID) // until it has ended; for those that aren't our children
	warn    func(format string, args ...any)
}

func theWorld(warn func(string, ...any)) world {
	return world{
		start: child.Start,
		stop:  func(t child.Tree, sig unix.Signal) { t.Stop(sig) },
		kill: func(t child.Tree) error {
			ctx, cancel := context.WithTimeout(context.Background(), killPatience)
			defer cancel()
			return t.Kill(ctx)
		},
		members: func(t child.Tree) []procscan.ID { return t.Members() },
		alone:   child.Alone,
		reap:    child.Reap,
		send:    child.Send,
		wait: func(id procscan.ID) {
			for child.WaitGone(context.Background(), id, time.Hour) != nil {
			}
		},
		warn: warn,
	}
}

// killPatience is how long a tree that gets SIGKILL over and over may take to
// go before lifeline says that it can't be ended.
const killPatience = 30 * time.Second

// Run supervises argv until it has ended and isn't to be started again, or
// until ctx ends or a signal asks for the end. nil means that the worker ended
// well; an *[EndError] how it didn't; any other error, that nothing was
// started.
func Run(ctx context.Context, o *Options, hold Hold, argv []string, warn func(string, ...any)) error {
	// The worker's death signal hangs on this thread (prctl(2)), and every
	// worker is started from here.
	runtime.LockOSThread()
	_ = child.Adopting() // without it the marker alone finds what was orphaned
	l := newLoop(o, hold, argv, theWorld(warn))
	chld := make(chan os.Signal, 1)
	signal.Notify(chld, unix.SIGCHLD)
	signals := make(chan os.Signal, 16)
	catch(signals)
	defer signal.Stop(signals)
	return l.run(ctx, signals, chld)
}

// catch takes the signals that mean something to the worker or to us. One that
// was ignored when lifeline started (nohup) stays ignored. SIGPIPE and SIGXFSZ
// are caught: ignored ones would be inherited, and a full disk or a closed
// pipe behind our messages is no reason to leave the worker alone.
func catch(c chan<- os.Signal) {
	for _, sig := range []os.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT,
		unix.SIGUSR1, unix.SIGUSR2, unix.SIGWINCH, unix.SIGALRM, unix.SIGPIPE, unix.SIGXFSZ} {
		if !signal.Ignored(sig) {
			signal.Notify(c, sig)
		}
	}
}

type loop struct {
	o    *Options
	hold Hold
	argv []string
	w    world

	state    state
	want     bool // up is wanted
	deadline *time.Timer

	worker  procscan.ID // zero when it has ended
	ours    bool        // it is our child: wait tells its end
	pending <-chan error
	gone    chan procscan.ID // ended, of those that aren't our children
	killed  chan error
	killing bool
	began   time.Time
	follow  bool // descendants are the instance now

	overtime bool // ended because of MaxRuntime
	last     error
	restarts int
	starts   []time.Time
}

func newLoop(o *Options, hold Hold, argv []string, w world) *loop {
	l := &loop{o: o, hold: hold, argv: argv, w: w, want: true,
		deadline: time.NewTimer(time.Hour), gone: make(chan procscan.ID, 1), killed: make(chan error, 1)}
	l.deadline.Stop()
	return l
}

func (l *loop) run(ctx context.Context, signals, chld <-chan os.Signal) error {
	if worker, follow := l.hold.Inherited(); follow {
		l.follow = true
		l.enter(up, 0)
		l.followOn()
	} else if !worker.Zero() {
		l.adopt(worker)
	} else {
		l.start()
	}
	stop := ctx.Done()
	for l.state != finished {
		select {
		case <-stop:
			stop = nil
			l.onStop()
		case sig := <-signals:
			l.onSignal(sig.(unix.Signal))
		case <-chld:
			l.onChild()
		case err := <-l.pending:
			l.onStarted(err)
		case id := <-l.gone:
			l.onGone(id)
		case err := <-l.killed:
			l.onKilled(err)
		case <-l.deadline.C:
			l.onDeadline()
		}
	}
	return l.last
}

// enter is the only place where the state changes; d is the new state's
// deadline, 0 for none.
func (l *loop) enter(s state, d time.Duration) {
	l.state = s
	l.deadline.Stop()
	if d > 0 {
		l.deadline.Reset(d)
	}
}

func (l *loop) tree() child.Tree {
	t := child.Tree{Root: l.worker, Above: procscan.Self()}
	if l.ours {
		t.Group = l.worker.PID
	}
	t.Marker, t.Value = l.hold.Marker()
	return t
}

// start brings up a worker.
func (l *loop) start() {
	if l.restarts > 0 && l.hold.Paused() {
		l.finish(l.last)
		return
	}
	spec := child.Spec{
		Argv: l.argv, Env: l.hold.Environ(Environ(l.o.Env)), Dir: l.o.Chdir, Umask: l.o.Umask,
		Run: l.hold.RunFD(), Deathsig: l.o.stopSignal(), Group: true, Note: l.hold.Note(l.restarts == 0),
	}
	l.began = time.Now()
	l.starts = append(l.starts, l.began)
	c, err := l.w.start(spec)
	if err != nil {
		l.finish(err)
		return
	}
	l.worker, l.ours, l.pending = c.ID, true, c.Started
	l.overtime = false
	l.enter(starting, l.o.MaxRuntime)
}

// onStarted: the stub has become the command (nil), or never will.
func (l *loop) onStarted(err error) {
	l.pending = nil
	var yield *child.YieldError
	switch {
	case err == nil:
		if l.state == starting {
			l.enter(up, l.left(l.o.MaxRuntime))
		}
	case errors.As(err, &yield):
		l.worker = procscan.ID{} // it has ended by itself
		adopt, err := l.hold.Yielded(yield.Text)
		if adopt.Zero() {
			l.finish(err)
			return
		}
		l.adopt(adopt)
	case l.o.Respawn && l.restarts > 0:
		// A command that was there before is perhaps just being replaced.
		l.w.warn("%v", err)
		l.worker = procscan.ID{}
		var exec *child.ExecError
		l.last = &EndError{125, err.Error()}
		if errors.As(err, &exec) {
			l.last = &EndError{exec.Code, err.Error()}
		}
		l.settled()
	default:
		l.worker = procscan.ID{}
		l.finish(err)
	}
}

// left is what remains of d since the worker began; never 0 for a d that is
// set.
func (l *loop) left(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return max(d-time.Since(l.began), 1)
}

// adopt takes on a worker whose supervisor was killed. Its exit code nobody
// will ever know.
func (l *loop) adopt(id procscan.ID) {
	l.worker, l.ours = id, false
	l.began = time.Now()
	l.w.warn("watching over pid %d, whose supervisor was killed; its exit code can't be known", id.PID)
	l.watch(id)
	l.enter(up, l.o.MaxRuntime)
}

func (l *loop) watch(id procscan.ID) {
	go func() {
		l.w.wait(id)
		l.gone <- id
	}()
}

func (l *loop) onGone(id procscan.ID) {
	switch {
	case l.follow:
		l.followOn()
	case id == l.worker:
		l.ended(nil)
	case l.state == stopping && l.worker.Zero() && !l.killing:
		l.waitLeft()
	}
}

// onChild: somebody has ended, perhaps the worker, perhaps an orphan that came
// to us.
func (l *loop) onChild() {
	for _, e := range l.w.reap() {
		if e.PID != l.worker.PID || !l.ours {
			continue
		}
		if l.pending != nil { // what the stub had to say comes first
			l.onStarted(<-l.pending)
			if l.worker.PID != e.PID {
				continue
			}
		}
		l.ended(l.verdict(e))
	}
	if l.state == stopping && l.worker.Zero() && !l.killing {
		l.leftovers()
	}
}

// verdict turns the worker's end into lifeline's own.
func (l *loop) verdict(e child.Exit) error {
	ran := time.Since(l.began)
	switch code := e.Code(); {
	case l.overtime:
		return &EndError{124, fmt.Sprintf("ended after %s (--max-runtime)", l.o.MaxRuntime)}
	case code != 0:
		if !e.Status.Signaled() { // its own word, and its own business to explain
			return &EndError{code, ""}
		}
		return &EndError{code, "the command was " + child.Describe(e.Status)}
	case ran < l.o.MinRuntime && l.want:
		return &EndError{1, fmt.Sprintf("the command ended after %s, which is less than %s (--min-runtime)", ran.Round(time.Millisecond), l.o.MinRuntime)}
	}
	return nil
}

// ended: the worker is gone; what it has left behind is dealt with first.
func (l *loop) ended(how error) {
	l.worker, l.last = procscan.ID{}, how
	if l.state == stopping { // leftovers get what remains of the grace
		if !l.killing {
			l.leftovers()
		}
		return
	}
	l.leftovers()
}

// leftovers applies the policy to descendants that outlive their worker. With
// Adopting in force those are our children now: none at all is known at once.
func (l *loop) leftovers() {
	if l.ours && l.w.alone() {
		l.settled()
		return
	}
	members := l.w.members(l.tree())
	switch {
	case len(members) == 0 || l.o.Leftovers == "keep":
		l.settled()
	case l.state == stopping:
		// They have been asked already, and the deadline runs.
		if !l.ours {
			l.watch(members[0])
		}
	case l.o.Leftovers == "follow":
		l.follow = true
		l.enter(up, l.left(l.o.MaxRuntime))
		l.watch(members[0])
	default:
		l.w.warn("the command has ended and left %s behind: ending (--leftovers keep lets them live)", list(members))
		l.stopTree()
	}
}

func list(ids []procscan.ID) string {
	s := fmt.Sprintf("pid %d", ids[0].PID)
	if len(ids) > 1 {
		s += fmt.Sprintf(" and %d more", len(ids)-1)
	}
	return s
}

// followOn goes from one descendant to the next until none is left.
func (l *loop) followOn() {
	if members := l.w.members(l.tree()); len(members) > 0 {
		l.watch(members[0])
		return
	}
	l.follow = false
	l.settled()
}

// settled: nothing of the generation is alive.
func (l *loop) settled() {
	l.hold.SetWorker(procscan.ID{})
	l.killing = false
	if !l.want || !l.again() {
		l.finish(l.last)
		return
	}
	l.restarts++
	if stable := max(10*time.Second, l.o.delay(l.restarts)); time.Since(l.began) > stable {
		l.restarts = 1
	}
	l.hold.NextGeneration()
	if d := jitter(l.o.delay(l.restarts)); d > 0 {
		l.enter(down, d)
		return
	}
	l.enter(down, 0)
	l.start()
}

// again decides whether there is to be another worker.
func (l *loop) again() bool {
	var end *EndError
	failed := errors.As(l.last, &end)
	switch {
	case !l.o.Respawn:
		return false
	case failed && end.Code == 125:
		l.w.warn("the command exited with 125: not started again")
		return false
	case !failed && l.o.RespawnOn == OnFailure:
		return false
	}
	if limit := l.o.RespawnLimit; limit.N > 0 {
		recent := l.starts[:0]
		for _, t := range l.starts {
			if time.Since(t) < limit.Within {
				recent = append(recent, t)
			}
		}
		if l.starts = recent; len(recent) >= limit.N {
			l.w.warn("started %d times within %s: giving up until the next tick (--respawn-limit)", len(recent), limit.Within)
			return false
		}
	} else {
		l.starts = l.starts[:0]
	}
	return true
}

func (l *loop) finish(err error) {
	l.last = err
	l.enter(finished, 0)
}

// onDeadline: nothing has happened for as long as the state allows.
func (l *loop) onDeadline() {
	switch l.state {
	case down:
		l.start()
	case starting, up:
		l.overtime = true
		l.w.warn("still running after %s: ending it (--max-runtime)", l.o.MaxRuntime)
		l.stopTree()
	case stopping:
		l.w.warn("still running %s after %s: killing it", l.o.KillAfter, child.SignalName(l.o.stopSignal()))
		l.killTree()
	}
}

// onStop: the end is wanted.
func (l *loop) onStop() {
	again := !l.want
	l.want = false
	switch l.state {
	case down:
		l.finish(l.last)
	case starting, up:
		l.stopTree()
	case stopping:
		if again {
			l.killTree()
		}
	}
}

func (l *loop) onSignal(sig unix.Signal) {
	switch sig {
	case unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT:
		l.onStop()
	case unix.SIGPIPE, unix.SIGXFSZ:
		// Ours, not the worker's: see catch.
	default:
		if !l.worker.Zero() && l.state == up {
			l.w.send(l.worker, sig)
		}
	}
}

// stopTree asks everything to end and gives it KillAfter.
func (l *loop) stopTree() {
	l.enter(stopping, max(l.o.KillAfter, 1))
	l.follow = false
	l.w.stop(l.tree(), l.o.stopSignal())
	if l.worker.Zero() {
		l.waitLeft()
	}
}

// waitLeft watches leftovers that aren't our children, whose end no SIGCHLD
// tells.
func (l *loop) waitLeft() {
	if members := l.w.members(l.tree()); len(members) > 0 {
		l.watch(members[0])
		return
	}
	l.settled()
}

// killTree ends everything for certain, beside the loop: it may take a while.
func (l *loop) killTree() {
	if l.killing {
		return
	}
	l.killing = true
	l.enter(stopping, 0)
	tree := l.tree()
	go func() { l.killed <- l.w.kill(tree) }()
}

func (l *loop) onKilled(err error) {
	l.onChild() // the worker's own end, if it hasn't been told yet
	if l.state != stopping {
		return
	}
	l.killing = false
	if err != nil {
		l.w.warn("%v: it can't be ended", err)
		l.finish(&EndError{125, err.Error()})
		return
	}
	l.settled()
}

// Environ is the environment the worker is to have: ours, without what another
// supervisor meant for us, and with what the options add.
func Environ(add []string) []string {
	return merge(inherited(os.Environ()), add)
}
