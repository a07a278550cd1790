package supervisor

import (
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/internal/guard"
	"lifeline/internal/process"
	"lifeline/internal/sdnotify"
	"lifeline/procscan"
)

// start brings up the worker.
func (l *loop) start() {
	l.at = time.Time{}
	if !l.mayStart() {
		l.standBy()
		return
	}
	w := l.newWorker(guard.NewGeneration())
	_, err := l.Hold.Launch(l.ctx, w.generation, func() (procscan.ID, error) { return l.launch(w, false) })
	var orphan *guard.OrphanError
	switch {
	case err == nil:
		l.cur = w
		crash.Point("start.told")
		w.enter(starting, shorter(l.readyTimeout(), l.MaxRuntime))
		l.begun()
		w.running()
	case errors.As(err, &orphan):
		l.drop(w)
		l.takeOn(orphan.Inherited)
	case errors.Is(err, guard.ErrHeld):
		l.drop(w)
		l.desired = false
		l.finish(err)
	default:
		l.fail(w, err)
	}
}

// drop forgets a worker that was not started.
func (l *loop) drop(w *worker) {
	w.enter(gone, 0)
	w.close()
	l.cur = nil
}

// begun opens the control socket when a first worker runs: the name is held beyond
// doubt.
func (l *loop) begun() {
	if !l.settled {
		l.settled = true
		l.control.listen(l.Hold.Control(), l.Warn)
	}
}

// launch starts the worker, beside another one in a reload.
func (l *loop) launch(w *worker, beside bool) (procscan.ID, error) {
	if err := l.sockets.open(l.Listen, len(l.workers()) == 0, l.Warn); err != nil {
		return none, err
	}
	spec := process.Spec{
		Argv: l.Argv, Dir: l.Chdir, Umask: l.Umask, Conditions: l.Conditions, Stdio: l.Stdio,
		Listen: l.sockets.fds(), ListenNames: l.sockets.names(),
		Run: l.Hold.RunFile(), Group: !l.w.sharedGroup,
	}
	if l.EndOrphans {
		spec.Deathsig = l.stopSignal()
	}
	kept, names, err := l.store.Files()
	if err != nil {
		l.Warn("cannot hand the kept descriptors on: %v", err)
	}
	for _, f := range kept {
		defer f.Close()
		spec.Listen = append(spec.Listen, int(f.Fd()))
	}
	spec.ListenNames = append(spec.ListenNames, names...)
	env := Environ(append(l.sockets.serverStarter(), l.Env...))
	if l.hears() {
		if w.notify, err = l.w.hear(notifyAddress(w.generation), w.member); err != nil {
			return none, err
		}
		env = sdnotify.Environ(env, w.notify.Addr(), l.Watchdog)
	}
	theirs, err := l.w.line(w)
	if err != nil {
		return none, err
	}
	if theirs != 0 {
		defer unix.Close(theirs)
	}
	spec.Control = theirs
	if l.Lease != nil {
		env = merge(env, l.leaseEnviron())
		// A worker that ignores its signal mustn't outlive the lease because
		// both programs were killed at once.
		spec.Deathsig, spec.Until = unix.SIGKILL, l.Lease.Until()
	}
	spec.Env = append(l.Hold.Environ(w.generation), env...)
	if w.cgroup = l.groups.take(l.w.cgroup); w.cgroup != nil {
		spec.CgroupFD = w.cgroup.FD()
	}
	w.limitMemory()
	if l.Lease != nil { // before the worker exists: a supervisor killed in between would leave an unknown one
		path := ""
		if w.cgroup != nil {
			path = w.cgroup.Path()
		}
		l.Lease.Starting(w.generation, path)
	}
	w.began = time.Now()
	if !beside { // a reload is no sign of trouble
		l.back.began(w.began)
	}
	id, err := l.w.start(spec)
	if err != nil && w.cgroup != nil { // not in a cgroup, then: it may have been removed
		l.groups.put(w.cgroup)
		l.groups.none = true
		w.cgroup, spec.CgroupFD, w.limited = nil, 0, false
		id, err = l.w.start(spec)
	}
	if err != nil {
		return none, err
	}
	w.id, w.ours, w.pid, w.main = id, true, id.PID, id.PID
	if !l.w.sharedGroup {
		w.group = id.PID
	}
	if !beside {
		l.starts++
	}
	if l.Lease != nil {
		l.Lease.Started(w.generation, w.id)
	}
	if w.notify != nil {
		go w.listen(w.notify)
	}
	return id, nil
}

