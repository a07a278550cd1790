package supervisor

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/journal"
	"lifeline/internal/process"
	"lifeline/internal/sdnotify"
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

// ending is how far the end of a worker has come.
type ending int

const (
	unasked   ending = iota // it may have said STOPPING=1 by itself
	mainAsked               // its main process was sent the stop signal
	treeAsked               // so was everything of its tree that lived
	killing                 // SIGKILL is sent to everything, until nothing lives
)

// word is what the worker has said about itself.
type word int

const (
	silent    word = iota
	saidReady      // READY=1, takeover, or its check has succeeded
	asksAlone      // takeover: it waits for the ok
)

var none procscan.ID

// marker is the variable that everything of a generation carries.
const marker = "LIFELINE_ID"

// worker is one generation: the command's process and all that comes from it.
type worker struct {
	l          *loop
	generation string
	state      state
	deadline   time.Time // what the state allows; zero for no end

	id      procscan.ID // zero when it has ended
	main    int         // the pid in id, also after its end
	ours    bool        // a child of this process: its exit status will come
	group   int
	cgroup  *process.Cgroup // nil for none
	fence   uint64          // LIFELINE_FENCE; 0 without a cluster
	began   time.Time
	since   time.Time // its start, where another supervisor made it; else zero
	ready   time.Time // when it became ready; zero before
	pid     int       // it was this one; 0 if it never ran
	exit    *process.Exit
	outcome string // why it is being ended: see because
	why     string
	verdict error
	spent   bool   // its time or memory is used up: with Respawn another one starts at once
	asked   string // what asked it to end
	ending  ending
	signal  unix.Signal // the stop signal that it was sent

	adopted   int           // pid of one that another supervisor started; 0 for none
	lost      string        // what of an adopted one can't be taken up
	also      []procscan.ID // known to belong to it from the start
	word      word
	probation time.Time // a reload's new one: when it has shown that it stays

	notify    receiver
	line      *lineSocket
	status    string         // its own STATUS=
	said      sdnotify.Event // of its own state, last
	cause     string         // of its failure, in its own words; "" for none
	period    time.Duration  // of the watchdog; 0 for none
	alarm     time.Time      // when the watchdog expires; zero while it isn't armed
	check     check          // from outside
	recycleAt time.Time      // when it is replaced by a new one; zero for never
	limited   bool           // the kernel keeps MaxMemory for it
	weighAt   time.Time      // when its tree's memory is added up; zero for never
	output    mark           // where its output begins, for a reload that fails
	quit      chan struct{}  // closed when the generation is gone
}

func (l *loop) newWorker(generation string) *worker {
	return &worker{l: l, generation: generation, began: time.Now(), period: l.o.Watchdog, quit: make(chan struct{})}
}

// enter is the only place where the state changes; d is what the new state
// allows, 0 for no end.
func (w *worker) enter(s state, d time.Duration) {
	w.state, w.deadline = s, time.Time{}
	if d > 0 {
		w.deadline = time.Now().Add(d)
	}
	if s == stopping || s == gone {
		w.alarm, w.probation = time.Time{}, time.Time{}
	}
	w.check.plan(w)
	w.planWeighing()
	if w.recycleAt = (time.Time{}); s == up {
		w.recycleAt = w.l.o.Recycle.next(w.lived(), time.Now())
	}
	if s != gone && w == w.l.cur {
		_ = w.l.job.Above.Status(describe(w))
	}
}

// due is when something is to happen if nothing happens.
func (w *worker) due() time.Time {
	return sooner(sooner(w.deadline, w.alarm), sooner(w.probation, sooner(w.check.due, sooner(w.weighAt, w.recycleAt))))
}

// onDeadline does what the state asks for when nothing has happened in time.
func (w *worker) onDeadline(now time.Time) {
	l := w.l
	over := func(t time.Time) bool { return !t.IsZero() && !now.Before(t) }
	switch {
	case over(w.alarm):
		w.onAlarm(now)
	case over(w.probation):
		w.probation = time.Time{}
		l.takeOver(w)
	case over(w.recycleAt) && !over(w.deadline):
		w.onRecycle()
	case over(w.weighAt) && !over(w.deadline):
		w.weigh()
	case over(w.check.due) && !over(w.deadline):
		w.check.onDue(w)
	case !over(w.deadline):
	case w.state == stopping:
		who := fmt.Sprintf("pid %d", w.id.PID)
		if w.id.Zero() {
			who = "what the command has left behind"
		}
		l.job.Warn("%s still runs %s after %s: killing it", who, l.o.KillAfter, w.asked)
		w.kill()
	case w == l.next:
		w.verdict = &EndError{1, fmt.Sprintf("not ready within %s (--reload-timeout)%s", l.o.ReloadTimeout, w.check.why())}
		w.because(journal.Unready, "not ready within %s (--reload-timeout)", l.o.ReloadTimeout)
		w.kill()
	case l.o.MaxRuntime > 0 && now.Sub(w.began) >= l.o.MaxRuntime:
		w.spent = true
		w.because(journal.Timeout, "--max-runtime %s", l.o.MaxRuntime)
		w.verdict = &EndError{ExitTimeout, fmt.Sprintf("ended after %s (--max-runtime)", l.o.MaxRuntime)}
		w.stop(l.o.stopSignal())
	case w.state == starting:
		w.because(journal.Unready, "not ready within %s (--ready-timeout)%s", l.o.ReadyTimeout, w.check.why())
		w.verdict = &EndError{1, fmt.Sprintf("not ready within %s (--ready-timeout): ended%s", l.o.ReadyTimeout,
			w.check.why())}
		w.stop(l.o.stopSignal())
	}
}

