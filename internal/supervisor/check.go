package supervisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/probe"
	"lifeline/internal/process"
	"lifeline/procscan"
)

// check tests from outside whether a worker serves: by --ready-check while the worker
// is starting, by --health-check while the worker is up.
type check struct {
	due      time.Time     // the next look, or the timeout of the running look; zero for never
	looking  *look         // the running look; nil for none
	wait     time.Duration // before the next look of --ready-check
	failures int           // in a row
	short    bool          // the last look couldn't be taken, for a lack on lifeline's side
	last     error         // why the last look failed; nil if it succeeded
}

// look is one run of a check: a command or a connection.
type look struct {
	id     procscan.ID // of the command; zero for a connection
	worker *worker
	cancel context.CancelFunc
}

// firstWait is the pause after the first failed look of --ready-check. The pause
// doubles up to --check-interval.
const firstWait = 50 * time.Millisecond

// checked returns the check that applies in the worker's state; nil for none.
func (w *worker) checked() *probe.Target {
	o := w.l.job.Options
	switch {
	case w.state == starting && o.readyBy() == ByCheck && w.word == silent:
		return &o.ReadyCheck
	case w.state == up && o.HealthCheck.Text != "":
		return &o.HealthCheck
	}
	return nil
}

// plan sets when the first look of a state is due.
func (c *check) plan(w *worker) {
	c.end(w.l)
	*c = check{}
	switch {
	case w.checked() == nil:
	case w.state == starting:
		c.due = time.Now()
	default:
		c.due = time.Now().Add(w.l.o.CheckInterval)
	}
}

// end cancels the running look.
func (c *check) end(l *loop) {
	if k := c.looking; k != nil {
		c.looking = nil
		k.cancel()
	}
}

// onDue begins a look, or cancels a look that has taken too long.
func (c *check) onDue(w *worker) {
	l := w.l
	if c.looking != nil {
		c.end(l)
		c.looked(w, fmt.Errorf("it took longer than %s (--check-timeout)", l.o.CheckTimeout))
		return
	}
	target := w.checked()
	if target == nil {
		c.due = time.Time{}
		return
	}
	c.due = time.Now().Add(l.o.CheckTimeout)
	if target.IsCommand() {
		k, err := l.lookBy(w, target.Text)
		if err != nil {
			c.looked(w, err)
			return
		}
		c.looking = k
		return
	}
	ctx, cancel := context.WithTimeout(l.ctx, l.o.CheckTimeout)
	k := &look{worker: w, cancel: cancel}
	c.looking = k
	go func() {
		err := l.sys.ask(ctx, *target)
		l.post(func() { k.over(err) })
	}()
}

// lookBy runs the command of a look as the worker's user, in the worker's directory
// and with the worker's standard error.
func (l *loop) lookBy(w *worker, command string) (*look, error) {
	l.reserve.give()
	null, err := unix.Open("/dev/null", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open /dev/null: %w", err)
	}
	defer unix.Close(null)
	stderr := 2
	if l.job.Stdio != [3]int{} {
		stderr = l.job.Stdio[2]
	}
	id, err := l.sys.look(process.Spec{
		Argv: []string{"/bin/sh", "-c", command}, Env: Environ(append(l.o.Env[:len(l.o.Env):len(l.o.Env)],
			fmt.Sprintf("LIFELINE_WORKER=%d", w.id.PID))),
		Dir: l.o.Chdir, Umask: l.o.Umask, Conditions: l.o.Conditions, Stdio: [3]int{null, null, stderr}, Group: true,
		Deathsig: unix.SIGKILL,
	})
	if err != nil {
		return nil, err
	}
	k := &look{id: id, worker: w, cancel: func() { l.sys.killGroup(id.PID) }}
	l.looks = append(l.looks, k)
	return k, nil
}

// onLookEnd handles the end of a look's command.
func (l *loop) onLookEnd(e process.Exit) {
	for i, k := range l.looks {
		if k.id.PID != e.PID {
			continue
		}
		l.looks = append(l.looks[:i:i], l.looks[i+1:]...)
		if e.Code() == 0 {
			k.over(nil)
		} else {
			k.over(errors.New(process.Describe(e.Status)))
		}
		return
	}
}

// over ends the look; the result of a cancelled look is dropped.
func (k *look) over(err error) {
	k.cancel()
	if c := &k.worker.check; c.looking == k {
		c.looking = nil
		c.looked(k.worker, err)
	}
}

// looked acts on the result of a look.
func (c *check) looked(w *worker, err error) {
	l := w.l
	c.last = err
	switch {
	case w.state == starting && err == nil:
		c.due = time.Time{}
		w.word = max(w.word, saidReady)
		w.onReady()
	case w.state == starting:
		c.wait = min(max(2*c.wait, firstWait), l.o.CheckInterval)
		c.due = time.Now().Add(c.wait)
	case err == nil:
		c.failures, c.due, c.short = 0, time.Now().Add(l.o.CheckInterval), false
	case process.IsShort(err): // lifeline couldn't look, which is no failure of the worker
		if !c.short {
			l.job.Warn("--health-check cannot be run, the command goes on: %v", err)
		}
		c.due, c.short = time.Now().Add(l.o.CheckInterval), true
	default:
		c.failures++
		c.due = time.Now().Add(l.o.CheckInterval)
		if c.failures >= l.o.CheckFailures {
			w.killHung(fmt.Sprintf("the health check failed %d times in a row, at last because %v (--health-check)",
				c.failures, err))
		}
	}
}

// why returns the last failure of --ready-check, as the end of a message.
func (c *check) why() string {
	if c.last == nil {
		return ""
	}
	return fmt.Sprintf("; --ready-check: %v", c.last)
}
