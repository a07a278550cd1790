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

// notifyAddress returns the address of a generation's notify socket, which an adopter
// derives again. An abstract address of Linux (unix(7)) survives rm -rf, and a worker
// that has changed its user or its root can reach it.
func notifyAddress(generation string) string {
	if runtime.GOOS == "linux" {
		return "@lifeline/" + generation
	}
	return fmt.Sprintf("%s/lifeline-%s", os.TempDir(), generation)
}

// member reports whether the chain of parents from pid leads to lifeline or to an
// adopted worker. The receiver's goroutine calls member.
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

// listen has the loop hear each time a message has come in.
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

// hear handles all messages that the worker has sent up to now.
func (w *worker) hear() {
	if w.notify == nil {
		return
	}
	for _, m := range w.notify.Drain() {
		if w.state != gone {
			w.onMessage(&m)
		}
		m.Close() // answers a BARRIER=1
	}
	if w.notify == nil {
		return
	}
	for _, text := range w.notify.Warnings() {
		w.l.job.Warn("%s", text)
	}
}

// onMessage handles one datagram: first what describes the worker, then what changes
// its state. STOPPING goes before READY before RELOADING, as in systemd.
func (w *worker) onMessage(m *sdnotify.Message) {
	l := w.l
	// BARRIER=1 says nothing of the worker. systemd-notify(1) sends its messages in
	// its parent's name, and then BARRIER=1 in its own.
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
	if m.WatchdogTrigger && (w.state == starting || w.state == up) {
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

// onCause notes the worker's own reason for a failure, for the report of its end.
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

// maySpeak reports whether the sender of m speaks for the worker. Only the first
// refused message is reported.
func (w *worker) maySpeak(m *sdnotify.Message) bool {
	l, pid := w.l, m.Sender.PID
	main := w.id.PID
	if main == 0 {
		main = w.main // the process's last messages may be read after its end
	}
	switch {
	case !m.Sender.Known, pid == main, l.o.NotifyAccess == AccessAll:
		return true
	case l.o.NotifyAccess == AccessExec && pid == w.pid:
		return true
	}
	if !l.turnedDown {
		l.turnedDown = true
		l.job.Warn("turned down a notify message of pid %d%s, which isn't the main process (pid %d); --notify-access "+
			"all takes it",
			pid, l.nameOf(pid), main)
	}
	return false
}

// nameOf returns " (NAME)" for a process that is alive, else "".
func (l *loop) nameOf(pid int) string {
	s, err := l.sys.lookup(pid)
	if err != nil || s.Comm == "" {
		return ""
	}
	return " (" + s.Comm + ")"
}

// onMainPID makes pid the main process, as the worker asks. Only a process of the
// worker's own tree is accepted.
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
	// While the new main process has another parent, lifeline gets no status of it.
	w.watch(s.ID)
}

// feed moves the watchdog's alarm to one period after heard.
func (w *worker) feed(heard time.Time) {
	if w.period > 0 && w.state != stopping && w.state != gone {
		w.alarm = heard.Add(w.period)
	}
}

// resetWatchdog gives the worker a whole period again after lifeline was stopped and
// heard no heartbeat.
func (w *worker) resetWatchdog() {
	if !w.alarm.IsZero() {
		w.feed(time.Now())
	}
	if w.state == up {
		w.check.plan(w)
	}
}

// late is how late the timer may fire. A longer delay means that this process or the
// whole machine stood still.
const late = 50 * time.Millisecond

func (w *worker) onAlarm(now time.Time) {
	if now.Sub(w.alarm) > late {
		w.resetWatchdog()
		return
	}
	w.killHung(fmt.Sprintf("no heartbeat for %s (--watchdog)", w.period))
}

// killHung ends a worker that hangs by SIGABRT, which may leave a core, and by
// SIGKILL after KillAfter.
func (w *worker) killHung(why string) {
	w.because(journal.Hung, "%s", why)
	w.verdict = &EndError{128 + int(unix.SIGABRT), why + ": ended"}
	w.stop(unix.SIGABRT)
	w.l.job.Warn("%s: ending it with SIGABRT", why)
}