// watch waits for the end of a process that isn't our child.
func (w *worker) watch(id procscan.ID) {
	l := w.l
	go func() {
		l.sys.wait(id)
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
	case id == w.id:
		w.exited(nil)
	case w.state == stopping && w.id.Zero():
		w.leftovers()
	}
}

// onExit handles the end of the worker's main process.
func (w *worker) onExit(e process.Exit) {
	if w.line != nil {
		w.onLine() // and the worker's last word
	}
	if w.state != gone {
		w.exit = &e
		w.exited(w.judge(e))
	}
}

// judge turns the worker's end into lifeline's own.
func (w *worker) judge(e process.Exit) error {
	if w.verdict != nil { // decided when it was ended
		return w.verdict
	}
	if w.overLimit(e) {
		w.because(journal.Memory, "--max-memory %s", mebibytes(w.l.o.MaxMemory))
		return &EndError{e.Code(),
			fmt.Sprintf("the kernel killed the command, because its tree had used up %s (--max-memory)",
				mebibytes(w.l.o.MaxMemory))}
	}
	ran := time.Since(w.began)
	switch code := e.Code(); {
	case code != 0 && e.Status.Signaled():
		return &EndError{code, "the command was " + process.Describe(e.Status)}
	case code == 0 && w.startedInSilence() && w.l.goal.up():
		return &EndError{1, fmt.Sprintf("the command ended after %s %s", ran.Round(time.Millisecond), w.l.o.unready())}
	case code != 0: // its own word, and its own business to explain
		return &EndError{code, ""}
	case ran < w.l.o.MinRuntime && w.l.goal.up() && w.state != stopping:
		return &EndError{1, fmt.Sprintf("the command ended after %s, which is less than %s (--min-runtime)",
			ran.Round(time.Millisecond), w.l.o.MinRuntime)}
	}
	return nil
}

// startedInSilence reports that the worker hasn't shown that it is ready, and wasn't
// asked to end: STOPPING=1 of its own is no readiness.
func (w *worker) startedInSilence() bool {
	return w.l.o.waits() && w.word == silent && w.ready.IsZero() &&
		(w.state == starting || w.state == stopping && w.ending == unasked)
}

// exited notes that the main process is gone, and deals with what it left behind.
func (w *worker) exited(verdict error) {
	if !w.id.Zero() {
		w.main = w.id.PID
	}
	w.id, w.verdict = none, verdict
	w.leftovers()
}

// leftovers applies the policy to descendants that outlive their worker. With
// process.Adopting in force those are our children now: that there are none is
// known at once.
func (w *worker) leftovers() {
	l := w.l
	if w.ending == killing {
		return
	}
	if w.ours && l.sys.alone(l.helpers()) {
		w.empty()
		return
	}
	w.left(l.sys.members(w.tree()))
}

// left is what to do about those that are left.
func (w *worker) left(members []procscan.ID) {
	l := w.l
	switch {
	case len(members) == 0 || l.o.Leftovers == "keep" && w.ending == unasked:
		w.empty()
	case w.ending >= treeAsked: // asked already, and the deadline runs
		if !w.ours {
			w.watch(members[0])
		}
	case w.ending == mainAsked:
		w.stopRest()
	case l.o.Leftovers == "follow":
		w.follow(members)
	default:
		l.job.Warn("the command has ended and left %s behind: ending (--leftovers follow watches over a daemon, keep lets "+
			"all live)", list(members))
		w.stop(l.o.stopSignal())
	}
}

func list(ids []procscan.ID) string {
	if len(ids) > 1 {
		return fmt.Sprintf("pid %d and %d more", ids[0].PID, len(ids)-1)
	}
	return fmt.Sprintf("pid %d", ids[0].PID)
}

