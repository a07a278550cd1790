package supervisor

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
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
	if err := l.Hold.Lost(); err != nil {
		l.want = false
		l.finish(err)
		return
	}
	w, err := l.launch(false)
	if err != nil {
		l.fail(w, err)
		return
	}
	l.cur = w
	crash.Point("start.told")
	l.Hold.SetWorker(w.generation, w.id)
	w.enter(starting, shorter(l.readyTimeout(), l.MaxRuntime))
}

// launch starts a worker, beside another one in a reload.
func (l *loop) launch(beside bool) (*worker, error) {
	w := l.newWorker(l.Hold.NewGeneration())
	if err := l.sockets.open(l.Listen); err != nil {
		return w, err
	}
	spec := process.Spec{
		Argv: l.Argv, Dir: l.Chdir, Umask: l.Umask, Stdio: l.Stdio,
		Listen: l.sockets.fds(), ListenNames: l.sockets.names(),
		Run: l.Hold.RunFD(), Deathsig: l.stopSignal(), Group: true,
	}
	if !beside {
		spec.Place.Path, spec.Place.Dev, spec.Place.Ino = l.Hold.Place()
	}
	spec.Note, spec.Sure = l.Hold.Note(!l.settled, beside)
	if spec.Sure {
		var record *os.File
		if record, spec.Draft = l.draft(w.generation); record != nil {
			defer record.Close()
		}
	}
	crash.Point("start.noted")
	kept, names, err := l.store.Files()
	if err != nil {
		l.Warn("cannot hand the kept descriptors on: %v", err)
	}
	for _, f := range kept {
		defer f.Close()
		spec.Listen = append(spec.Listen, int(f.Fd()))
	}
	spec.ListenNames = append(spec.ListenNames, names...)
	env := Environ(l.Env)
	if l.hears() {
		if w.notify, err = l.w.hear(w.member); err != nil {
			return w, err
		}
		env = sdnotify.Environ(env, w.notify.Addr(), l.Watchdog)
	}
	theirs, err := l.w.line(w)
	if err != nil {
		return w, err
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
	spec.Env = l.Hold.Environ(w.generation, env)
	if w.cgroup = l.groups.take(l.w.cgroup); w.cgroup != nil {
		spec.CgroupFD = w.cgroup.FD()
	}
	if l.Lease != nil { // before it exists: who is killed now leaves nobody who knows it
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
	c, err := l.w.start(spec)
	if err != nil && w.cgroup != nil { // not in a cgroup, then
		l.groups.put(w.cgroup)
		l.groups.none = true
		w.cgroup, spec.CgroupFD = nil, 0
		c, err = l.w.start(spec)
	}
	if err != nil {
		return w, err
	}
	w.id, w.ours, w.group, w.pending, w.pid = c.ID, true, c.PID, true, c.PID
	if !beside {
		l.starts++
	}
	if l.Lease != nil {
		l.Lease.Started(w.generation, w.id)
	}
	go func() {
		err := <-c.Started
		l.post(func() { w.onStarted(err) })
	}()
	if w.notify != nil {
		go w.listen(w.notify)
	}
	return w, nil
}

// draft is the record of the worker to come.
func (l *loop) draft(generation string) (*os.File, process.Draft) {
	file, text, worker, sum := l.Hold.Draft(generation)
	if file == nil {
		return nil, process.Draft{}
	}
	return file, process.Draft{FD: int(file.Fd()), Text: text, PID: text[worker : worker+10], Start: text[worker+11 : worker+31],
		Sum: text[sum : sum+8], Summed: text[:sum-1]}
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
	w.enter(gone, 0)
	w.close()
	l.cur = nil
	if l.Lease != nil && l.want && !l.Lease.Held() { // the lease ended under the start
		l.standBy()
		return
	}
	if !l.settled || !l.Respawn {
		l.want = false
		w.verdict, w.pid = asEnd(err), 0
		l.noteEnd(w)
		l.finish(err)
		return
	}
	l.Warn("%v", err)
	l.last, w.verdict = asEnd(err), asEnd(err)
	w.pid, w.unborn = 0, true
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

// onStarted: the stub has become the command (nil), or never will.
func (w *worker) onStarted(err error) {
	l := w.l
	w.pending = false
	if w.state == gone {
		return
	}
	var yield *process.YieldError
	var remark *process.Remark
	if errors.As(err, &remark) {
		l.clearAway(l.Hold.Leftovers(remark.Text))
		err = nil
	}
	switch {
	case errors.Is(err, process.ErrSilent): // its end will come, and it hasn't looked around
	case errors.Is(err, process.ErrMoved):
		l.settled = false
		if w == l.cur && w.state == starting { // with a stub, then
			w.enter(gone, 0)
			w.close()
			l.cur = nil
			l.start()
		}
	case err == nil:
		if w == l.cur && !l.settled { // the name is ours beyond doubt
			l.settled = true
			l.Hold.Settled()
			l.control.listen(l.Hold.Control(), l.Warn)
		}
		w.running()
	case w == l.next:
		w.verdict, w.pid = asEnd(err), 0
		w.id = none
		w.empty()
	case w != l.cur:
	case errors.As(err, &yield):
		w.enter(gone, 0)
		w.close()
		l.cur = nil
		adopt, generation, err := l.Hold.Yielded(yield.Text)
		if adopt.Zero() {
			l.want = false
			l.finish(err)
			return
		}
		l.adopt(adopt, generation)
	default:
		l.fail(w, err)
	}
	if w.early != nil && w.state != gone {
		w.onExit(*w.early)
	}
}

// clearAway ends what earlier generations have left: their workers and their
// supervisors are gone, and nobody else would.
func (l *loop) clearAway(generations []string) {
	for _, g := range generations {
		l.Warn("ending what an earlier run has left behind (--leftovers keep lets it live)")
		tree := process.Tree{Marker: marker, Value: g}
		go func() { // beside the loop: the worker runs already
			l.w.stop(tree, l.stopSignal())
			time.Sleep(min(l.KillAfter, time.Second))
			_ = l.w.kill(tree)
		}()
	}
}

// running: it is the command now. Without --notify that is all there is to
// know.
func (w *worker) running() {
	l := w.l
	if w.state != starting {
		return
	}
	if l.Watchdog > 0 && !l.Notify {
		w.feed(time.Now())
	}
	switch {
	case l.Notify && !w.spoke:
	case w == l.next && !l.Notify:
		w.deadline, w.probation = time.Time{}, time.Now().Add(l.ReadyAfter)
	default:
		w.onReady()
	}
}

// onReady: it is up.
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
	if w.l.Watchdog > 0 {
		w.feed(time.Now())
	}
}

// adopt takes on a worker whose supervisor was killed. Its exit code nobody
// will ever know.
func (l *loop) adopt(id procscan.ID, generation string) {
	l.Warn("watching over pid %d, whose supervisor was killed; its exit code can't be known", id.PID)
	w := l.newWorker(generation)
	w.id, w.pid = id, id.PID
	w.since, _ = procscan.Describe(id)
	l.cur = w
	w.ready = w.began
	w.enter(up, l.MaxRuntime)
	w.watch(id)
	l.control.listen(l.Hold.Control(), l.Warn)
	_ = l.Above.Ready()
}
