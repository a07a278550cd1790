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

// ending is what lifeline has done to end a worker.
type ending int

const (
	unasked   ending = iota // nothing, though the worker may have said STOPPING=1
	mainAsked               // sent the stop signal to its main process
	treeAsked               // sent the stop signal to its whole tree
	killing                 // sends SIGKILL to its tree until nothing lives
)

// word is what the worker has said about itself.
type word int

const (
	silent    word = iota
	saidReady      // READY=1, takeover, or its check has succeeded
	asksAlone      // takeover: the worker waits for ok
)

var none procscan.ID

// marker is the environment variable that every process of a generation carries.
const marker = "LIFELINE_ID"

// worker is one generation: the command's process and its descendants.
type worker struct {
	l          *loop
	generation string
	state      state
	deadline   time.Time // the end of the state; zero for none

	id      procscan.ID // the main process; zero when it has ended
	main    int         // the pid in id, also after its end
	ours    bool        // started by this lifeline: its exit status will come
	group   int
	cgroup  *process.Cgroup // nil for none
	fence   uint64          // LIFELINE_FENCE; 0 without a cluster
	began   time.Time
	since   time.Time // its start, if another supervisor started it; else zero
	ready   time.Time // when it became ready; zero before
	pid     int       // the process that lifeline started or adopted; 0 if none ever ran
	exit    *process.Exit
	outcome string // with why: the reason of its end, see because
	why     string
	verdict error
	spent   bool   // its time or memory is used up: with Respawn another worker starts at once
	asked   string // the signal or message that began its end
	ending  ending
	signal  unix.Signal // the stop signal that was sent

	adopted   int           // its pid, if another supervisor started it; else 0
	lost      string        // what an adopted worker has lost with its supervisor
	also      []procscan.ID // leftovers of an earlier run that count as its tree
	word      word
	probation time.Time // when a reload's new generation takes over; zero for not yet known

	notify    receiver
	line      *lineSocket
	status    string         // its own STATUS=
	said      sdnotify.Event // the state that it named last
	cause     string         // its own reason for a failure; "" for none
	period    time.Duration  // of the watchdog; 0 for none
	alarm     time.Time      // when the watchdog expires; zero while it isn't armed
	check     check          // --ready-check or --health-check
	recycleAt time.Time      // when a new worker replaces it; zero for never
	limited   bool           // its cgroup enforces MaxMemory
	weighAt   time.Time      // when its tree's memory is added up; zero for never
	output    mark           // where its output begins, for the message of a failed reload
	refusal   *refusal       // of a scheduled run's launcher; nil for none
	quit      chan struct{}  // closed when the generation is gone
}

func (l *loop) newWorker(generation string) *worker {
	return &worker{l: l, generation: generation, began: time.Now(), period: l.o.Watchdog, quit: make(chan struct{})}
}

// enter changes the state, and nothing else does. The deadline is d from now; 0 for
// none.
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

// due returns the earliest of the worker's deadlines; zero for none.
func (w *worker) due() time.Time {
	return sooner(sooner(w.deadline, w.alarm), sooner(w.probation, sooner(w.check.due, sooner(w.weighAt, w.recycleAt))))
}

// onDeadline acts on the deadline that has passed.
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
		w.verdict = &EndError{1, fmt.Sprintf("not ready within %s (--reload-timeout)%s",
			l.o.ReloadTimeout, w.check.why())}
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

// watch waits for the end of a process that isn't lifeline's child.
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
	w.l.onChild() // reaps the process, if lifeline has become its parent meanwhile
	switch {
	case w.state == gone:
	case id == w.id:
		w.exited(nil)
	case w.state == stopping && w.id.Zero():
		w.leftovers()
	}
}

// onExit handles the end of a main process that is lifeline's child.
func (w *worker) onExit(e process.Exit) {
	if w.line != nil {
		w.onLine() // the worker's last word
	}
	if w.state != gone {
		w.exit = &e
		w.exited(w.judge(e))
	}
}

// judge returns what the worker's end means for lifeline's exit code and message.
func (w *worker) judge(e process.Exit) error {
	if w.verdict != nil { // decided when lifeline began to end the worker
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
	case code != 0: // the command explains its own failure
		return &EndError{code, ""}
	case ran < w.l.o.MinRuntime && w.l.goal.up() && w.state != stopping:
		return &EndError{1, fmt.Sprintf("the command ended after %s, which is less than %s (--min-runtime)",
			ran.Round(time.Millisecond), w.l.o.MinRuntime)}
	}
	return nil
}

