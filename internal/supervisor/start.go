package supervisor

import (
	"errors"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/internal/guard"
	"lifeline/internal/journal"
	"lifeline/internal/process"
	"lifeline/internal/sdnotify"
	"lifeline/procscan"
)

// start brings up the worker.
func (l *loop) start() {
	l.at = time.Time{}
	if !l.job.Lease.Held() { // the lease may have ended since it was granted
		l.standBy()
		return
	}
	w := l.newWorker(guard.NewGeneration())
	_, err := l.job.Hold.Launch(l.ctx, w.generation, func() (procscan.ID, error) { return l.launch(w, false) })
	var orphan *guard.OrphanError
	switch {
	case err == nil:
		l.cur, l.unable = w, ""
		crash.Point("start.told")
		w.enter(starting, shorter(l.readyTimeout(), l.o.MaxRuntime))
		l.begun()
		w.running()
	case errors.As(err, &orphan):
		l.drop(w)
		l.takeOn(orphan.Inherited)
	case errors.Is(err, guard.ErrHeld):
		l.drop(w)
		l.endAll()
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

// begun opens the control socket when the first worker runs, because the name is
// certainly held from then on.
func (l *loop) begun() {
	if !l.settled {
		l.settled = true
		l.control.listen(l.job.Hold.Control(), l.job.Warn)
	}
}

// launch starts the worker; in a reload it runs beside another worker.
func (l *loop) launch(w *worker, beside bool) (procscan.ID, error) {
	if !l.job.Lease.Held() { // an election takes its time on a busy machine
		return none, errors.New("the lease ended before the command was started")
	}
	l.reserve.give()
	if err := l.sockets.open(l.o.Listen, len(l.workers()) == 0, l.job.Warn); err != nil {
		return none, err
	}
	spec := process.Spec{
		Argv: l.job.Argv, Dir: l.o.Chdir, Umask: l.o.Umask, Conditions: l.o.Conditions, Stdio: l.job.Stdio,
		Listen: l.sockets.fds(), ListenNames: l.sockets.names(),
		Run: l.job.Hold.RunFile(), Group: !l.sys.sharedGroup,
	}
	if l.o.EndOrphans {
		spec.Deathsig = l.o.stopSignal()
	}
	kept, names, err := l.store.Files()
	if err != nil {
		l.job.Warn("cannot hand the kept descriptors on: %v", err)
	}
	for _, f := range kept {
		defer f.Close()
		spec.Listen = append(spec.Listen, int(f.Fd()))
	}
	spec.ListenNames = append(spec.ListenNames, names...)
	env := Environ(append(l.sockets.serverStarter(), l.o.Env...))
	if l.o.hears() {
		if w.notify, err = l.sys.hear(notifyAddress(w.generation), w.member); err != nil {
			return none, err
		}
		env = sdnotify.Environ(env, w.notify.Addr(), l.o.Watchdog)
	}
	theirs, err := l.sys.line(w)
	if err != nil {
		return none, err
	}
	if theirs != 0 {
		defer unix.Close(theirs)
	}
	spec.Control = theirs
	spec.Env = append(l.job.Hold.Environ(w.generation), env...)
	l.bind(w, &spec)
	if w.cgroup = l.groups.take(l.sys.cgroup); w.cgroup != nil {
		spec.CgroupFD = w.cgroup.FD()
	}
	w.limitMemory()
	if l.lease.label != "" {
		if w.refusal, err = newRefusal(); err != nil {
			return none, err
		}
		defer w.refusal.launched()
		spec.Refusal = w.refusal.theirs
	}
	path := ""
	if w.cgroup != nil {
		path = w.cgroup.Path()
	}
	// The lease is told first: a supervisor killed after the fork would otherwise
	// leave a worker that the cluster doesn't know.
	l.job.Lease.Starting(w.generation, path)
	w.began = time.Now()
	if !beside { // a reload is no sign of trouble
		l.back.began(w.began)
	}
	id, err := l.sys.start(spec)
	if err != nil && w.cgroup != nil { // try without the cgroup: it may have been removed
		l.groups.put(w.cgroup)
		l.groups.none = true
		w.cgroup, spec.CgroupFD, w.limited = nil, 0, false
		id, err = l.sys.start(spec)
	}
	if err != nil {
		return none, err
	}
	w.id, w.ours, w.pid, w.main = id, true, id.PID, id.PID
	if !l.sys.sharedGroup {
		w.group = id.PID
	}
	if !beside {
		l.starts++
	}
	l.job.Lease.Started(w.generation, w.id)
	if w.notify != nil {
		go w.listen(w.notify)
	}
	return id, nil
}

func (l *loop) readyTimeout() time.Duration {
	if l.o.waits() {
		return l.o.ReadyTimeout
	}
	return 0
}

func shorter(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// fail handles a worker that could not be started. A failure at the first start ends
// lifeline; later, the executable is perhaps just being replaced.
func (l *loop) fail(w *worker, err error) {
	w.enter(gone, 0)
	w.close()
	l.cur = nil
	if l.goal.up() && !l.job.Lease.Held() { // the lease ended under the start
		l.job.Warn("standing by again: %v", err)
		l.standBy()
		return
	}
	if !l.settled || !l.o.Respawn {
		l.endAll()
		w.verdict, w.pid = asEnd(err), 0
		l.noteEnd(w)
		l.finish(err)
		return
	}
	if why := err.Error(); why != l.unable { // one line, not one a try
		l.unable = why
		l.job.Warn("%s", why)
	}
	l.last, w.verdict = asEnd(err), asEnd(err)
	w.pid = 0
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

// running handles a worker that has executed its command. Without a readiness
// option the worker counts as ready.
func (w *worker) running() {
	l := w.l
	if w.state != starting {
		return
	}
	if !l.o.waits() {
		w.feed(time.Now())
	}
	switch {
	case l.o.waits() && w.word == silent:
	case w == l.next && !l.o.waits():
		w.deadline, w.probation = time.Time{}, time.Now().Add(l.o.ReadyAfter)
	default:
		w.onReady()
	}
}

// onReady handles a worker that is up.
func (w *worker) onReady() {
	l := w.l
	if w == l.next { // a new generation must first live for Settle
		if !l.reload.asked { // after takeover the worker waits for "ok" instead
			w.deadline, w.probation = time.Time{}, time.Now().Add(l.o.Settle)
		}
		return
	}
	w.upNow()
	if !l.announce {
		l.announce = true
		_ = l.job.Above.Ready()
	}
	l.answer("ok pid %d", w.id.PID)
	l.reloaded(w)
}

// upNow enters the state up and sets its deadline and watchdog.
func (w *worker) upNow() {
	w.ready, w.probation = time.Now(), time.Time{}
	w.enter(up, 0)
	if w.l.o.MaxRuntime > 0 {
		w.deadline = w.began.Add(w.l.o.MaxRuntime)
	}
	w.feed(time.Now())
}

// takeOn takes over what still lives of the name.
func (l *loop) takeOn(in guard.Inherited) {
	for _, id := range in.Second {
		l.job.Warn("ending pid %d, the other generation of a reload whose supervisor was killed", id.PID)
		tree := process.Tree{Also: []procscan.ID{id}}
		go func() { // beside the loop: the worker runs already
			l.sys.stop(tree, l.o.stopSignal())
			time.Sleep(min(l.o.KillAfter, time.Second))
			_ = l.sys.kill(tree)
		}()
	}
	switch {
	case !in.Worker.Zero():
		l.adopt(in.Worker, in.Generation)
	case l.o.Leftovers == "follow":
		l.control.listen(l.job.Hold.Control(), l.job.Warn)
		l.cur = l.newWorker(in.Generation)
		l.cur.also = in.Leftovers
		l.cur.resume()
	default:
		l.job.Warn("ending %s, which an earlier run has left behind (--leftovers follow watches over a daemon, keep "+
			"lets it live)", list(in.Leftovers))
		l.cur = l.newWorker(in.Generation)
		l.cur.also = in.Leftovers
		l.renew()
		l.cur.stop(l.o.stopSignal())
	}
}

// adopt takes over a worker whose supervisor was killed. The worker's exit code
// can't be known.
func (l *loop) adopt(id procscan.ID, generation string) {
	w := l.newWorker(generation)
	w.id, w.pid, w.adopted, w.main = id, id.PID, id.PID, id.PID
	w.since, _ = procscan.Describe(id)
	l.cur = w
	l.settled = true
	l.control.listen(l.job.Hold.Control(), l.job.Warn)
	if l.o.EndOrphans {
		l.job.Warn("ending pid %d, whose supervisor was killed (--orphans terminate)", id.PID)
		w.watch(id)
		l.renew()
		w.because(journal.Stopped, "its supervisor was killed (--orphans terminate)")
		w.stop(l.o.stopSignal())
		return
	}
	l.job.Warn("watching over pid %d, whose supervisor was killed; %s", id.PID, l.lostWith(w))
	w.ready = w.began
	w.enter(up, l.o.MaxRuntime)
	w.watch(id)
	if w.period > 0 && w.notify != nil {
		w.feed(time.Now())
	}
	_ = l.job.Above.Ready()
}

// lostWith listens on an adopted worker's notify address again, and returns what was
// lost with its supervisor.
func (l *loop) lostWith(w *worker) string {
	lost := []string{"its exit code", "LIFELINE_FD"}
	if l.o.hears() {
		var err error
		if w.notify, err = l.sys.hear(notifyAddress(w.generation), w.member); err != nil {
			w.notify, w.period = nil, 0
			lost = append(lost, "its NOTIFY_SOCKET")
		} else {
			go w.listen(w.notify)
		}
	}
	if len(l.o.Listen) > 0 {
		lost = append(lost, "its sockets for a reload")
	}
	w.lost = strings.Join(lost, ", ")
	return "lost with it: " + w.lost
}
