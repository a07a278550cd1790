package supervisor

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/internal/guard"
	"lifeline/internal/journal"
	"lifeline/procscan"
)

// reload is one hot reload, from the request to the outcome.
//
//	request ──► the new generation starts beside the old ──► the new generation takes over:
//	         │                        overlap:  READY=1 (or ReadyAfter) and alive for Settle,
//	         │                                  then the old worker is asked to end
//	         │                        takeover: said on LIFELINE_FD; the old worker is ended,
//	         │                                  and "ok" goes out when its tree is empty
//	         └► the new generation ends, or isn't ready within ReloadTimeout:
//	            the old worker goes on, and up to ReloadRetries retries follow
type reload struct {
	began   time.Time
	waiting []*request
	asked   bool      // the new generation has said takeover
	failed  int       // failed tries
	again   time.Time // when the next try is due; zero for none
}

// retryDelay is the pause after the first failed try; it doubles up to retryMaxDelay.
const (
	retryDelay    = time.Second
	retryMaxDelay = time.Minute
)

func (r *reload) answer(format string, args ...any) {
	for _, w := range r.waiting {
		w.answer(fmt.Sprintf(format, args...))
	}
	r.waiting = nil
}

// onReload begins a reload. r is the waiting `lifeline reload`; nil for SIGUSR2.
func (l *loop) onReload(r *request) {
	refuse := func(why string) {
		l.job.Warn("reload ignored: %s", why)
		if r != nil {
			r.answer("error " + why)
		}
	}
	l.onChild() // the worker may have ended at this very moment
	switch {
	case !l.goal.up():
		refuse("it is being ended")
		return
	case l.leaseRefuses() != "":
		refuse(l.leaseRefuses())
		return
	case l.next != nil:
		refuse("a reload is on its way already")
		return
	case l.cur != nil && l.cur.state == starting:
		refuse("the worker is still starting")
		return
	case l.cur != nil && l.cur.state == stopping:
		refuse("the worker is being ended")
		return
	case l.refused() != "":
		refuse(l.refused())
		return
	}
	if l.socketsLost() {
		refuse("the listening socket was lost with the supervisor that was killed; lifeline restart makes a new one")
		return
	}
	l.reload = reload{began: time.Now(), waiting: l.reload.waiting}
	if l.cur == nil { // without a worker, an ordinary start runs the new code
		if r != nil {
			l.waiting = append(l.waiting, r)
		}
		l.start()
		return
	}
	if r != nil {
		l.reload.waiting = append(l.reload.waiting, r)
	}
	crash.Point("reload.asked")
	l.try()
}

// socketsLost reports whether only an adopted worker has the listening sockets. Taking
// its descriptors would need the right to trace the worker (pidfd_getfd(2)).
func (l *loop) socketsLost() bool {
	return l.cur != nil && !l.cur.ours && len(l.o.Listen) > 0 && len(l.sockets.list) == 0
}

// try starts a new generation beside the old.
func (l *loop) try() {
	l.reload.again = time.Time{}
	at := markOutput()
	w := l.newWorker(guard.NewGeneration())
	w.output = at
	_, err := l.job.Hold.LaunchBeside(l.ctx, l.cur.id, func() (procscan.ID, error) { return l.launch(w, true) })
	if err != nil {
		w.enter(gone, 0)
		w.close()
		w.verdict = asEnd(err)
		l.reloadFailed(w)
		return
	}
	l.next = w
	crash.Point("reload.started")
	w.enter(starting, l.o.ReloadTimeout)
	w.running()
}

// takeOver makes the new generation the worker, after its probation, and asks the old
// generation to end. The old generation may drain.
func (l *loop) takeOver(w *worker) {
	l.onChild() // the new generation may have ended at this very moment
	if w != l.next {
		return
	}
	old := l.cur
	l.leaving = append(l.leaving, old)
	l.promote()
	old.because(journal.Stopped, "replaced by a reload")
	old.stop(l.o.stopSignal())
}

// promote makes the new generation the worker that counts.
func (l *loop) promote() {
	w := l.next
	crash.Point("reload.ready")
	l.next, l.cur = nil, w
	l.reloads++
	l.renewed() // the new generation answers a restart that was asked for meanwhile
	l.job.Hold.SetWorker(w.generation, w.id)
	w.upNow()
	crash.Point("reload.over")
	l.reloaded(w)
}

// reloaded answers the waiting commands.
func (l *loop) reloaded(w *worker) {
	l.answer("ok pid %d", w.id.PID)
	l.reload.answer("ok pid %d, after %s", w.id.PID, time.Since(l.reload.began).Round(time.Millisecond))
	_ = l.job.Above.Status(describe(w))
}