// startedInSilence reports whether the worker was neither ready nor asked to end.
// STOPPING=1 of its own doesn't count as ready.
func (w *worker) startedInSilence() bool {
	return w.l.o.waits() && w.word == silent && w.ready.IsZero() &&
		(w.state == starting || w.state == stopping && w.ending == unasked)
}

// exited notes the end of the main process and handles its leftovers.
func (w *worker) exited(verdict error) {
	if !w.id.Zero() {
		w.main = w.id.PID
	}
	w.id, w.verdict = none, verdict
	w.leftovers()
}

// leftovers applies the policy to descendants that outlive their worker. Under
// process.Adopting such descendants are lifeline's children, so a cheap look at
// the children shows that none is left.
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

// left applies the policy to the members that still live.
func (w *worker) left(members []procscan.ID) {
	l := w.l
	switch {
	case len(members) == 0 || l.o.Leftovers == "keep" && w.ending == unasked:
		w.empty()
	case w.ending >= treeAsked: // the members were asked, and the deadline runs
		if !w.ours {
			w.watch(members[0])
		}
	case w.ending == mainAsked:
		w.stopRest()
	case l.o.Leftovers == "follow":
		w.follow(members)
	default:
		if w.why == "" && w.verdict == nil {
			w.why = fmt.Sprintf("%s %s behind, which lifeline ended (--leftovers)", journal.LeftBehind, list(members))
		}
		l.job.Warn("the command has ended and left %s behind: ending (--leftovers follow watches over a daemon, keep "+
			"lets all live)", list(members))
		w.stop(l.o.stopSignal())
	}
}

func list(ids []procscan.ID) string {
	if len(ids) > 1 {
		return fmt.Sprintf("pid %d and %d more", ids[0].PID, len(ids)-1)
	}
	return fmt.Sprintf("pid %d", ids[0].PID)
}

// follow makes the daemon that the command has left behind the main process. This is the
// root of what is alive, unless MAINPID has named another process before. The worker ends
// when the daemon does, unless the daemon also leaves processes behind.
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

// resume follows the leftovers of a worker whose supervisor has ended.
func (w *worker) resume() {
	members := w.l.sys.members(w.tree())
	if len(members) == 0 {
		w.empty()
		return
	}
	w.follow(members)
}

// empty ends a generation of which no process is alive.
func (w *worker) empty() {
	w.enter(gone, 0)
	w.close()
	w.l.ended(w)
}

func (w *worker) close() {
	close(w.quit)
	refused := w.refusal.heard()
	w.l.job.Lease.Ended(w.generation, w.upFor(time.Now()), codeOf(w.verdict), w.pid != 0 && !refused)
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

// tree returns what identifies the generation's processes. Processes that lifeline
// has adopted count too while there is only one generation.
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

// helpers returns lifeline's children that belong to no worker.
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

// upFor returns how long the worker has been ready.
func (w *worker) upFor(now time.Time) time.Duration {
	if w.ready.IsZero() {
		return 0
	}
	return now.Sub(w.ready)
}

// stop asks the generation to end within KillAfter. In the kill mode mixed the main
// process gets the signal first, and the rest of the tree when that process has ended.
func (w *worker) stop(sig unix.Signal) {
	if w.ending != unasked || w.state == gone {
		return
	}
	w.ending, w.signal = mainAsked, sig
	if w.state == stopping && !w.id.Zero() {
		return // the worker has said STOPPING=1, and a signal could cut its work short
	}
	w.asked = process.SignalName(sig)
	w.enter(stopping, max(w.l.o.KillAfter, 1))
	switch {
	case w.refuses():
		w.kill() // fails at once with a message, and ends what it may
	case w.id.Zero() || w.l.o.KillMode == ControlGroup:
		w.stopRest()
	default:
		w.l.sys.stopMain(w.id, sig)
	}
}

// refuses reports whether lifeline may not signal the main process, because the
// process has become another user's.
func (w *worker) refuses() bool { return !w.id.Zero() && !w.l.sys.permitted(w.id) }

// stopRest sends the stop signal to all of the tree that is alive.
func (w *worker) stopRest() {
	w.ending = treeAsked
	asked := w.l.sys.stop(w.tree(), w.signal)
	if w.id.Zero() {
		w.left(asked)
	}
}

// kill sends SIGKILL until nothing of the tree lives, beside the loop.
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
	l.onChild() // reaps the worker, if its end is still unhandled
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
