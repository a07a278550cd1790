package tasks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/logger"
	"lifeline/internal/process"
	"lifeline/internal/sdnotify"
	"lifeline/internal/supervisor"
	"lifeline/procscan"
)

// guarded runs `lifeline [options] NAME -- COMMAND`: a tick.
func (o *options) guarded(c *cli.Context) error {
	argv, err := o.command(commandFirst(os.Args), c.Args().Slice(), false)
	if err != nil {
		return err
	}
	if err := o.checkEffects(c); err != nil {
		return err
	}
	if err := o.checkCluster(c); err != nil {
		return err
	}
	if err := o.checkOutput(); err != nil {
		return err
	}
	if o.guard.Dir != "" { // see leave
		if o.guard.Dir, err = filepath.Abs(o.guard.Dir); err != nil {
			return fmt.Errorf("cannot tell the state directory's full path: %w", err)
		}
	}
	o.guard.Leftovers, o.guard.Warn = guard.Leftovers(o.sup.Leftovers), o.warn
	o.sup.EndOrphans = o.orphans == "terminate" || o.replace
	defer o.dismiss() // when the name is free again
	if taken, err := takenOver(); err != nil || taken != nil {
		if err != nil {
			return err
		}
		return o.goOn(c.Context, taken, argv)
	}
	if err := process.RoomForThreads(); err != nil {
		return err
	}
	louder := o.endQuietly()
	hold, err := o.acquire(c.Context)
	if err != nil {
		o.explain(err)
		o.skipped(c.Context, err)
		return err
	}
	defer hold.Release()
	o.warnOfVariables()
	if err := o.prepare(c.Context); err != nil {
		return err
	}
	louder()
	lease, err := o.join(hold)
	if err != nil {
		return err
	}
	in := hold.Inherited()
	if o.exec && in.Worker.Zero() {
		return o.become(c.Context, hold, argv)
	}
	process.ReserveThreads()
	defer hold.Keep()()
	job := o.job(hold, argv)
	if lease != nil {
		defer lease.Close()
		job.Lease, job.Become = lease, nil // the lease can't be handed to a newer lifeline
	}
	generation := in.Generation
	events, end := o.journal(hold, argv, generation)
	job.Events = events
	if err := o.attendHold(hold, &job, generation); err != nil {
		if in.Worker.Zero() {
			end()
			return err
		}
		o.warn("%v", err) // the adopted worker is supervised all the same
	}
	err = o.supervise(c.Context, job)
	end()
	o.explain(err)
	return err
}

// endQuietly has signals such as SIGABRT end a lifeline that waits for its start, without
// the trace that Go's runtime prints for them. A supervisor passes them on to the command,
// so before its start louder ends that.
func (o *options) endQuietly() (louder func()) {
	if !o.guard.Standby && o.guard.Wait == 0 && !o.replace && o.jitter == 0 && o.envFile == "" {
		return func() {}
	}
	c := make(chan os.Signal, 1)
	for _, sig := range []unix.Signal{unix.SIGQUIT, unix.SIGILL, unix.SIGTRAP, unix.SIGABRT, unix.SIGBUS, unix.SIGFPE,
		unix.SIGSEGV, unix.SIGSYS} {
		if !signal.Ignored(sig) {
			signal.Notify(c, sig)
		}
	}
	go func() {
		if sig, ok := (<-c).(unix.Signal); ok {
			os.Exit(128 + int(sig))
		}
	}()
	return func() { signal.Stop(c); close(c) }
}

// job returns what the supervisor runs under a name.
func (o *options) job(hold *guard.Hold, argv []string) supervisor.Job {
	return supervisor.Job{Options: &o.sup, Hold: hold, Argv: argv, Warn: o.warn,
		Become: func(state []byte) error {
			if o.out.client != nil {
				o.out.client.Flush(time.Second)
			}
			if o.left != "" { // relative paths on the command line start there
				if err := os.Chdir(o.left); err != nil {
					return fmt.Errorf("cannot go back to where lifeline was started: %w", err)
				}
				defer func() { _ = os.Chdir("/") }()
			}
			return becomeNewer(hold, state)
		}}
}

