package tasks

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/internal/guard"
	"lifeline/internal/identity"
	"lifeline/internal/process"
	"lifeline/procscan"
)

func signalCommand() *cli.Command {
	var o options
	var tree bool
	return &cli.Command{
		Name:  "signal",
		Usage: "send a signal to the main process, or to the whole tree",
		UsageText: "lifeline signal [--tree] NAME SIGNAL\n\n" +
			"SIGNAL is a name such as HUP, or a number. Use lifeline terminate NAME to end it for good.",
		Flags: flags(o.lookOptions(),
			[]*option{{name: "tree", to: toggle(&tree), usage: "to every process of its tree"}}),
		Action: func(c *cli.Context) error {
			if c.NArg() != 2 {
				return usage("NAME and SIGNAL are expected: lifeline signal NAME HUP")
			}
			name := c.Args().Get(0)
			if err := guard.CheckName(name); err != nil {
				return err
			}
			o.name = name
			sig, err := process.ParseSignal(c.Args().Get(1))
			if err != nil {
				return usage("%v", err)
			}
			return o.signal(c.Context, name, sig, tree)
		},
	}
}

// signal sends sig to the main process of name, or to every process of its tree.
func (o *options) signal(ctx context.Context, name string, sig unix.Signal, whole bool) error {
	// A supervisor that answers has started a worker before. The record read earlier may
	// be older than that start, so it is read once more.
	hears := false
	h, running, err := o.holder(name, func(h guard.Holder) bool {
		if h.Worker.Alive() || hears {
			return true
		}
		_, err := order(ctx, o.guard, name, "grace", time.Second)
		hears = err == nil
		return false
	})
	if err != nil {
		return err
	}
	if !running || h.Worker.Zero() || !h.Worker.Alive() {
		return &codeError{exitNotRunning, "no worker of that name runs; lifeline status " + name + " says why"}
	}
	members := []procscan.ID{h.Worker}
	if whole {
		members = process.Tree{Root: h.Worker, Marker: identity.EnvGeneration, Value: h.Generation}.Members()
	}
	for _, id := range members {
		switch err := process.Send(id, sig); {
		case errors.Is(err, unix.ESRCH) && whole: // the process has ended meanwhile
		case errors.Is(err, unix.EPERM):
			return fmt.Errorf("cannot send %s to pid %d: it runs as another user; use that user or root",
				process.SignalName(sig), id.PID)
		case err != nil:
			return fmt.Errorf("cannot send %s to pid %d: %w", process.SignalName(sig), id.PID, err)
		}
	}
	return nil
}
