package supervisor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/internal/journal"
	"lifeline/internal/sdnotify"
)

// loop is the supervisor. Everything in it belongs to the goroutine of run.
type loop struct {
	job Job
	o   *Options // the job's
	sys world
	ctx context.Context // ends when Run's context does

	goal goal
	cur  *worker   // the worker that counts; nil in state down
	at   time.Time // in state down: when to start
	last error     // how the last worker ended
	back backoff

	next    *worker   // a reload's new generation, until it takes over
	leaving []*worker // old generations that drain

	timer   *time.Timer
	events  chan event    // from the goroutines that wait for something
	over    chan struct{} // closed when the loop has finished
	control control
	typed   time.Time  // when Ctrl-C was typed last
	waiting []*request // restarts to be answered
	reload  reload
	lease   lease
	looks   []*look // running check commands

	sockets    sockets        // of --listen
	groups     groups         // cgroups for later workers
	store      sdnotify.Store // descriptors that workers left with lifeline
	reserves   bool           // descriptors are to be kept back, once all is set up
	reserve    reserve        // for starts and checks
	unable     string         // why the last start failed; "" after a start
	settled    bool           // a worker was started, adopted or handed over
	turnedDown bool           // a refused notify message has been reported
	announce   bool           // READY=1 has been sent to the supervisor above

	starts, reloads int
	told            Snapshot      // last passed to Events.State
	ends            []journal.Run // not yet passed to Events.Ended
}

// goal is what the loop works towards.
type goal int

const (
	keepUp    goal = iota // keep a worker up, as the options say
	renewing              // keep up, with a new worker once the present worker's tree is gone
	endingAll             // end everything that lives
	over                  // run returns
)

// up reports whether a worker is wanted.
func (g goal) up() bool { return g <= renewing }

// renew asks for a new worker once the present worker's tree is gone.
func (l *loop) renew() { l.goal = max(l.goal, renewing) }

// renewed ends the goal renewing: the new worker runs, or is no longer wanted.
func (l *loop) renewed() {
	if l.goal == renewing {
		l.goal = keepUp
	}
}

// endAll gives up every plan to start a worker.
func (l *loop) endAll() {
	l.goal = max(l.goal, endingAll)
	l.at, l.reload.again = time.Time{}, time.Time{}
}

// event is a function that another goroutine has the loop run.
type event func()

// post has the loop run e, unless it has finished.
func (l *loop) post(e event) {
	select {
	case l.events <- e:
	case <-l.over:
	}
}

func newLoop(job Job, sys world) *loop {
	if job.Lease == nil {
		job.Lease = always{}
	}
	l := &loop{job: job, o: job.Options, sys: sys, timer: time.NewTimer(time.Hour), events: make(chan event),
		over: make(chan struct{})}
	l.back.o = job.Options
	l.timer.Stop()
	return l
}

func (l *loop) run(ctx context.Context, signals, chld <-chan os.Signal) error {
	l.ctx = ctx
	var beat <-chan time.Time // lifeline's own heartbeat to the supervisor above
	if period := l.job.Above.WatchdogPeriod; period > 0 {
		ticker := time.NewTicker(period / 2)
		defer ticker.Stop()
		beat = ticker.C
	}
	if l.job.Taken != nil {
		if err := l.restore(l.job.Taken); err != nil {
			return err
		}
		l.onChild() // children that ended during execve
	} else {
		l.begin()
	}
	if l.o.ReloadOnChange != "" {
		go onChange(l.o.ReloadOnChange, l.over, printOf, func() { l.post(func() { l.onReload(nil) }) })
	}
	stop := ctx.Done()
	defer l.reserve.give()
	for l.goal != over {
		l.tell()
		l.arm()
		if l.settled && l.reserves {
			l.reserve, l.reserves = newReserve(forStart, forOthers), false
		}
		l.reserve.take()
		select {
		case <-stop:
			stop = nil
			l.onStop()
		case sig := <-signals:
			l.onSignal(sig.(unix.Signal))
		case <-chld:
			l.onChild()
		case happened := <-l.events:
			happened()
		case r := <-l.control.requests:
			l.onRequest(r)
		case <-l.job.Hold.Restored():
			l.control.listen(l.job.Hold.Control(), l.job.Warn)
		case <-l.sockets.removed:
			l.sockets.putBack(l.job.Warn)
		case <-l.job.Lease.C():
			l.onLease()
		case <-beat:
			_ = l.job.Above.Watchdog()
		case <-l.timer.C:
			l.onTimer()
		}
	}
	l.tellEnds()
	close(l.over)
	_ = l.job.Above.Stopping()
	return l.last
}

// workers returns all generations that live; the worker that counts comes first.
func (l *loop) workers() []*worker {
	all := make([]*worker, 0, 2+len(l.leaving))
	if l.cur != nil {
		all = append(all, l.cur)
	}
	if l.next != nil {
		all = append(all, l.next)
	}
	return append(all, l.leaving...)
}

// begin takes over what still lives of the name, or starts the first worker.
func (l *loop) begin() {
	in := l.job.Hold.Inherited()
	switch {
	case !in.Worker.Zero() || len(in.Leftovers) > 0:
		l.takeOn(in)
	case !l.job.Lease.Held():
		_ = l.job.Above.Ready()
		l.announce = true
		l.standBy()
	default:
		l.start()
	}
}

// early is how much before its time the timer fires. The runtime waits in
// epoll_wait(2), which counts in milliseconds, and then two threads wake up one
// after the other. nanosleep(2) sleeps the rest.
const early = 3 * time.Millisecond