// goOn supervises the worker of an older lifeline, which this process has replaced.
func (o *options) goOn(ctx context.Context, taken *handedOver, argv []string) error {
	hold, err := o.guard.TakeUp(o.name, taken.Hold)
	if err != nil {
		return err
	}
	defer hold.Release()
	o.jitter = 0
	if err := o.prepare(ctx); err != nil {
		o.warn("%v", err) // the worker goes on running
	}
	defer hold.Keep()()
	job := o.job(hold, argv)
	job.Taken = taken.Loop
	events, end := o.journal(hold, argv, taken.Hold.Generation)
	job.Events = events
	defer end()
	if err := o.attendHold(hold, &job, taken.Hold.Generation); err != nil {
		o.warn("%v", err)
	}
	return o.supervise(ctx, job)
}

// supervise runs the loop. lifeline's own supervisor (systemd) gets its notify
// messages, and the worker doesn't inherit that socket.
func (o *options) supervise(ctx context.Context, job supervisor.Job) error {
	o.leave()
	above, err := sdnotify.FromEnviron()
	if err != nil {
		o.warn("cannot tell who supervises this: %v", err)
	}
	job.Above = above
	_ = above.MainPID(os.Getpid())
	return supervisor.Run(ctx, job)
}

// leave moves the supervisor to /, so that its working directory can be unmounted.
// The command still starts in that directory. The supervisor stays where it can't
// enter the directory again, and with --cluster, whose files may be relative to it.
func (o *options) leave() {
	dir, err := os.Getwd()
	if err != nil || dir == "/" || o.cluster.URL != "" || os.Chdir(dir) != nil || os.Chdir("/") != nil {
		return
	}
	o.left = dir
	for _, path := range []*string{&o.sup.Chdir, &o.sup.ReloadOnChange} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(dir, *path)
		}
	}
	if o.sup.Chdir == "" {
		o.sup.Chdir = dir
	}
}

