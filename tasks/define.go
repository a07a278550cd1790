package tasks

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/internal/guard"
	"lifeline/lifeline"
	"lifeline/procscan"
)

// Block is the work that at most one instance of a program does at a time.
type Block func(context.Context) error

// Define returns three commands for a program's own command line, for an instance
// called name:
//
//	name:lifeline   runs block unless another instance does; cron calls this
//	name:run        runs block here and now, without the guard
//	name:terminate  ends the running instance
//
// The prerequisites run in order before block, and only when block is going to run.
// The first error is the command's. SIGTERM or SIGINT ends the context that they and
// block get. The package documentation of lifeline says what a worker of its own has
// that a block lacks.
func Define(name string, block Block, prerequisites ...Block) []*cli.Command {
	var o options
	body := func(ctx context.Context) error {
		ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		for _, p := range prerequisites {
			if err := p(ctx); err != nil {
				return err
			}
		}
		return block(ctx)
	}
	return []*cli.Command{
		{
			Name:  name + ":lifeline",
			Usage: "run " + name + " unless it runs already",
			Flags: shown(o.dirOptions()),
			Action: func(c *cli.Context) error {
				err := lifeline.Guard{Dir: o.guard.Dir, AllowNFS: o.guard.AllowNFS}.Do(c.Context, name, body)
				var held *guard.HeldError
				if errors.As(err, &held) || errors.Is(err, guard.ErrPaused) {
					return nil // silent: this is what most ticks find
				}
				return err
			},
		},
		{
			Name:   name + ":run",
			Usage:  "run " + name + " here and now, without the guard",
			Action: func(c *cli.Context) error { return body(c.Context) },
		},
		{
			Name:  name + ":terminate",
			Usage: "end the running " + name,
			Flags: shown(o.dirOptions()),
			Action: func(c *cli.Context) error {
				h, running, err := o.guard.Holder(name)
				switch {
				case err != nil:
					return err
				case !running:
					say(os.Stderr, name, "is not running")
					return nil
				case h.Worker == procscan.Self():
					return fmt.Errorf("cannot end %s from inside it", name)
				}
				return ending{signal: unix.SIGTERM, mixed: true, grace: -1}.terminate(c.Context, o.guard, name)[0].err
			},
		},
	}
}

// shown returns the options as flags for a program with urfave/cli's own help.
func shown(table []*option) []cli.Flag {
	var all []cli.Flag
	for _, o := range table {
		all = append(all, visible{o})
	}
	return all
}

type visible struct{ *option }

// String returns the option's line in urfave/cli's help.
func (v visible) String() string { return v.typed() + "\t" + v.means() }

// IsVisible makes urfave/cli's help show the option.
func (v visible) IsVisible() bool { return true }
