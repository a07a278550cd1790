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

	"lifeline/internal/guard"
	"lifeline/internal/identity"
	"lifeline/internal/process"
	"lifeline/procscan"
)

func terminateCommand() *cli.Command {
	var o options
	return &cli.Command{
		Name:      "terminate",
		Usage:     "end it, the whole process tree",
		UsageText: "lifeline terminate [options] NAME...\n\nCron starts it again at the next tick: lifeline pause NAME keeps it down.",
		Flags: append(o.dirFlags(),
			&cli.GenericFlag{Name: "stop-signal", EnvVars: env("stop-signal"), Value: signalOf(&o.sup.StopSignal), Usage: "for what has no supervisor to ask", DefaultText: "TERM"},
			&cli.DurationFlag{Name: "kill-after", EnvVars: env("kill-after"), Value: 10 * time.Second, Destination: &o.sup.KillAfter, Action: notNegative("kill-after"),
				Usage: "kill what is left after so `long`"}),
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
			var failed []error
			for i, e := range terminate(c.Context, o.guard, stopSignal(o.sup.StopSignal), o.sup.KillAfter, names...) {
				switch {
				case e.err != nil:
					failed = append(failed, fmt.Errorf("%s: %w", names[i], e.err))
				case !e.was:
					say(os.Stderr, names[i], "is not running")
				}
			}
			if len(failed) > 0 {
				return errors.Join(failed...)
			}
			return nil
		},
	}
}

// ending is how the end of one name went.
type ending struct {
	was bool // something of it ran
	err error
}

// terminate ends the running instances of the names, side by side, and returns
// when their whole trees are gone. A supervisor is asked, because it knows best;
// what it doesn't do within grace is done here.
func terminate(ctx context.Context, g guard.Guard, sig unix.Signal, grace time.Duration, names ...string) []ending {
	ends := make([]ending, len(names))
	// One that is being adopted, or that hides until its supervisor is gone, is
	// found by the next census.
	for range 3 {
		list, err := g.Look(names...)
		if list == nil && err != nil {
			for i := range ends {
				ends[i].err = err
			}
			return ends
		}
		alive := false
		var all sync.WaitGroup
		for i, in := range list {
			if !in.Alive() || ends[i].err != nil {
				continue
			}
			alive, ends[i].was = true, true
			all.Go(func() { ends[i].err = end(ctx, in, sig, grace) })
		}
		if all.Wait(); !alive {
			break
		}
	}
	return ends
}

// end ends one instance.
func end(ctx context.Context, in guard.Instance, sig unix.Signal, grace time.Duration) error {
	tree := process.Tree{Root: in.Worker, Marker: identity.EnvGeneration, Value: in.Generation}
	for _, p := range in.Tree {
		tree.Also = append(tree.Also, p.ID)
	}
	sup := in.Supervisor
	if sup == in.Worker || !sup.Alive() || sup == procscan.Self() || slices.Contains(tree.Also, sup) {
		sup = procscan.ID{} // it is the instance itself
	}
	if !sup.Zero() {
		process.Send(sup, unix.SIGTERM)
		process.Send(sup, unix.SIGCONT)
		if process.WaitGone(ctx, sup, grace) != nil {
			// Its second signal means "at once".
			process.Send(sup, unix.SIGTERM)
			_ = process.WaitGone(ctx, sup, 500*time.Millisecond)
		}
		if !slices.ContainsFunc(tree.Also, procscan.ID.Alive) && !sup.Alive() {
			return nil // the supervisor has seen to it
		}
		grace, sig = 0, unix.SIGKILL
		tree.Above = sup
	}
	ctx, cancel := context.WithTimeout(ctx, grace+30*time.Second)
	defer cancel()
	if sup.Alive() { // it hangs: nothing may be started by it any more
		process.Send(sup, unix.SIGKILL)
		_ = process.WaitGone(ctx, sup, 5*time.Second)
	}
	if err := tree.End(ctx, sig, grace); err != nil {
		return fmt.Errorf("cannot end it: %w", err)
	}
	return nil
}