// follow makes the daemon that the command has left behind the worker: the root
// of what is alive, unless MAINPID has named another process before. Its end is
// the worker's, as long as it leaves no other process behind.
func (w *worker) follow(members []procscan.ID) {
	l := w.l
	w.id, w.main, w.verdict, w.exit = members[0], members[0].PID, nil, nil
	if w == l.cur {
		l.job.Hold.SetWorker(w.generation, w.id)
	}
	if w.state == stopping || !w.ours || w.state == starting && !l.o.waits() {
		if w.ready.IsZero() {
			w.ready = time.Now()
		}
		w.enter(up, 0)
		if l.o.MaxRuntime > 0 {
			w.deadline = w.began.Add(l.o.MaxRuntime)
		}
	}
	w.watch(w.id)
}

// resume goes on with what an ended supervisor's worker has left behind.
func (w *worker) resume() {
	members := w.l.sys.members(w.tree())
	if len(members) == 0 {
		w.empty()
		return
	}
	w.follow(members)
}

// empty ends the generation: no process of it is alive.
func (w *worker) empty() {
	w.enter(gone, 0)
	w.close()
	w.l.ended(w)
}

func (w *worker) close() {
	close(w.quit)
	w.l.job.Lease.Ended(w.generation, w.upFor(time.Now()), codeOf(w.verdict))
	if w.cgroup != nil && (w.fence != 0 || w.limited && w.cgroup.OOMKills() > 0) {
		w.cgroup.Remove() // lifeline-remote may have killed it: see groups.put
	} else {
		w.l.groups.put(w.cgroup)
	}
	w.cgroup = nil
	if w.notify != nil {
		_ = w.notify.Close()
		w.notify = nil
	}
	if w.line != nil {
		w.line.close()
		w.line = nil
	}
}

// tree is all that belongs to the generation. What was orphaned belongs to us,
// and so to it, unless there is another generation that it may come from.
func (w *worker) tree() process.Tree {
	t := process.Tree{Root: w.id, Group: w.group, Cgroup: w.cgroup, Marker: marker, Value: w.generation, Also: w.also}
	others := w.l.workers()
	for _, o := range others {
		if o != w {
			t.Not = append(t.Not, o.id)
		}
	}
	if len(t.Not) == 0 {
		t.Above = procscan.Self()
	}
	t.Not = append(t.Not, w.l.helpers()...)
	return t
}

// helpers are the processes of ours that are no worker's.
func (l *loop) helpers() (ids []procscan.ID) {
	ids = append(ids, l.job.Lease.Helpers()...)
	if l.job.Helpers != nil {
		ids = append(ids, l.job.Helpers()...)
	}
	for _, k := range l.looks {
		ids = append(ids, k.id)
	}
	return ids
}

// upFor is how long it was ready.
func (w *worker) upFor(now time.Time) time.Duration {
	if w.ready.IsZero() {
		return 0
	}
	return now.Sub(w.ready)
}

// stop asks the generation to end and gives it KillAfter. In the kill mode
// mixed only the main process gets the signal. When that process has ended, the
// rest of the tree gets it.
func (w *worker) stop(sig unix.Signal) {
	if w.ending != unasked || w.state == gone {
		return
	}
	w.ending, w.signal = mainAsked, sig
	if w.state == stopping && !w.id.Zero() {
		return // it has said STOPPING=1, and a second request could cut its work short
	}
	w.asked = process.SignalName(sig)
	w.enter(stopping, max(w.l.o.KillAfter, 1))
	switch {
	case w.refuses():
		w.kill() // it says so at once, and ends what it may
	case w.id.Zero() || w.l.o.KillMode == ControlGroup:
		w.stopRest()
	default:
		w.l.sys.stopMain(w.id, sig)
	}
}

// refuses reports whether the main process has become another user's, whose
// processes lifeline may not signal.
func (w *worker) refuses() bool { return !w.id.Zero() && !w.l.sys.permitted(w.id) }

// stopRest sends the stop signal to everything of the tree that is alive.
func (w *worker) stopRest() {
	w.ending = treeAsked
	asked := w.l.sys.stop(w.tree(), w.signal)
	if w.id.Zero() {
		w.left(asked)
	}
}

// kill ends everything for certain, beside the loop: it may take a while.
func (w *worker) kill() {
	if w.ending == killing || w.state == gone {
		return
	}
	w.enter(stopping, 0)
	w.ending = killing
	l, tree := w.l, w.tree()
	go func() {
		err := l.sys.kill(tree)
		l.post(func() { w.onKilled(err) })
	}()
}

func (w *worker) onKilled(err error) {
	l := w.l
	l.onChild() // the worker's own end, if it hasn't been told yet
	if w.state == gone {
		return
	}
	if err != nil {
		l.endAll()
		l.finish(&EndError{125, fmt.Sprintf("it can't be ended: %v", err)})
		return
	}
	if !w.id.Zero() && w.verdict == nil {
		w.verdict = &EndError{137, "the command was killed by SIGKILL"}
	}
	w.id = none
	w.empty()
}
