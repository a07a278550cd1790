package supervise

import (
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/lifeline/child"
	"lifeline/lifeline/notify"
	"lifeline/procscan"
)

type state int

const (
	starting state = iota
	up
	stopping
	gone
)

func (s state) String() string { return [...]string{"starting", "up", "stopping", "gone"}[s] }

var none procscan.ID

// worker is one generation: the command's process and all that comes from it.
type worker struct {
	l        *loop
	state    state
	deadline time.Time // what the state allows; zero for no end

	id       procscan.ID // zero when it has ended
	ours     bool        // a child of this process: its exit status will come
	group    int
	marker   [2]string
	follows  bool // its descendants are the instance now
	killing  bool
	began    time.Time
	ready    time.Time // when it became ready; zero before
	verdict  error
	overtime bool
	asked    string // what asked it to end

	pending <-chan error // what the stub has to say; nil once it has
	notify  receiver
	line    *lineSocket
	status  string        // its own STATUS=
	period  time.Duration // of the watchdog; 0 for none
	alarm   time.Time     // when the watchdog expires; zero while it isn't armed
}

func (l *loop) newWorker() *worker {
	w := &worker{l: l, began: time.Now(), period: l.Watchdog}
	w.marker[0], w.marker[1] = l.Hold.Marker()
	return w
}

// enter is the only place where the state changes; d is what the new state
// allows, 0 for no end.
func (w *worker) enter(s state, d time.Duration) {
	w.state, w.deadline = s, time.Time{}
	if d > 0 {
		w.deadline = time.Now().Add(d)
	}
	if s == stopping || s == gone {
		w.alarm = time.Time{}
	}
	if s != gone {
		_ = w.l.Above.Status(describe(w))
	}
}

// next is when something is due.
func (w *worker) next() time.Time {
	if !w.alarm.IsZero() && (w.deadline.IsZero() || w.alarm.Before(w.deadline)) {
		return w.alarm
	}
	return w.deadline
}

// start brings up a worker.
func (l *loop) start() {
	l.at = time.Time{}
	if l.workers++; l.workers > 1 {
		l.Hold.NextGeneration()
	}
	w := l.newWorker()
	spec := child.Spec{
		Argv: l.Argv, Dir: l.Chdir, Umask: l.Umask,
		Run: l.Hold.RunFD(), Deathsig: l.stopSignal(), Group: true, Note: l.Hold.Note(!l.settled),
	}
	env := Environ(l.Env)
	if l.listens() {
		var err error
		if w.notify, err = l.w.listen(w.member); err != nil {
			l.fail(w, err)
			return
		}
		env = notify.Environ(env, w.notify.Addr(), l.Watchdog)
	}
	theirs, err := l.openLine(w)
	if err != nil {
		l.fail(w, err)
		return
	}
	spec.Control = theirs
	spec.Env = l.Hold.Environ(env)
	kept, names, err := l.store.Files()
	if err != nil {
		l.Warn("cannot hand the kept descriptors on: %v", err)
	}
	for _, f := range kept {
		defer f.Close()
		spec.Listen = append(spec.Listen, int(f.Fd()))
	}
	spec.ListenNames = names
	w.began = time.Now()
	l.back.began(w.began)
	c, err := l.w.start(spec)
	if theirs != 0 {
		_ = unix.Close(theirs)
	}
	if err != nil {
		l.fail(w, err)
		return
	}
	l.cur = w
	w.id, w.ours, w.group, w.pending = c.ID, true, c.PID, c.Started
	w.enter(starting, shorter(l.readyTimeout(), l.MaxRuntime))
	l.Hold.SetWorker(c.ID)
}

func (l *loop) readyTimeout() time.Duration {
	if l.Notify {
		return l.ReadyTimeout
	}
	return 0
}

func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// fail: no worker could be started. The first time that is lifeline's own
// failure; later, an executable is perhaps just being replaced.
func (l *loop) fail(w *worker, err error) {
	w.close()
	l.cur = nil
	if !l.Respawn || !l.settled {
		l.finish(err)
		return
	}
	l.Warn("%v", err)
	end := &EndError{1, err.Error()}
	var exec *child.ExecError
	if errors.As(err, &exec) && exec.Code != 125 {
		end.Code = exec.Code
	}
	w.verdict = end
	l.ended(w)
}