func (l *loop) readyTimeout() time.Duration {
	if l.waits() {
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

// fail handles a worker that could not be started. The first time that is lifeline's own
// failure; later, an executable is perhaps just being replaced.
func (l *loop) fail(w *worker, err error) {
	w.enter(gone, 0)
	w.close()
	l.cur = nil
	if l.Lease != nil && l.desired && !l.Lease.Held() { // the lease ended under the start
		l.standBy()
		return
	}
	if !l.settled || !l.Respawn {
		l.desired = false
		w.verdict, w.pid = asEnd(err), 0
		l.noteEnd(w)
		l.finish(err)
		return
	}
	l.Warn("%v", err)
	l.last, w.verdict = asEnd(err), asEnd(err)
	w.pid, w.startFailed = 0, true
	l.noteEnd(w)
	l.after(w)
}

// asEnd makes a failed start comparable with a failed run.
func asEnd(err error) *EndError {
	var exec *process.ExecError
	if errors.As(err, &exec) && exec.Code != 125 {
		return &EndError{exec.Code, err.Error()}
	}
	return &EndError{1, err.Error()}
}

// running notes that the process is the command now. Without --notify there is no
// more to know.
func (w *worker) running() {
	l := w.l
	if w.state != starting {
		return
	}
	if !l.waits() {
		w.feed(time.Now())
	}
	switch {
	case l.waits() && !w.spoke:
	case w == l.next && !l.waits():
		w.deadline, w.probation = time.Time{}, time.Now().Add(l.ReadyAfter)
	default:
		w.onReady()
	}
}

// onReady handles a worker that is up.
func (w *worker) onReady() {
	l := w.l
	if w == l.next { // it still has to show that it stays
		if !l.reload.asked { // else "ok" is what it waits for
			w.deadline, w.probation = time.Time{}, time.Now().Add(l.Settle)
		}
		return
	}
	w.upNow()
	if !l.announce {
		l.announce = true
		_ = l.Above.Ready()
	}
	l.answer("ok pid %d", w.id.PID)
	l.reloaded(w)
}

// upNow enters up, with what that state allows.
func (w *worker) upNow() {
	w.ready, w.probation = time.Now(), time.Time{}
	w.enter(up, 0)
	if w.l.MaxRuntime > 0 {
		w.deadline = w.began.Add(w.l.MaxRuntime)
	}
	w.feed(time.Now())
}

// takeOn takes on what lives of the name already.
func (l *loop) takeOn(in guard.Inherited) {
	for _, id := range in.Second {
		l.Warn("ending pid %d, the other generation of a reload whose supervisor was killed", id.PID)
		tree := process.Tree{Also: []procscan.ID{id}}
		go func() { // beside the loop: the worker runs already
			l.w.stop(tree, l.stopSignal())
			time.Sleep(min(l.KillAfter, time.Second))
			_ = l.w.kill(tree)
		}()
	}
	switch {
	case !in.Worker.Zero():
		l.adopt(in.Worker, in.Generation)
	case l.Leftovers == "follow":
		l.control.listen(l.Hold.Control(), l.Warn)
		l.cur = l.newWorker(in.Generation)
		l.cur.also = in.Leftovers
		l.cur.resume()
	default:
		l.Warn("ending %s, which an earlier run has left behind (--leftovers follow watches over a daemon, keep lets it live)", list(in.Leftovers))
		l.cur = l.newWorker(in.Generation)
		l.cur.also = in.Leftovers
		l.restart = true
		l.cur.stop(l.stopSignal())
	}
}

// adopt takes on a worker whose supervisor was killed. Its exit code can't be
// known.
func (l *loop) adopt(id procscan.ID, generation string) {
	w := l.newWorker(generation)
	w.id, w.pid, w.adopted, w.main = id, id.PID, id.PID, id.PID
	w.since, _ = procscan.Describe(id)
	l.cur = w
	l.settled = true
	l.control.listen(l.Hold.Control(), l.Warn)
	if l.EndOrphans {
		l.Warn("ending pid %d, whose supervisor was killed (--orphans terminate)", id.PID)
		w.watch(id)
		l.restart = true
		w.because(OutcomeStopped, "its supervisor was killed (--orphans terminate)")
		w.stop(l.stopSignal())
		return
	}
	l.Warn("watching over pid %d, whose supervisor was killed; %s", id.PID, l.lostWith(w))
	w.ready = w.began
	w.enter(up, l.MaxRuntime)
	w.watch(id)
	if w.period > 0 && w.notify != nil {
		w.feed(time.Now())
	}
	_ = l.Above.Ready()
}

// lostWith takes up the worker's notify address again, and says what of an
// adopted worker can't be taken up.
func (l *loop) lostWith(w *worker) string {
	lost := []string{"its exit code", "LIFELINE_FD"}
	if l.hears() {
		var err error
		if w.notify, err = l.w.hear(notifyAddress(w.generation), w.member); err != nil {
			w.notify, w.period = nil, 0
			lost = append(lost, "its NOTIFY_SOCKET")
		} else {
			go w.listen(w.notify)
		}
	}
	if len(l.Listen) > 0 {
		lost = append(lost, "its sockets for a reload")
	}
	w.lost = strings.Join(lost, ", ")
	return "lost with it: " + w.lost
}
