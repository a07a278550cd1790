package tasks

import (
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/internal/logger/output"
)

func logsCommand() *cli.Command {
	var o options
	var follow bool
	var lines int
	return &cli.Command{
		Name:  "logs",
		Usage: "show what it printed (--log)",
		UsageText: "lifeline logs [-f] [-n LINES] NAME\n\nThe log that NAME writes or wrote, from older files too; " +
			"-f goes on with what\ncomes, through rotations.",
		Flags: flags(o.lookOptions(), []*option{
			{name: "follow", short: "f", to: toggle(&follow), usage: "go on with new lines, until Ctrl-C"},
			{name: "lines", short: "n", value: "N", to: number(&lines, 20), usage: "show the last N lines"}}),
		Action: func(c *cli.Context) error {
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			if lines < 0 {
				return usage("--lines %d: it can't be negative", lines)
			}
			path, err := o.logOf(c, name)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(c.Context, unix.SIGINT, unix.SIGTERM)
			defer stop()
			return output.Show(ctx, os.Stdout, path, lines, follow)
		},
	}
}

// logOf returns the path of a name's log: the log written last, else that of the
// crontab line.
func (o *options) logOf(c *cli.Context, name string) (string, error) {
	path, err := o.guard.Log(name)
	if err != nil || path != "" {
		return path, err
	}
	none := &codeError{exitNotRunning,
		name + ": has no log: it hasn't been started with --log FILE, and without that " +
			"its output goes where lifeline's own goes (under cron, into a mail)"}
	line, err := o.crontabLine(c.Context, name)
	if err != nil {
		if strange := o.unknownName(c.Context, name); strange != "" {
			none.text = name + ": has no log: " + strange
		}
		return "", none
	}
	var all options
	for _, w := range words(line.Options, all.table()) {
		if w.option != "log" {
			continue
		}
		value := w.text[len(w.text)-1]
		if len(w.text) == 1 {
			_, value, _ = strings.Cut(value, "=")
		}
		path = value
	}
	if path == "" {
		return "", none
	}
	if home, err := os.UserHomeDir(); err == nil && !filepath.IsAbs(path) {
		path = filepath.Join(home, path) // cron starts commands there
	}
	return path, nil
}
