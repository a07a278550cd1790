package tasks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/install"
	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/identity"
	"lifeline/internal/process"
	"lifeline/internal/supervisor"
	"lifeline/procscan"
)

func terminateCommand() *cli.Command {
	var o options
	var now bool
	return &cli.Command{
		Name:  "terminate",
		Usage: "end it, the whole process tree",
		UsageText: "lifeline terminate [options] NAME...\n\nCron starts it again at the next tick: lifeline pause " +
			"NAME keeps it down.",
		Flags: flags(o.lookOptions(), []*option{
			{name: "now", to: toggle(&now), usage: "send SIGKILL at once"},
			{name: "kill-mode", value: "MODE", preset: "mixed",
				to:    oneOf(&o.sup.KillMode, string(supervisor.Mixed), string(supervisor.ControlGroup)),
				usage: "for processes without a supervisor"},
			{name: "stop-signal", value: "SIGNAL", to: &o.sup.StopSignal, preset: "TERM",
				usage: "for processes without a supervisor"},
			{name: "kill-after", value: "TIME", to: duration(&o.sup.KillAfter, 0), preset: "its own --kill-after",
				usage: "send SIGKILL after TIME to what is left"}}),
		Action: func(c *cli.Context) error {
			names := c.Args().Slice()
			if len(names) == 0 {
				return usage("NAME is missing: lifeline terminate NAME...")
			}
			for _, name := range names {
				if err := guard.CheckName(name); err != nil {
					return err
				}
			}
			if now && c.IsSet("kill-after") {
				return usage("--kill-after %s has no effect with --now", o.sup.KillAfter)
			}
			e := ending{signal: stopSignal(o.sup.StopSignal),
				mixed: o.sup.KillMode != supervisor.ControlGroup, now: now,
				grace: -1}
			if c.IsSet("kill-after") {
				e.grace = o.sup.KillAfter
			}
			var failed []error
			lines := o.scheduled(c.Context)
			for i, e := range o.terminateAll(c.Context, e, lines, names) {
				switch {
				case e.err != nil:
					failed = append(failed, fmt.Errorf("%s: %w", names[i], e.err))
				case !e.was:
					text := "is not running"
					if strange := o.unknownName(c.Context, names[i]); strange != "" {
						text += "; " + strange
					}
					say(os.Stderr, names[i], text)
				default:
					fmt.Fprintf(c.App.Writer, "%s: ended%s\n", names[i],
						o.comesBack(names[i], linesOf(lines, names[i])))
				}
			}
			if len(failed) > 0 {
				return errors.Join(failed...)
			}
			return nil
		},
	}
}

// terminateAll ends the names together. Names whose crontab line sets a state
// directory are ended one by one.
func (o *options) terminateAll(ctx context.Context, e ending, lines []install.Line, names []string) []ended {
	ends := make([]ended, len(names))
	var here []string
	var at []int
	for i, name := range names {
		if theirs, ok := o.ofLine(lines, name); ok {
			ends[i] = e.terminate(ctx, theirs.guard, name)[0]
			continue
		}
		here, at = append(here, name), append(at, i)
	}
	if len(here) > 0 {
		for i, end := range e.terminate(ctx, o.guard, here...) {
			ends[at[i]] = end
		}
	}
	return ends
}

// comesBack says when cron starts the name again.
func (o *options) comesBack(name string, lines []install.Line) string {
	if theirs, ok := o.ofLine(lines, name); ok {
		o = theirs
	}
	if until, paused, _ := o.guard.PausedUntil(name); paused && until.IsZero() {
		return "; it is paused: lifeline resume " + name
	} else if paused {
		return "; it is paused until " + human.ShortTime(until)
	}
	var next time.Time
	for _, l := range lines {
		if at := nextStart(l); !at.IsZero() && (next.IsZero() || at.Before(next)) {
			next = at
		}
	}
	if next.IsZero() {
		return ""
	}
	return fmt.Sprintf("; cron starts it again at %s (lifeline pause %s keeps it down)", human.ShortTime(next), name)
}

// ending says how to end an instance.
type ending struct {
	signal unix.Signal
	mixed  bool          // stop the main process first: see process.Tree.End
	grace  time.Duration // from the signal to SIGKILL; negative for the supervisor's own
	now    bool          // kill it without asking
}

// standardGrace is --kill-after where it isn't given.
const standardGrace = 10 * time.Second

// ended is the result of ending a name.
type ended struct {
	was bool // an instance of the name ran
	err error
}

