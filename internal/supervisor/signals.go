package supervisor

import (
	"os"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// realTimeDelay is how long after the start the real-time signals are caught. Go
// changes threads twice for each signal that it begins to catch, which a command
// of a few milliseconds would pay for 31 of them. One that comes before is lost.
const realTimeDelay = 100 * time.Millisecond

// catch takes a signal, to act on it or to pass it on. One that was ignored when
// lifeline started (nohup) stays ignored. SIGPIPE and SIGXFSZ are caught:
// ignored ones would be inherited, and a full disk or a closed pipe behind our
// messages is no reason to leave the worker alone. SIGCONT tells that lifeline
// was stopped. Go's runtime sends SIGURG to itself all the time, so SIGURG can't be
// passed on. Nor can 32 to 34, which the runtime leaves to a C library: SIGRTMIN
// ends lifeline (runtime, sigtab_linux_generic.go and sigfwdgo). On a terminal the
// signals of job control stop lifeline as they stop the command.
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
		if !l.sys.foreground() { // there the terminal has told the worker itself
			l.passOn(sig)
		}
	case unix.SIGCONT:
		for _, w := range l.workers() {
			w.resetWatchdog()
		}
		l.passOn(sig)
	case unix.SIGPIPE, unix.SIGXFSZ:
		// Ours, not the worker's: see catch.
	default:
		l.passOn(sig)
	}
}

// passOn sends sig to the main process.
func (l *loop) passOn(sig unix.Signal) {
	if w := l.cur; w != nil && !w.id.Zero() {
		l.sys.send(w.id, sig)
	}
}

// onHangUp acts on SIGHUP, at which many daemons read their files again.
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

// hangUpDelay is the pause after SIGHUP before a look at the terminal. The kernel
// sends the signal before it takes the terminal away (credentials(7)).
const hangUpDelay = 100 * time.Millisecond

// onTerminalGone ends all where the terminal has gone: the session is over, and
// what is respawned after that would live on unseen.
func (l *loop) onTerminalGone() {
	if l.sys.hungUp() {
		l.onStop()
	}
}

// typedAgain is the time within which a second Ctrl-C means "at once".
const typedAgain = 2 * time.Second

// onTyped acts on Ctrl-C or Ctrl-\ on the terminal, which has sent the signal to
// the worker, too. What that means is the worker's decision, as it is without
// lifeline; when it ends, it isn't started again.
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
