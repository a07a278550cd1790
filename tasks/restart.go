package tasks

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/internal/doctor"
	"lifeline/internal/journal"
)

func restartCommand() *cli.Command {
	var o options
	return &cli.Command{
		Name:  "restart",
		Usage: "end the worker and start it again, keeping the name",
		UsageText: "lifeline restart NAME\n\nWhere NAME's crontab line has another command or other options by now, " +
			"it ends the\ninstance and starts that line, as cron would.",
		Flags: flags(o.lookOptions()),
		Action: func(c *cli.Context) error {
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			if taken, err := o.takeNewLine(c.Context, name); taken || err != nil {
				return err
			}
			began := time.Now()
			answer, err := o.ask(c.Context, name, "restart")
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stdout, "%s: restarted in %s, %s\n", name, time.Since(began).Round(time.Millisecond), answer)
			return nil
		},
	}
}

// takeNewLine ends the instance and starts name's crontab line, where the line has
// changed or no supervisor could restart it. It returns false otherwise, or if that is
// unknown.
func (o *options) takeNewLine(ctx context.Context, name string) (taken bool, err error) {
	line, err := o.crontabLine(ctx, name)
	if err != nil || line.User != "" && line.User != userName() {
		return false, nil
	}
	start, err := understand(line)
	if err != nil {
		return false, nil
	}
	mine, _, _ := o.guard.Directory()
	if theirs, _, _ := start.Guard.Directory(); theirs != mine {
		return false, nil // another instance of this name
	}
	h, running, err := o.guard.Holder(name)
	path, _, pathErr := o.guard.Journal(name)
	if err != nil || pathErr != nil || !running {
		return false, nil
	}
	state, _ := journal.ReadState(path) // --exec has none
	what := ""
	if have, want := doctor.Differs(line, start.Command, h, state); have != "" {
		what = fmt.Sprintf("it ran %s, and the crontab has %s now", have, want)
	} else if h.Supervisor == h.Worker || !h.Supervisor.Alive() {
		what = "it had no supervisor that could restart it (--exec, or one that was killed)"
	} else {
		return false, nil
	}
	if _, paused, _ := o.guard.PausedUntil(name); paused {
		return true, usage("%s: cannot restart it as the crontab has it now: it is paused; lifeline resume %s, then "+
			"lifeline restart %s", name, name, name)
	}
	if wrong := o.wrongOfLine(ctx, "command", "lifeline", "log"); len(wrong) > 0 {
		return true, &codeError{1, fmt.Sprintf("%s: cannot restart it as the crontab has it now, so "+
			"the old one goes on: %s",
			name, wrong[0])}
	}
	if end := (ending{signal: unix.SIGTERM, mixed: true, grace: -1}).terminate(ctx, o.guard, name)[0]; end.err != nil {
		return true, end.err
	}
	fmt.Fprintf(os.Stdout, "%s: ended; %s\n", name, what)
	return true, o.start(ctx, name, line)
}

func reloadCommand() *cli.Command {
	var o options
	var self bool
	return &cli.Command{
		Name:  "reload",
		Usage: "start the new code beside the old, then let it take over",
		UsageText: "lifeline reload NAME\n\nThe same as SIGUSR2 to lifeline, but it waits and says how it went. When " +
			"the new\none is no good, the old one goes on, and the exit code is 1. With --self a newer\nlifeline " +
			"takes over in place: same pid, same worker, nothing is ended.",
		Flags: flags(o.lookOptions(), []*option{{name: "self", to: toggle(&self),
			usage: "replace lifeline itself by the program now on disk"}}),
		Action: func(c *cli.Context) error {
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			verb := "reload"
			if self {
				verb = "self"
			}
			answer, err := o.ask(c.Context, name, verb)
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stdout, "%s: reloaded, %s\n", name, answer)
			return nil
		},
	}
}
