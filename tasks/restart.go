package tasks

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/internal/doctor"
	"lifeline/internal/guard"
	"lifeline/internal/journal"
)

func restartCommand() *cli.Command {
	var o options
	return &cli.Command{
		Name:      "restart",
		Usage:     "end the worker and start it again, keeping the name",
		UsageText: "lifeline restart NAME\n\nWhere NAME's crontab line has another command or other options by now, it ends the\ninstance and starts that line, as cron would.",
		Flags:     flags(o.lookOptions()),
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

// takeNewLine restarts what runs as name's crontab line has it now; false where the
// line is what runs, or that can't be told.
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
	state, err := journal.ReadState(path)
	if err != nil {
		return false, nil
	}
	have, want := doctor.Differs(line, start.Command, h, state)
	if have == "" {
		return false, nil
	}
	if _, paused, _ := o.guard.PausedUntil(name); paused {
		return true, usage("%s: cannot restart it as the crontab has it now: it is paused; lifeline resume %s, then lifeline restart %s", name, name, name)
	}
	if end := (ending{signal: unix.SIGTERM, mixed: true, grace: -1}).terminate(ctx, o.guard, name)[0]; end.err != nil {
		return true, end.err
	}
	fmt.Fprintf(os.Stdout, "%s: ended; it ran %s, and the crontab has %s now\n", name, have, want)
	return true, o.start(ctx, name, line)
}

func reloadCommand() *cli.Command {
	var o options
	var self bool
	return &cli.Command{
		Name:      "reload",
		Usage:     "start the new code beside the old, then let it take over",
		UsageText: "lifeline reload NAME\n\nThe same as SIGUSR2 to lifeline, but it waits and says how it went. When the new\none is no good, the old one goes on, and the exit code is 1. With --self a newer\nlifeline takes over in place: same pid, same worker, nothing is ended.",
		Flags:     flags(o.lookOptions(), []*option{{name: "self", to: toggle(&self), usage: "replace lifeline itself by the program now on disk"}}),
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

// firstMoments is how long a supervisor may take until it can be spoken to.
const firstMoments = 5 * time.Second

// holder tells who has the name. One that has only just taken it hasn't written
// down yet what the caller needs to know: see enough.
func (o *options) holder(name string, enough func(guard.Holder) bool) (h guard.Holder, running bool, err error) {
	for deadline := time.Now().Add(firstMoments); ; time.Sleep(10 * time.Millisecond) {
		h, running, err = o.guard.Holder(name)
		if err != nil || !running || enough(h) || time.Now().After(deadline) {
			return h, running, err
		}
	}
}

// ask has the supervisor of name do something and gives its answer.
func (o *options) ask(ctx context.Context, name, verb string) (string, error) {
	h, running, err := o.holder(name, func(h guard.Holder) bool { return h.Supervisor.Alive() || h.Worker.Alive() })
	if err != nil {
		return "", err
	}
	if !running {
		return "", &codeError{exitNotRunning, name + ": is not running; the next tick starts it, or lifeline run"}
	}
	path, err := o.guard.Control(name)
	if err != nil {
		return "", err
	}
	var conn net.Conn
	for deadline := time.Now().Add(firstMoments); ; time.Sleep(10 * time.Millisecond) {
		if conn, err = new(net.Dialer).DialContext(ctx, "unix", path); err == nil {
			break
		}
		why := "its supervisor doesn't answer"
		if h.Supervisor == h.Worker || !h.Supervisor.Alive() {
			why = "it has no supervisor (--exec, or one that was killed)"
		} else if time.Now().Before(deadline) {
			continue // it has only just started the worker, most likely
		}
		return "", fmt.Errorf("%s: cannot %s it: %s; lifeline terminate %s ends it, and the next tick starts it again", name, verb, why, name)
	}
	defer conn.Close()
	if _, err := fmt.Fprintln(conn, verb); err != nil {
		return "", fmt.Errorf("%s: cannot ask its supervisor: %w", name, err)
	}
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "", fmt.Errorf("%s: its supervisor went away without an answer", name)
	}
	line = strings.TrimSpace(line)
	if rest, ok := strings.CutPrefix(line, "ok"); ok {
		return strings.TrimSpace(rest), nil
	}
	return "", &codeError{1, name + ": " + strings.TrimSpace(strings.TrimPrefix(line, "error"))}
}
