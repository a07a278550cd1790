package tasks

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/internal/guard"
)

func pauseCommand() *cli.Command {
	var o options
	var length time.Duration
	return &cli.Command{
		Name:  "pause",
		Usage: "keep it down (cron would bring it back)",
		UsageText: "lifeline pause NAME [--for 30m]\n\nIt doesn't end what runs: lifeline terminate NAME does. A " +
			"node that stands by for\nNAME in a cluster no longer does.",
		Flags: flags(o.lookOptions(), []*option{{name: "for", value: "TIME",
			to:     duration(&length, 0).atLeast(time.Millisecond),
			preset: "until lifeline resume NAME", usage: "resume after TIME"}}),
		Action: func(c *cli.Context) error {
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			var until time.Time
			if length > 0 {
				until = time.Now().Add(length)
			}
			strange := o.unknownName(c.Context, name)
			if err := o.guard.Pause(name, until); err != nil {
				return err
			}
			text := "paused"
			if length > 0 {
				text += " until " + until.Format(time.DateTime)
			}
			if told := o.tellOfPause(c.Context, name); told != "" {
				text += "; " + told
			} else if _, running, err := o.guard.Holder(name); err == nil && running {
				text += fmt.Sprintf("; it still runs: lifeline terminate %s ends it", name)
			}
			if strange != "" {
				text += "; " + strange + " (lifeline resume " + name + " takes the pause back)"
			}
			fmt.Fprintf(os.Stdout, "%s: %s\n", name, text)
			return nil
		},
	}
}

// tellOfPause tells the supervisor of name about the pause, and returns its answer;
// "" without an answer.
func (o *options) tellOfPause(ctx context.Context, name string) string {
	said, err := order(ctx, o.guard, name, "pause", 2*time.Second)
	if err != nil {
		return "" // a new standby looks for the pause itself
	}
	return said
}

func resumeCommand() *cli.Command {
	var o options
	return &cli.Command{
		Name:      "resume",
		Usage:     "end a pause",
		UsageText: "lifeline resume NAME",
		Flags:     flags(o.lookOptions()),
		Action: func(c *cli.Context) error {
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			was, err := o.guard.Resume(name)
			if err != nil {
				return err
			}
			if was {
				fmt.Fprintf(os.Stdout, "%s: resumed; the next tick starts it\n", name)
			} else {
				text := "was not paused"
				if strange := o.unknownName(c.Context, name); strange != "" {
					text += "; " + strange
				}
				fmt.Fprintf(os.Stdout, "%s: %s\n", name, text)
			}
			return nil
		},
	}
}

// oneName returns the only argument, a valid NAME.
func (o *options) oneName(c *cli.Context) (string, error) {
	args := c.Args().Slice()
	if len(args) == 0 {
		return "", usage("NAME is missing: lifeline %s NAME", c.Command.Name)
	}
	name := args[0]
	if err := guard.CheckName(name); err != nil {
		return "", err
	}
	o.name = name
	if len(args) > 1 {
		return "", usage("%s: cannot understand %q after the name: it takes one, lifeline %s %s", name, args[1],
			c.Command.Name, name)
	}
	if find(optionsOf(c.Command.Flags), "dir") != nil {
		o.followLine(c.Context, name)
	}
	return name, nil
}