// succeed makes the new generation the worker when the old generation is gone.
func (l *loop) succeed() {
	w := l.next
	switch {
	case l.reload.asked:
		l.promote()
		l.grant()
	case w.word != silent || !w.probation.IsZero():
		l.promote()
	default: // the new generation is still starting, from now on as an ordinary start
		l.next, l.cur = nil, w
		l.renewed()
		l.waiting, l.reload.waiting = append(l.waiting, l.reload.waiting...), nil // its end is also an answer
		l.job.Hold.SetWorker(w.generation, w.id)
		w.enter(starting, shorter(l.readyTimeout(), l.o.MaxRuntime))
	}
}

// onTakeover handles takeover on LIFELINE_FD: the new generation is ready and wants to
// be alone. The old generation is ended first; then succeed grants "ok".
func (w *worker) onTakeover() {
	l := w.l
	if w.state == stopping { // a worker that is being ended gets no ok
		return
	}
	w.word = asksAlone
	if w != l.next {
		if l.o.waits() && w.state == starting { // a first worker has no predecessor to take over from
			w.onReady()
		}
		l.grant()
		return
	}
	l.reload.asked = true
	w.deadline, w.probation = time.Time{}, time.Time{} // the old worker's KillAfter counts now
	l.cur.because(journal.Stopped, "replaced by a reload")
	l.cur.stop(l.o.stopSignal())
}

// grant says ok to a worker that has said takeover, when no other generation is left.
// An old generation may still drain from an earlier reload, or because the worker
// counted as ready before it said takeover.
func (l *loop) grant() {
	if w := l.cur; w != nil && w.word == asksAlone && len(l.leaving) == 0 {
		w.word = saidReady
		w.line.say("ok")
	}
}

// reloadFailed handles the end of the new generation; the old generation goes on.
func (l *loop) reloadFailed(w *worker) {
	why := "the new one ended at once"
	var end *EndError
	switch {
	case !errors.As(w.verdict, &end):
		why = fmt.Sprintf("the new one ended after %s", time.Since(w.began).Round(time.Millisecond))
	case end.Text != "":
		why = "the new one: " + end.Text
	default:
		why = fmt.Sprintf("the new one exited with code %d after %s", end.Code,
			time.Since(w.began).Round(time.Millisecond))
	}
	if lines := w.output.tail(); lines != "" {
		why += "; it said: " + lines
	}
	if r := &l.reload; l.goal.up() && !r.asked && r.failed < l.o.ReloadRetries && l.cur != nil && l.cur.state == up {
		wait := min(retryDelay<<min(r.failed, 10), retryMaxDelay)
		r.failed++
		r.again = time.Now().Add(wait)
		l.job.Warn("reload failed, the old one goes on: %s; trying again in %s (%d of %d, --reload-retries)", why, wait,
			r.failed, l.o.ReloadRetries)
		return
	}
	what := "rolled back, the old one goes on"
	switch {
	case !l.goal.up():
		what = "given up, because all is being ended"
	case l.reload.asked:
		what = "failed when the old one was being ended, starting it again"
	}
	l.job.Warn("reload %s: %s", what, why)
	l.reload.answer("error %s: %s", what, why)
}

// forgetRetry drops a planned retry, because the next start runs the new code anyway.
// That start answers the waiting commands.
func (l *loop) forgetRetry() {
	if !l.reload.again.IsZero() {
		l.reload.again = time.Time{}
		l.waiting, l.reload.waiting = append(l.waiting, l.reload.waiting...), nil
	}
}

// mark is a position in lifeline's own output. When the output is a file, the new
// generation's last lines are read back from there.
type mark struct{ size [3]int64 }

func markOutput() (m mark) {
	for fd := 1; fd <= 2; fd++ {
		var st unix.Stat_t
		if unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFREG {
			m.size[fd] = st.Size + 1
		}
	}
	return m
}

const tailMax = 1000

// tail returns the last three lines since the mark, joined.
func (m mark) tail() string {
	for fd := 2; fd >= 1; fd-- { // errors first
		if m.size[fd] == 0 {
			continue
		}
		// The descriptor may be write-only, so the file is opened again.
		f, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", fd))
		if err != nil {
			continue
		}
		st, err := f.Stat()
		from := m.size[fd] - 1
		if err == nil && st.Size()-from > tailMax {
			from = st.Size() - tailMax
		}
		text, _ := io.ReadAll(io.NewSectionReader(f, from, tailMax))
		f.Close()
		lines := strings.FieldsFunc(string(text), func(r rune) bool { return r == '\n' || r == '\r' })
		// Leave out lifeline's own messages.
		lines = slices.DeleteFunc(lines, func(s string) bool { return strings.HasPrefix(s, "lifeline: ") })
		if len(lines) > 3 {
			lines = lines[len(lines)-3:]
		}
		if len(lines) > 0 {
			return strings.Join(lines, " | ")
		}
	}
	return ""
}