// prepare does what a start needs, once it is certain that the worker will be started.
func (o *options) prepare(ctx context.Context) error {
	if o.envFile != "" {
		vars, err := readEnvFile(o.envFile)
		if err != nil {
			return err
		}
		o.sup.Env = append(vars, o.sup.Env...)
	}
	env, err := process.SetUser(&o.sup.Conditions, o.user, o.group)
	if err != nil {
		return usage("--user, --group: %v", err)
	}
	o.sup.Env = append(env, o.sup.Env...)
	if file := o.sup.ReloadOnChange; file != "" {
		if _, err := os.Stat(file); err != nil {
			return fmt.Errorf("cannot watch for a change (--reload-on-change): %w", err)
		}
	}
	if d := jitterOf(o.jitter, o.name); d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// explain says who holds the name, for --verbose.
func (o *options) explain(err error) {
	if !o.verbose {
		return
	}
	var held *guard.HeldError
	switch {
	case errors.As(err, &held):
		o.warn("runs already: %s", held.Holder)
	case errors.Is(err, guard.ErrPaused):
		o.warn("paused; lifeline resume %s ends that", o.name)
	}
}

// acquire takes the name. With --replace it queues for the lock while it ends the
// running instance, so that no tick gets in between.
func (o *options) acquire(ctx context.Context) (*guard.Hold, error) {
	hold, err := o.guard.Acquire(ctx, o.name)
	if !o.replace || !errors.Is(err, guard.ErrHeld) {
		return hold, err
	}
	type result struct {
		hold *guard.Hold
		err  error
	}
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	queued := make(chan result, 1)
	go func() {
		g := o.guard
		g.Standby = true
		hold, err := g.Acquire(waiting, o.name)
		queued <- result{hold, err}
	}()
	if err := o.ending().terminate(ctx, o.guard, o.name)[0].err; err != nil {
		cancel()
		if r := <-queued; r.err == nil {
			r.hold.Release()
		}
		return nil, fmt.Errorf("cannot end the running instance: %w", err)
	}
	select {
	case r := <-queued:
		return r.hold, r.err
	case <-time.After(5 * time.Second): // another process was first in the queue, and runs now
		cancel()
		r := <-queued
		return r.hold, r.err
	}
}

// ending returns how the options end an instance.
func (o *options) ending() ending {
	return ending{signal: stopSignal(o.sup.StopSignal), mixed: o.sup.KillMode != supervisor.ControlGroup,
		grace: o.sup.KillAfter}
}

// become replaces lifeline by the command (--exec), which keeps the name.
func (o *options) become(ctx context.Context, hold *guard.Hold, argv []string) error {
	endLeft := func(left []procscan.ID) error {
		if len(left) == 0 {
			return nil
		}
		if err := (process.Tree{Also: left}).End(ctx, stopSignal(o.sup.StopSignal), o.sup.KillAfter,
			o.ending().mixed); err != nil {
			return fmt.Errorf("cannot end what the last run left behind: %w", err)
		}
		return nil
	}
	if err := endLeft(hold.Inherited().Leftovers); err != nil {
		return err
	}
	job := supervisor.Job{Argv: argv}
	if err := o.attendHold(hold, &job, ""); err != nil {
		return err
	}
	if c := o.out.client; c != nil {
		c.Flush(time.Second) // then the logger reads until the last writer has ended
	}
	generation := guard.NewGeneration()
	launch := func() error {
		_, err := hold.Launch(ctx, generation, func() (procscan.ID, error) {
			self := procscan.Self()
			hold.SetWorker(generation, self)
			defer hold.Ended() // reached only if the execve fails
			return self, process.Become(process.Spec{
				Argv: argv, Env: append(hold.Environ(generation), supervisor.Environ(o.sup.Env)...),
				Dir: o.sup.Chdir, Umask: o.sup.Umask, Conditions: o.sup.Conditions,
				Run: hold.RunFile(), Stdio: job.Stdio,
			})
		})
		return err
	}
	err := launch()
	var orphan *guard.OrphanError
	if errors.As(err, &orphan) && orphan.Worker.Zero() {
		if err := endLeft(orphan.Leftovers); err != nil {
			return err
		}
		orphan, err = nil, launch()
	}
	if errors.As(err, &orphan) { // a tick without --exec adopts it
		return &guard.HeldError{Name: o.name,
			Holder: guard.Holder{Worker: orphan.Worker, Generation: orphan.Generation}}
	}
	return err
}

func runCommand(argv []string) *cli.Command {
	var o options
	table := o.workerOptions()
	own := append(slices.Clone(table), crontabOption(&o.crontab))
	return &cli.Command{
		Name:  "run",
		Usage: "run it here and now, without the guard",
		UsageText: "lifeline run [options] NAME [-- COMMAND...]\n\nWithout COMMAND it takes the one from NAME's " +
			"crontab line.",
		Flags: flags(own),
		Action: func(c *cli.Context) error {
			o.own = own
			command, err := o.command(argv, c.Args().Slice(), true)
			if err != nil {
				return err
			}
			if command == nil {
				typed := words(argv[2:len(argv)-c.NArg()], own)
				whole, err := o.fromCrontab(c.Context, o.name, typed, table)
				if err != nil {
					return err
				}
				return newApp(new(options), whole).RunContext(c.Context, whole)
			}
			if err := o.checkEffects(c); err != nil {
				return err
			}
			if err := o.checkOutput(); err != nil {
				return err
			}
			o.warnOfOthers(c.Context)
			if err := o.prepare(c.Context); err != nil {
				return err
			}
			job := supervisor.Job{Options: &o.sup, Hold: supervisor.Unguarded{}, Argv: command, Warn: o.warn}
			if err := o.attend(logger.Place{}, &job, ""); err != nil {
				return err
			}
			defer o.dismiss()
			return o.supervise(c.Context, job)
		},
	}
}

// warnOfOthers warns of an instance that runs, or that cron will start, beside a run
// without the guard.
func (o *options) warnOfOthers(ctx context.Context) {
	others := *o
	others.followLine(ctx, o.name)
	if pid := others.running(o.name); pid > 0 {
		o.warn("runs already, pid %d, and this one is started beside it, because run has no guard; lifeline "+
			"terminate %s ends the other", pid, o.name)
		return
	}
	lines := linesOf(o.scheduled(ctx), o.name)
	if _, paused, _ := others.guard.PausedUntil(o.name); len(lines) == 0 || paused {
		return
	}
	when := "by " + lines[0].Schedule
	for _, line := range lines {
		if next := nextStart(line); !next.IsZero() {
			when = "at " + human.ShortTime(next)
		}
	}
	o.warn("cron starts it, too, %s, beside this one, because run has no guard; lifeline pause --for 1h %s keeps "+
		"that away, and lifeline start%s %s starts it under the guard", when, o.name, o.inFile(), o.name)
}

func stopSignal(s process.Signal) unix.Signal {
	if s == 0 {
		return unix.SIGTERM
	}
	return unix.Signal(s)
}