// terminate ends the running instances of the names concurrently, and returns when
// their whole trees have ended.
func (e ending) terminate(ctx context.Context, g guard.Guard, names ...string) []ended {
	ends := make([]ended, len(names))
	var first []guard.Instance
	// A worker that is being adopted, or hidden by its supervisor, shows in the next
	// census. An instance that was started since is left alone.
	for n := range 3 {
		list, err := g.Look(names...)
		if list == nil && err != nil {
			for i := range ends {
				ends[i].err = err
			}
			return ends
		}
		if n == 0 {
			first = list
		}
		alive := false
		var all sync.WaitGroup
		for i, in := range list {
			if !in.Alive() || ends[i].err != nil || n > 0 && isNew(in, first[i]) {
				continue
			}
			alive, ends[i].was = true, true
			all.Go(func() { ends[i].err = e.end(ctx, g, in) })
		}
		if all.Wait(); !alive {
			break
		}
	}
	return ends
}

// isNew reports whether in was started after this process, and isn't the instance of
// the first census. Its supervisor may be older, if it stood by for the name. A worker
// that a tick's short lock had hidden has an older process, so it isn't new.
func isNew(in, first guard.Instance) bool {
	if in.Generation == first.Generation && (!in.Worker.Zero() || in.Supervisor == first.Supervisor) {
		return false
	}
	self := procscan.Self()
	return !slices.ContainsFunc(in.Tree, func(p procscan.Process) bool { return p.Older(self) })
}

// end ends one instance. It asks the supervisor first, and itself ends the processes
// that the supervisor leaves.
func (e ending) end(ctx context.Context, g guard.Guard, in guard.Instance) error {
	tree := process.Tree{Root: in.Worker, Marker: identity.EnvGeneration, Value: in.Generation}
	for _, p := range in.Tree {
		tree.Also = append(tree.Also, p.ID)
	}
	sup := in.Supervisor
	if sup == in.Worker || !sup.Alive() || sup == procscan.Self() || slices.Contains(tree.Also, sup) {
		sup = procscan.ID{} // the supervisor is part of the instance's tree
	}
	grace, sig := e.grace, e.signal
	if grace < 0 {
		grace = standardGrace
	}
	if e.now {
		grace, sig = 0, unix.SIGKILL
	}
	if !sup.Zero() {
		if e.grace < 0 && !e.now {
			grace = supervisorGrace(ctx, g, in.Name)
		}
		if err := e.endSupervisor(ctx, g, in.Name, sup, grace); err != nil {
			return err
		}
		if !sup.Alive() && !slices.ContainsFunc(tree.Also, procscan.ID.Alive) {
			return nil // the supervisor has ended the tree
		}
		tree.Above = sup
		grace, sig = 0, unix.SIGKILL
	}
	ctx, cancel := context.WithTimeout(ctx, grace+30*time.Second)
	defer cancel()
	if sup.Alive() { // the supervisor hangs, and must not start a worker again
		_ = process.Send(sup, unix.SIGKILL)
		_ = process.WaitGone(ctx, sup, 5*time.Second)
	}
	if err := tree.End(ctx, sig, grace, e.mixed); err != nil {
		return fmt.Errorf("cannot end it: %w", err)
	}
	return nil
}

// killMargin is what a supervisor may take beyond its grace to kill a tree.
const killMargin = 2 * time.Second

// endSupervisor asks the supervisor to end its worker, and waits for the supervisor's
// end.
func (e ending) endSupervisor(ctx context.Context, g guard.Guard, name string, sup procscan.ID,
	grace time.Duration) error {
	if e.now {
		if _, err := order(ctx, g, name, "kill", time.Second); err == nil {
			_ = process.WaitGone(ctx, sup, killMargin)
		}
		return nil // the caller kills a supervisor that is left
	}
	if err := process.Send(sup, unix.SIGTERM); errors.Is(err, unix.EPERM) {
		return fmt.Errorf("cannot end it: pid %d, its supervisor, runs as another user; run lifeline terminate %s as "+
			"that user or as root", sup.PID, name)
	}
	_ = process.Send(sup, unix.SIGCONT)
	wait := grace
	if e.grace < 0 {
		wait += killMargin // the supervisor then kills its worker itself
	}
	if process.WaitGone(ctx, sup, wait) == nil {
		return nil
	}
	if _, err := order(ctx, g, name, "kill", time.Second); err == nil {
		_ = process.WaitGone(ctx, sup, killMargin)
	}
	return nil
}

// supervisorGrace returns the --kill-after of name's supervisor; standardGrace if the
// supervisor doesn't answer.
func supervisorGrace(ctx context.Context, g guard.Guard, name string) time.Duration {
	text, err := order(ctx, g, name, "grace", time.Second)
	if grace, parseErr := time.ParseDuration(text); err == nil && parseErr == nil {
		return grace
	}
	return standardGrace
}