// startFailedDelay is the least time between two failed starts, whatever
// --respawn-delay says. It keeps the loop from spinning where no descriptors or
// processes are left.
const startFailedDelay = 100 * time.Millisecond

// arm sets the one timer to what is due next.
func (l *loop) arm() {
	l.timer.Stop()
	if next := l.due(); !next.IsZero() {
		l.timer.Reset(max(time.Until(next)-early, 0))
	}
}

// due returns the earliest deadline; zero for none.
func (l *loop) due() time.Time {
	next := sooner(l.at, l.reload.again)
	for _, w := range l.workers() {
		next = sooner(next, w.due())
	}
	return next
}

// sooner returns the earlier of two times; a zero time is later than any other.
func sooner(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// onTimer does what is due at a deadline.
func (l *loop) onTimer() {
	if d := time.Until(l.due()); d > 0 && d <= early {
		l.sys.nap(d)
	}
	for _, w := range l.workers() {
		w.hear() // messages that came in before the deadline
		w.onDeadline(time.Now())
	}
	if !l.at.IsZero() && !time.Now().Before(l.at) {
		l.start()
	}
	if again := l.reload.again; !again.IsZero() && !time.Now().Before(again) {
		l.try()
	}
}

// onChild reaps ended children: workers, and orphaned processes that this process
// adopted.
func (l *loop) onChild() {
	for _, w := range l.workers() {
		w.hear() // while the senders' pids still mean something
	}
	ended := l.sys.reap()
	for _, e := range ended {
		for _, w := range l.workers() {
			if w.ours && w.id.PID == e.PID {
				w.onExit(e)
			}
		}
		l.onLookEnd(e)
	}
	if len(ended) == 0 {
		return // searching the process table is expensive
	}
	for _, w := range l.workers() {
		if w.state == stopping && w.id.Zero() {
			w.leftovers()
		}
	}
}

// onStop asks every generation to end. A second request changes nothing.
func (l *loop) onStop() {
	l.endAll()
	_ = l.job.Above.Stopping()
	for _, w := range l.workers() {
		w.because(journal.Stopped, "lifeline was asked to end")
		w.stop(l.o.stopSignal())
	}
	l.finishIfEmpty()
}

// killAll ends every generation at once.
func (l *loop) killAll(why string) {
	l.endAll()
	for _, w := range l.workers() {
		w.because(journal.Stopped, "%s", why)
		w.kill()
	}
	l.finishIfEmpty()
}

// ended handles the end of a generation, when no process of its tree is left.
func (l *loop) ended(w *worker) {
	l.releaseAfter(w)
	l.noteEnd(w)
	if l.job.Events.EndsFirst {
		l.tellEnds()
	}
	switch {
	case w == l.next:
		l.next = nil
		if l.reload.asked { // the old generation is being ended already, for the takeover
			l.renew()
		}
		l.reloadFailed(w)
		l.finishIfEmpty()
		if l.lease.leaving {
			l.standByWhenEmpty()
		}
	case w != l.cur:
		l.leaving = slices.DeleteFunc(l.leaving, func(o *worker) bool { return o == w })
		l.grant()
		l.finishIfEmpty()
		if l.lease.leaving {
			l.standByWhenEmpty()
		}
	default:
		l.forgetRetry()
		l.last, l.cur = w.verdict, nil
		crash.Point("end.worker")
		l.job.Hold.Ended()
		crash.Point("end.vacated")
		l.after(w)
	}
}

// after decides what comes after the worker that counted.
func (l *loop) after(w *worker) {
	if l.goal != renewing {
		l.answer("error it ended: %v", l.last)
	}
	if !l.goal.up() {
		l.finishIfEmpty()
		return
	}
	if l.leaseAfter() {
		return
	}
	if l.next != nil { // during a reload the new generation becomes the worker
		l.succeed()
		return
	}
	if l.goal == renewing || w.spent && l.o.Respawn {
		l.renewed()
		l.back.restarts = 0
		l.startNext()
		return
	}
	now := time.Now()
	yes, why := l.back.again(l.last, now)
	if why != "" {
		l.job.Warn("%s", why)
	}
	if !yes {
		l.endAll()
		for _, o := range l.leaving {
			o.stop(l.o.stopSignal())
		}
		l.finishIfEmpty()
		return
	}
	delay := l.back.next(w.upFor(now))
	if w.pid == 0 {
		delay = max(delay, startFailedDelay)
	}
	if delay > 0 {
		l.at = now.Add(delay)
		_ = l.job.Above.Status(fmt.Sprintf("down, starting again in %s", delay.Round(time.Millisecond)))
		return
	}
	l.startNext()
}

func (l *loop) startNext() {
	if l.job.Hold.Paused() { // by lifeline pause
		l.endAll()
		l.finishIfEmpty()
		return
	}
	l.start()
}

// finishIfEmpty ends the loop where the end was asked for and no worker lives.
func (l *loop) finishIfEmpty() {
	if !l.goal.up() && len(l.workers()) == 0 {
		l.finish(l.last)
	}
}

func (l *loop) finish(err error) {
	l.last, l.goal = err, over
	l.answer("error it has ended")
	l.reload.answer("error it has ended")
}

// describe returns the worker's status for the supervisor above lifeline.
func describe(w *worker) string {
	switch {
	case w.status != "":
		return w.status
	case w.state == up:
		return fmt.Sprintf("pid %d is up", w.id.PID)
	}
	return fmt.Sprintf("pid %d is %s", w.id.PID, w.state)
}