// onStarted: the stub has become the command (nil), or never will.
func (w *worker) onStarted(err error) {
	l := w.l
	w.pending = nil
	var yield *child.YieldError
	switch {
	case err == nil:
		l.settled = true
		if w.state != starting {
			return
		}
		if l.Watchdog > 0 && !l.Notify {
			w.feed()
		}
		if !l.Notify {
			w.onReady()
		}
	case errors.As(err, &yield):
		adopt, err := l.Hold.Yielded(yield.Text)
		w.close()
		l.cur = nil
		if adopt.Zero() {
			l.finish(err)
			return
		}
		l.adopt(adopt)
	default:
		l.fail(w, err)
	}
}

// onReady: it is up.
func (w *worker) onReady() {
	l := w.l
	w.ready = time.Now()
	w.enter(up, 0)
	if l.MaxRuntime > 0 {
		w.deadline = w.began.Add(l.MaxRuntime)
	}
	if l.Watchdog > 0 {
		w.feed()
	}
	_ = l.Above.Ready()
	l.answer("ok pid %d", w.id.PID)
	l.slimLater(w)
}

// slimLater gives memory back once, when a worker has shown that it stays.
func (l *loop) slimLater(w *worker) {
	if l.slimmed {
		return
	}
	l.slimmed = true
	time.AfterFunc(slimAfter, func() {
		l.post(func() {
			if w.state == gone {
				l.slimmed = false // the next one, then
				return
			}
			l.w.slim()
		})
	})
}

// adopt takes on a worker whose supervisor was killed. Its exit code nobody
// will ever know.
func (l *loop) adopt(id procscan.ID) {
	l.Warn("watching over pid %d, whose supervisor was killed; its exit code can't be known", id.PID)
	w := l.newWorker()
	w.id = id
	l.cur = w
	w.ready = w.began
	w.enter(up, l.MaxRuntime)
	w.watch(id)
	_ = l.Above.Ready()
	l.slimLater(w)
}

// watch waits for the end of a process that isn't our child.
func (w *worker) watch(id procscan.ID) {
	l := w.l
	go func() {
		l.w.wait(id)
		l.post(func() { w.onGone(id) })
	}()
}

func (w *worker) onGone(id procscan.ID) {
	if w.state == gone {
		return
	}
	w.l.onChild() // its status, if it has become our child meanwhile
	switch {
	case w.state == gone:
	case w.follows:
		w.follow()
	case id == w.id:
		w.exited(nil)
	case w.state == stopping && w.id.Zero():
		w.leftovers()
	}
}

// onExit: the process that is the worker has ended.
func (w *worker) onExit(e child.Exit) {
	if w.pending != nil { // what the stub had to say comes first
		w.onStarted(<-w.pending)
		if w.l.cur != w {
			return
		}
	}
	if w.line != nil {
		w.onLine() // and the worker's last word
	}
	w.exited(w.judge(e))
}

// judge turns the worker's end into lifeline's own.
func (w *worker) judge(e child.Exit) error {
	if w.verdict != nil { // decided when it was ended
		return w.verdict
	}
	ran := time.Since(w.began)
	switch code := e.Code(); {
	case code != 0 && e.Status.Signaled():
		return &EndError{code, "the command was " + child.Describe(e.Status)}
	case code != 0: // its own word, and its own business to explain
		return &EndError{code, ""}
	case ran < w.l.MinRuntime && w.l.want && w.state != stopping:
		return &EndError{1, fmt.Sprintf("the command ended after %s, which is less than %s (--min-runtime)", ran.Round(time.Millisecond), w.l.MinRuntime)}
	}
	return nil
}

// exited: the worker's process is gone; what it has left behind is dealt with.
func (w *worker) exited(verdict error) {
	w.id, w.verdict = none, verdict
	w.leftovers()
}

