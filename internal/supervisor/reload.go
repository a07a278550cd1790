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

// reload is one hot reload, from the wish to the outcome.
//
//	wish ──► new generation starts beside the old ──► it takes over:
//	           │                          overlap:  READY=1 (or ReadyAfter) and alive for Settle,
//	           │                                    then the old one is asked to end
//	           │                          takeover: the word on LIFELINE_FD; the old one is ended,
//	           │                                    and when nothing of it is left, "ok" goes out
//	           └► it ends, or is silent for ReloadTimeout: the old one goes on,
//	              and ReloadRetries times another one is tried
type reload struct {
	began   time.Time
	waiting []*request
	asked   bool      // the new generation has said takeover
	failed  int       // tries that have
	again   time.Time // when the next try is due; zero for none
}

// retryDelay is the pause after the first try that has failed. It doubles up to
// retryMaxDelay.
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

// onReload begins a reload, for SIGUSR2 or for lifeline reload, which waits for the
// outcome.
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
	if l.cur == nil { // nothing to reload: what starts is the new code anyway
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

// socketsLost reports that only the worker, which was adopted, has the listening
// sockets. A descriptor can't be taken from there without the right to trace it.
func (l *loop) socketsLost() bool {
	return l.cur != nil && !l.cur.ours && len(l.o.Listen) > 0 && len(l.sockets.list) == 0
}

// try starts a new generation beside the old one.
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

// takeOver ends the old generation: the new one serves, and has shown that it stays. The old
// one may drain.
func (l *loop) takeOver(w *worker) {
	l.onChild() // it may have ended at this very moment
	if w != l.next {
		return
	}
	old := l.cur
	l.leaving = append(l.leaving, old)
	l.promote()
	old.because(journal.Stopped, "replaced by a reload")
	old.stop(l.o.stopSignal())
}

// promote makes the new generation the one that counts.
func (l *loop) promote() {
	w := l.next
	crash.Point("reload.ready")
	l.next, l.cur = nil, w
	l.reloads++
	l.renewed() // one that was asked for meanwhile has got its new worker
	l.job.Hold.SetWorker(w.generation, w.id)
	w.upNow()
	crash.Point("reload.over")
	l.reloaded(w)
}

// reloaded tells those that wait for it.
func (l *loop) reloaded(w *worker) {
	l.answer("ok pid %d", w.id.PID)
	l.reload.answer("ok pid %d, after %s", w.id.PID, time.Since(l.reload.began).Round(time.Millisecond))
	_ = l.job.Above.Status(describe(w))
}

// succeed makes the new generation the worker: the old generation is gone,
// whether it was waiting for that or not.
func (l *loop) succeed() {
	w := l.next
	switch {
	case l.reload.asked:
		l.promote()
		l.grant()
	case w.word != silent || !w.probation.IsZero():
		l.promote()
	default: // it is still starting, and now that is all there is to it
		l.next, l.cur = nil, w
		l.renewed()
		l.waiting, l.reload.waiting = append(l.waiting, l.reload.waiting...), nil // its end is an answer, too
		l.job.Hold.SetWorker(w.generation, w.id)
		w.enter(starting, shorter(l.readyTimeout(), l.o.MaxRuntime))
	}
}

// onTakeover handles a new generation that is ready and wants to be alone. The old one
// is ended first; after says when that is done.
func (w *worker) onTakeover() {
	l := w.l
	if w.state == stopping { // there is no ok for one that is being ended
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
	w.deadline, w.probation = time.Time{}, time.Time{} // the old one's KillAfter counts now
	l.cur.because(journal.Stopped, "replaced by a reload")
	l.cur.stop(l.o.stopSignal())
}

// grant says ok to the worker that counts, if it has said takeover, when no
// other generation is left: one may still drain from a reload before, or
// because this one said takeover when it had been taken for ready already.
func (l *loop) grant() {
	if w := l.cur; w != nil && w.word == asksAlone && len(l.leaving) == 0 {
		w.word = saidReady
		w.line.say("ok")
	}
}

// reloadFailed handles the end of the new generation; the old one goes on.
func (l *loop) reloadFailed(w *worker) {
	why := "the new one ended at once"
	var end *EndError
	switch {
	case !errors.As(w.verdict, &end):
		why = fmt.Sprintf("the new one ended after %s", time.Since(w.began).Round(time.Millisecond))
	case end.Text != "":
		why = "the new one: " + end.Text
	default:
		why = fmt.Sprintf("the new one exited with code %d after %s", end.Code, time.Since(w.began).Round(time.Millisecond))
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

// forgetRetry drops a planned retry: what starts instead is the new code anyway, and
// its start the answer.
func (l *loop) forgetRetry() {
	if !l.reload.again.IsZero() {
		l.reload.again = time.Time{}
		l.waiting, l.reload.waiting = append(l.waiting, l.reload.waiting...), nil
	}
}

// mark is a place in our own output, by which the new generation's last words
// are found again if that output is a file: a log, or cron's own. From a pipe
// or a terminal nothing can be read back, but there a person reads along.
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

// tail is the last few lines since the mark, in one.
func (m mark) tail() string {
	for fd := 2; fd >= 1; fd-- { // errors first
		if m.size[fd] == 0 {
			continue
		}
		// The descriptor may be for writing only; the file it leads to isn't.
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
		lines = slices.DeleteFunc(lines, func(s string) bool { return strings.HasPrefix(s, "lifeline: ") }) // our own
		if len(lines) > 3 {
			lines = lines[len(lines)-3:]
		}
		if len(lines) > 0 {
			return strings.Join(lines, " | ")
		}
	}
	return ""
}
