package supervise

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/lifeline/notify"
)

// loop is the supervisor. Everything in it belongs to the goroutine of run.
type loop struct {
	Job
	w world

	want bool      // up is wanted
	done bool      // finish was called
	cur  *worker   // the worker; nil in state down
	at   time.Time // state down: when to start
	last error     // how the last worker ended
	back backoff

	timer    *time.Timer
	events   chan event    // from the goroutines that wait for something
	over     chan struct{} // closed when the loop has finished
	control  control
	openLine func(*worker) (int, error) // makes LIFELINE_FD
	beat     *time.Ticker               // our own heartbeat to who supervises us
	restart  bool                       // start again as soon as the tree is empty
	waiting  []*request                 // those that asked for it
	store    notify.Store               // descriptors that workers left with us
	workers  int                        // how many were started
	slimmed  bool                       // memory has been given back, or will be soon
	settled  bool                       // one of our workers has been through the guard's look around
}

// event is what a waiting goroutine has to tell; it runs in the loop.
type event func()

// post has the loop run e, unless it has finished.
func (l *loop) post(e event) {
	select {
	case l.events <- e:
	case <-l.over:
	}
}

func newLoop(job Job, w world) *loop {
	l := &loop{Job: job, w: w, want: true, timer: time.NewTimer(time.Hour), events: make(chan event), over: make(chan struct{})}
	l.back.o = job.Options
	l.openLine = (*worker).openLine
	l.timer.Stop()
	return l
}

func (l *loop) run(ctx context.Context, signals, chld <-chan os.Signal) error {
	var beat <-chan time.Time
	if period := l.Above.WatchdogPeriod; period > 0 {
		l.beat = time.NewTicker(period / 2)
		defer l.beat.Stop()
		beat = l.beat.C
	}
	l.begin()
	stop := ctx.Done()
	for !l.done {
		l.arm()
		var notified, spoken <-chan struct{} // nil channels: nothing to hear
		var started <-chan error
		if w := l.cur; w != nil {
			started = w.pending
			if w.notify != nil {
				notified = w.notify.C()
			}
			if w.line != nil {
				spoken = w.line.c
			}
		}
		select {
		case <-stop:
			stop = nil
			l.onStop()
		case sig := <-signals:
			l.onSignal(sig.(unix.Signal))
		case <-chld:
			l.onChild()
		case err := <-started:
			l.cur.onStarted(err)
		case <-notified:
			l.onNotify(l.cur)
		case <-spoken:
			l.cur.onLine()
		case happened := <-l.events:
			happened()
		case r := <-l.control.requests:
			l.onRequest(r)
		case <-beat:
			_ = l.Above.Watchdog()
		case now := <-l.timer.C:
			l.onTimer(now)
		}
	}
	close(l.over)
	_ = l.Above.Stopping()
	return l.last
}

// begin takes on what lives already, or starts the first worker.
func (l *loop) begin() {
	orphan, follow := l.Hold.Inherited()
	switch {
	case follow:
		l.cur = l.newWorker()
		l.cur.follow()
	case !orphan.Zero():
		l.adopt(orphan)
	default:
		l.start()
	}
}

// arm sets the one timer to what is due next.
func (l *loop) arm() {
	l.timer.Stop()
	next := l.at
	if l.cur != nil {
		next = l.cur.next()
	}
	if !next.IsZero() {
		l.timer.Reset(max(time.Until(next), 0))
	}
}

// onTimer: nothing has happened for as long as the state allows.
func (l *loop) onTimer(time.Time) {
	if l.cur == nil {
		if !l.at.IsZero() && !time.Now().Before(l.at) {
			l.start()
		}
		return
	}
	l.onNotify(l.cur) // what has come in already, first
	if l.cur != nil {
		l.cur.onDeadline(time.Now())
	}
}

// onChild: somebody has ended, perhaps the worker, perhaps an orphan that came
// to us.
func (l *loop) onChild() {
	if l.cur != nil {
		l.onNotify(l.cur) // while the sender's pid still means something
	}
	for _, e := range l.w.reap() {
		if w := l.cur; w != nil && w.ours && w.id.PID == e.PID {
			w.onExit(e)
		}
	}
	if w := l.cur; w != nil && w.state == stopping && w.id.Zero() {
		w.leftovers()
	}
}

// onSignal: ours, or the worker's.
func (l *loop) onSignal(sig unix.Signal) {
	switch sig {
	case unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT:
		l.onStop()
	case unix.SIGCONT:
		if l.cur != nil {
			l.cur.forgive()
		}
	case unix.SIGPIPE, unix.SIGXFSZ:
		// Ours, not the worker's: see catch.
	default:
		if w := l.cur; w != nil && !w.id.Zero() && w.state >= up {
			l.w.send(w.id, sig)
		}
	}
}

// onStop: the end is wanted. A second wish means at once.
func (l *loop) onStop() {
	again := !l.want
	l.want = false
	if l.cur == nil {
		l.finish(l.last)
		return
	}
	_ = l.Above.Stopping()
	if again {
		l.cur.kill()
	} else {
		l.cur.stop(l.stopSignal())
	}
}

// onRequest: somebody typed a command.
func (l *loop) onRequest(r *request) {
	switch r.verb {
	case "restart":
		if !l.want {
			r.answer("error it is being ended")
			return
		}
		l.waiting = append(l.waiting, r)
		l.restart = true
		if l.cur == nil {
			l.start()
		} else {
			l.cur.stop(l.stopSignal())
		}
	default:
		r.answer("error this lifeline doesn't know " + r.verb)
	}
}

// answer tells those that wait for a restart.
func (l *loop) answer(format string, args ...any) {
	for _, r := range l.waiting {
		r.answer(fmt.Sprintf(format, args...))
	}
	l.waiting = nil
}

// ended: nothing of the worker is left. There is another one, or that was it.
func (l *loop) ended(w *worker) {
	l.last = w.verdict
	l.cur = nil
	l.Hold.SetWorker(none)
	if !l.want {
		l.finish(l.last)
		return
	}
	if !l.restart {
		l.answer("error it ended: %v", l.last)
	}
	now := time.Now()
	if l.restart || w.overtime && l.Respawn {
		l.restart = false
		l.back.restarts = 0
		l.startNext()
		return
	}
	yes, why := l.back.again(l.last, now)
	if why != "" {
		l.Warn("%s", why)
	}
	if !yes {
		l.finish(l.last)
		return
	}
	delay := l.back.next(w.upFor(now))
	if delay > 0 {
		l.at = now.Add(delay)
		_ = l.Above.Status(fmt.Sprintf("down, starting again in %s", delay.Round(time.Millisecond)))
		return
	}
	l.startNext()
}

func (l *loop) startNext() {
	if l.Hold.Paused() { // somebody keeps it down
		l.finish(l.last)
		return
	}
	l.start()
}

func (l *loop) finish(err error) {
	l.last, l.done = err, true
	l.answer("error it has ended")
}

// describe says how the worker stands, for who supervises us.
func describe(w *worker) string {
	switch {
	case w.status != "":
		return w.status
	case w.state == up:
		return fmt.Sprintf("pid %d is up", w.id.PID)
	}
	return fmt.Sprintf("pid %d is %s", w.id.PID, w.state)
}