// leftovers applies the policy to descendants that outlive their worker. With
// Adopting in force those are our children now: that there are none is known
// at once.
func (w *worker) leftovers() {
	l := w.l
	if w.killing {
		return
	}
	if w.ours && l.w.alone() {
		w.empty()
		return
	}
	members := l.w.members(w.tree())
	switch {
	case len(members) == 0 || l.Leftovers == "keep" && w.state != stopping:
		w.empty()
	case w.state == stopping: // asked already, and the deadline runs
		if !w.ours {
			w.watch(members[0])
		}
	case l.Leftovers == "follow":
		w.follow()
	default:
		l.Warn("the command has ended and left %s behind: ending (--leftovers keep lets them live)", list(members))
		w.stop(l.stopSignal())
	}
}

func list(ids []procscan.ID) string {
	if len(ids) > 1 {
		return fmt.Sprintf("pid %d and %d more", ids[0].PID, len(ids)-1)
	}
	return fmt.Sprintf("pid %d", ids[0].PID)
}

// follow goes from one descendant to the next until none is left.
func (w *worker) follow() {
	members := w.l.w.members(w.tree())
	if len(members) == 0 {
		w.follows = false
		w.empty()
		return
	}
	if w.state != up {
		w.enter(up, 0)
	}
	w.follows = true
	if w.l.MaxRuntime > 0 {
		w.deadline = w.began.Add(w.l.MaxRuntime)
	}
	w.watch(members[0])
}

// empty: nothing of the generation is alive.
func (w *worker) empty() {
	w.enter(gone, 0)
	w.close()
	w.l.ended(w)
}

func (w *worker) close() {
	if w.notify != nil {
		_ = w.notify.Close()
		w.notify = nil
	}
	if w.line != nil {
		w.line.close()
		w.line = nil
	}
}

func (w *worker) tree() child.Tree {
	return child.Tree{Root: w.id, Group: w.group, Above: procscan.Self(), Marker: w.marker[0], Value: w.marker[1]}
}

// upFor is how long it was ready.
func (w *worker) upFor(now time.Time) time.Duration {
	if w.ready.IsZero() {
		return 0
	}
	return now.Sub(w.ready)
}

// onDeadline: nothing has happened for as long as the state allows.
func (w *worker) onDeadline(now time.Time) {
	l := w.l
	switch {
	case !w.alarm.IsZero() && !now.Before(w.alarm):
		w.onAlarm(now)
	case w.deadline.IsZero() || now.Before(w.deadline):
	case w.state == stopping:
		l.Warn("still running %s after %s: killing it", l.KillAfter, w.asked)
		w.kill()
	case l.MaxRuntime > 0 && now.Sub(w.began) >= l.MaxRuntime:
		w.overtime = true
		w.verdict = &EndError{124, fmt.Sprintf("ended after %s (--max-runtime)", l.MaxRuntime)}
		w.stop(l.stopSignal())
	case w.state == starting:
		w.verdict = &EndError{1, fmt.Sprintf("not ready within %s (--ready-timeout): ended", l.ReadyTimeout)}
		w.stop(l.stopSignal())
	}
}

// stop asks everything to end and gives it KillAfter.
func (w *worker) stop(sig unix.Signal) {
	if w.state == stopping || w.state == gone {
		return
	}
	w.follows = false
	w.asked = child.SignalName(sig)
	w.enter(stopping, max(w.l.KillAfter, 1))
	w.l.w.stop(w.tree(), sig)
	if w.id.Zero() {
		w.leftovers()
	}
}

// kill ends everything for certain, beside the loop: it may take a while.
func (w *worker) kill() {
	if w.killing || w.state == gone {
		return
	}
	w.enter(stopping, 0)
	w.killing = true
	l, tree := w.l, w.tree()
	go func() {
		err := l.w.kill(tree)
		l.post(func() { w.onKilled(err) })
	}()
}

func (w *worker) onKilled(err error) {
	l := w.l
	l.onChild() // the worker's own end, if it hasn't been told yet
	w.killing = false
	if w.state == gone {
		return
	}
	if err != nil {
		l.Warn("it can't be ended: %v", err)
		l.finish(&EndError{125, err.Error()})
		return
	}
	if !w.id.Zero() && w.verdict == nil {
		w.verdict = &EndError{137, "the command was killed by SIGKILL"}
	}
	w.id = none
	w.empty()
}
