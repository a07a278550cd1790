package supervisor

import (
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/journal"
	"lifeline/internal/sdnotify"
	"lifeline/procscan"
)

// notifyAddress is that of a generation: an adopter finds it again. Linux has
// addresses outside the file system, which no rm -rf takes away and which a
// worker that has changed its user or its root can reach.
func notifyAddress(generation string) string {
	if runtime.GOOS == "linux" {
		return "@lifeline/" + generation
	}
	return fmt.Sprintf("%s/lifeline-%s", os.TempDir(), generation)
}

// member reports whether pid belongs to us: the worker itself, or a process
// whose line of parents leads here, or to a worker that was adopted. It is asked
// in the receiver's goroutine.
func (w *worker) member(pid int) bool {
	self := os.Getpid()
	for range 100 {
		if pid == self || pid == w.adopted {
			return true
		}
		s, err := procscan.Lookup(pid)
		if err != nil || s.PPID <= 1 {
			return false
		}
		pid = s.PPID
	}
	return false
}

// listen tells the loop when something has come in.
func (w *worker) listen(r receiver) {
	for {
		select {
		case <-r.C():
			w.l.post(w.hear)
		case <-w.quit:
			return
		case <-w.l.over:
			return
		}
	}
}

// hear handles everything that the worker has said up to now.
func (w *worker) hear() {
	if w.notify == nil {
		return
	}
	for _, m := range w.notify.Drain() {
		if w.state != gone {
			w.onMessage(&m)
		}
		m.Close() // for a BARRIER, this is the answer
	}
	if w.notify == nil {
		return
	}
	for _, text := range w.notify.Warnings() {
		w.l.job.Warn("%s", text)
	}
}

// onMessage is one datagram. What it says of itself comes first, then what
// changes the state: STOPPING over READY over RELOADING, as systemd has it.
func (w *worker) onMessage(m *sdnotify.Message) {
	l := w.l
	// BARRIER=1 says nothing of the worker. systemd-notify(1) sends it in its own
	// name after what it has said in its parent's.
	if m.Barrier || !w.maySpeak(m) {
		return
	}
	if m.Invalid != "" {
		l.job.Warn("the worker said %q, which can't be understood", m.Invalid)
	}
	if m.MainPID != 0 {
		w.onMainPID(m.MainPID)
	}
	if m.HasStatus {
		w.status = m.Status
		_ = l.job.Above.Status(describe(w))
	}
	if m.HasWatchdogTimeout {
		w.period = m.WatchdogTimeout
		w.alarm = time.Time{}
		if w.state == up || w.state == starting && !l.o.waits() {
			w.feed(time.Now())
		}
	}
	if m.RestartReset {
		l.back.restarts = 0
	}
	w.onCause(m)
	if m.NotifyAccess != "" {
		l.job.Warn("the worker said NOTIFYACCESS=%s, which changes nothing; --notify-access says who may speak",
			m.NotifyAccess)
	}
	if said := m.Event(); said != sdnotify.None {
		w.said = said
	}
	switch m.Event() {
	case sdnotify.Stopping:
		if w.state != stopping {
			w.asked = "it said STOPPING=1"
			w.enter(stopping, max(l.o.KillAfter, 1))
		}
	case sdnotify.Ready:
		if l.o.readyBy() != ByNotify {
			break
		}
		w.word = max(w.word, saidReady)
		if w.state == starting {
			w.onReady()
		}
	}
	if m.Watchdog && !w.alarm.IsZero() {
		w.feed(m.Received)
	}
	if m.WatchdogTrigger && w.state == up {
		w.killHung("the worker asked for it (WATCHDOG=trigger)")
	}
	if m.ExtendTimeout > 0 && !w.deadline.IsZero() {
		if later := time.Now().Add(m.ExtendTimeout); later.After(w.deadline) {
			w.deadline = later
		}
	}
	if m.FDStore || m.FDStoreRemove {
		if err := l.store.Apply(m); err != nil {
			l.job.Warn("cannot keep a descriptor for the worker: %v", err)
		}
	}
}

// onCause notes why the worker says that it fails, for its end.
func (w *worker) onCause(m *sdnotify.Message) {
	switch {
	case m.Errno != 0:
		w.cause = fmt.Sprintf("it said ERRNO=%d (%v)", m.Errno, unix.Errno(m.Errno))
	case m.BusError != "":
		w.cause = "it said BUSERROR=" + m.BusError
	case m.VarlinkError != "":
		w.cause = "it said VARLINKERROR=" + m.VarlinkError
	}
}

// maySpeak reports whether the sender of m speaks for the worker. A message that
// is turned down is told of once.
func (w *worker) maySpeak(m *sdnotify.Message) bool {
	l, pid := w.l, m.Sender.PID
	main := w.id.PID
	if main == 0 {
		main = w.main // its last words may be read after its end
	}
	switch {
	case !m.Sender.Known, pid == main, l.o.NotifyAccess == AccessAll:
		return true
	case l.o.NotifyAccess == AccessExec && pid == w.pid:
		return true
	}
	if !l.turnedDown {
		l.turnedDown = true
		l.job.Warn("turned down a notify message of pid %d%s, which isn't the main process (pid %d); --notify-access all "+
			"takes it",
			pid, l.nameOf(pid), main)
	}
	return false
}

// nameOf is " (NAME)" of a process that is alive, else empty.
func (l *loop) nameOf(pid int) string {
	s, err := l.sys.lookup(pid)
	if err != nil || s.Comm == "" {
		return ""
	}
	return " (" + s.Comm + ")"
}

// onMainPID takes the process that counts from the worker's word. Only one of its own
// tree is taken.
func (w *worker) onMainPID(pid int) {
	if pid == w.id.PID {
		return
	}
	s, err := w.l.sys.lookup(pid)
	if err != nil || s.Dead() || !w.member(pid) {
		w.l.job.Warn("the worker named pid %d as its main process, which isn't one of its own: ignored", pid)
		return
	}
	w.id, w.main = s.ID, pid
	if w == w.l.cur {
		w.l.job.Hold.SetWorker(w.generation, s.ID)
	}
	// As long as its parent lives it isn't our child, and no status comes.
	w.watch(s.ID)
}

// feed puts the alarm one period off.
func (w *worker) feed(heard time.Time) {
	if w.period > 0 && w.state != stopping && w.state != gone {
		w.alarm = heard.Add(w.period)
	}
}

// resetWatchdog gives the worker a whole period again: lifeline was stopped, and
// heard no heartbeat.
func (w *worker) resetWatchdog() {
	if !w.alarm.IsZero() {
		w.feed(time.Now())
	}
	if w.state == up {
		w.check.plan(w)
	}
}

// late is how far behind its time the timer may fire before it means that this
// process, or the whole machine, stood still.
const late = 50 * time.Millisecond

func (w *worker) onAlarm(now time.Time) {
	if now.Sub(w.alarm) > late {
		w.resetWatchdog()
		return
	}
	w.killHung(fmt.Sprintf("no heartbeat for %s (--watchdog)", w.period))
}

// killHung ends a worker that hangs: SIGABRT, so that it may leave a core, and
// SIGKILL after KillAfter.
func (w *worker) killHung(why string) {
	w.because(journal.Hung, "%s", why)
	w.verdict = &EndError{128 + int(unix.SIGABRT), why + ": ended"}
	w.stop(unix.SIGABRT)
	w.l.job.Warn("%s: ending it with SIGABRT", why)
}
