package tasks

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/internal/guard"
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
			for _, name := range names {
				o.name = name
				was, err := terminate(c.Context, o.guard, name, stopSignal(o.sup.StopSignal), o.sup.KillAfter)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				if !was {
					say(os.Stderr, name, "is not running")
				}
			}
			return nil
		},
	}
}

// terminate ends the running instance of name and returns when its whole tree
// is gone. The supervisor is asked, because it knows best; what it doesn't do
// within grace is done here.
func terminate(ctx context.Context, g guard.Guard, name string, sig unix.Signal, grace time.Duration) (was bool, err error) {
	h, running, err := g.Holder(name)
	if err != nil {
		return false, err
	}
	all, above := g.Everything(name)
	if !running && len(all) == 0 {
		return false, nil
	}
	tree := process.Tree{Root: h.Worker, Marker: guard.EnvID, Value: h.Generation}
	sup := h.Supervisor
	if !sup.Alive() && len(above) > 0 {
		sup = above[0]
	}
	if sup == h.Worker || !sup.Alive() || sup == procscan.Self() || slices.Contains(all, sup) {
		sup = procscan.ID{} // it is the instance itself
	}
	tree.Above = sup
	// What hides best shows itself while its parents still live.
	tree.Also = append(all, tree.Members()...)
	if !sup.Zero() {
		process.Send(sup, unix.SIGTERM)
		process.Send(sup, unix.SIGCONT)
		if process.WaitGone(ctx, sup, grace) != nil {
			// Its second signal means "at once".
			process.Send(sup, unix.SIGTERM)
			_ = process.WaitGone(ctx, sup, 500*time.Millisecond)
		}
		grace, sig = 0, unix.SIGKILL
	}
	ctx, cancel := context.WithTimeout(ctx, grace+30*time.Second)
	defer cancel()
	if sup.Alive() { // it hangs: nothing may be started by it any more
		process.Send(sup, unix.SIGKILL)
		_ = process.WaitGone(ctx, sup, 5*time.Second)
	}
	if err := tree.End(ctx, sig, grace); err != nil {
		return true, fmt.Errorf("cannot end it: %w", err)
	}
	return true, nil
}
