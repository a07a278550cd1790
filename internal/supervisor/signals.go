package supervisor

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// realTimeDelay is how long after the start lifeline begins to catch the real-time
// signals. Go changes threads twice for each of these 31 signals, which would delay a
// command of a few milliseconds. A signal that comes earlier is lost.
const realTimeDelay = 100 * time.Millisecond

// catch takes a signal, to act on it or to pass it on:
//   - A signal that was ignored when lifeline started (nohup) stays ignored.
//   - SIGPIPE and SIGXFSZ are caught: a closed pipe or a full disk behind lifeline's
//     messages must not end lifeline, and the worker would inherit ignored signals.
//   - SIGCONT shows that lifeline was stopped.
//   - SIGURG can't be passed on, because Go's runtime sends it to itself all the time.
//   - 32 to 34 can't be passed on: Go's runtime leaves them to a C library, and SIGRTMIN
//     ends lifeline (runtime, sigtab_linux_generic.go and sigfwdgo).
//   - On a terminal, the signals of job control stop lifeline as they stop the command.
func catch(c chan<- os.Signal, sig unix.Signal, terminal bool) {
	switch {
	case sig == unix.SIGKILL, sig == unix.SIGSTOP, sig == unix.SIGCHLD, sig == unix.SIGURG:
	case terminal && (sig == unix.SIGTSTP || sig == unix.SIGTTIN || sig == unix.SIGTTOU):
	case signal.Ignored(sig):
	default:
		signal.Notify(c, sig)
	}
}

// onSignal acts on a signal, or passes it on to the worker.
func (l *loop) onSignal(sig unix.Signal) {
	switch sig {
	case unix.SIGINT, unix.SIGQUIT:
		if l.sys.foreground() {
			l.onTyped(sig)
			return
		}
		l.onStop()
	case unix.SIGTERM:
		l.onStop()
	case unix.SIGHUP:
		l.onHangUp()
	case unix.SIGUSR2:
		l.onReload(nil)
	case unix.SIGWINCH:
		if !l.sys.foreground() { // in the foreground the terminal signals the worker, too
			l.passOn(sig)
		}
	case unix.SIGCONT:
		for _, w := range l.workers() {
			w.resetWatchdog()
		}
		l.passOn(sig)
	case unix.SIGPIPE, unix.SIGXFSZ:
		// meant for lifeline alone: see catch
	default:
		l.passOn(sig)
	}
}

// passOn sends sig to the worker's main process.
func (l *loop) passOn(sig unix.Signal) {
	if w := l.cur; w != nil && !w.id.Zero() {
		l.sys.send(w.id, sig)
	}
}

// onHangUp acts on SIGHUP as --on-hup says. Many daemons reread their files on SIGHUP.
func (l *loop) onHangUp() {
	switch {
	case l.o.OnHUP == HUPReload:
		l.onReload(nil)
	case l.o.OnHUP == HUPPass:
		l.passOn(unix.SIGHUP)
	case l.o.OnHUP == "" && l.o.Respawn:
		l.passOn(unix.SIGHUP)
		if l.sys.sharedGroup {
			time.AfterFunc(hangUpDelay, func() { l.post(l.onTerminalGone) })
		}
	default:
		l.onStop()
	}
}

// hangUpDelay is the pause between SIGHUP and the look at the terminal, because the
// kernel sends the signal before it takes the terminal away (credentials(7)).
const hangUpDelay = 100 * time.Millisecond

// onTerminalGone ends everything when the terminal has gone, because a worker respawned
// after the session's end would live on unseen.
func (l *loop) onTerminalGone() {
	if l.sys.hungUp() {
		l.onStop()
	}
}

// typedAgain is the time within which a second Ctrl-C means "at once".
const typedAgain = 2 * time.Second

// onTyped acts on Ctrl-C or Ctrl-\. The terminal has sent the signal to the worker, too,
// which decides what to do, as without lifeline. When the worker ends, none follows.
func (l *loop) onTyped(sig unix.Signal) {
	again := sig == unix.SIGINT && !l.typed.IsZero() && time.Since(l.typed) < typedAgain
	l.endAll()
	l.typed = time.Now()
	_ = l.job.Above.Stopping()
	if again {
		l.killAll("Ctrl-C was typed twice")
	}
	l.finishIfEmpty()
}
