package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/internal/doctor"
	"lifeline/internal/guard"
)

func statusCommand() *cli.Command {
	var o options
	var asJSON, watch, cluster, nodes, all bool
	return &cli.Command{
		Name:  "status",
		Usage: "what runs, since when, and how it stands",
		UsageText: "lifeline status [options] [NAME...]\n\nWithout NAME: all that are known here. With it, the exit " +
			"code tells: 0 they\nrun, 3 one doesn't, 4 that can't be told.",
		Flags: flags(o.lookOptions(), []*option{
			{name: "json", to: toggle(&asJSON), usage: "print one JSON array, of a stable schema"}},
			o.clusterToggles(&cluster, "show all nodes of the cluster: who holds the name, who stands by"), []*option{
				{name: "all-users", to: toggle(&all), noEnv: true, usage: "show the names of every user; for root"},
				{name: "nodes", to: toggle(&nodes), noEnv: true,
					usage: "with --cluster: a line for each node, with its clock, and what it holds"},
				{name: "watch", short: "w", to: toggle(&watch), usage: "show it again every second, until Ctrl-C"}}),
		Action: func(c *cli.Context) error {
			names := c.Args().Slice()
			if cluster && all {
				return usage("--all-users and --cluster don't go together: leave one out")
			}
			if cluster {
				if watch {
					return usage("--cluster and --watch don't go together")
				}
				return o.clusterStatus(names, asJSON, nodes)
			}
			if err := o.noCluster(); err != nil {
				return err
			}
			if nodes {
				return usage("--nodes is for a cluster: give --cluster, too")
			}
			stand := o.stand
			if all {
				stand = o.standOfAll
			}
			for _, name := range names {
				if err := guard.CheckName(name); err != nil {
					return err
				}
			}
			if !watch {
				return o.status(c.Context, os.Stdout, stand, names, asJSON, colours(os.Stdout))
			}
			if asJSON {
				return usage("--json and --watch don't go together")
			}
			return o.watch(c.Context, stand, names)
		},
	}
}

// lookup returns the status of the names, or of all known names if none is given.
type lookup func(ctx context.Context, names []string) ([]instanceStatus, error)

// status prints the table or the JSON once. Its error carries the exit code.
func (o *options) status(ctx context.Context, out io.Writer, look lookup, names []string, asJSON, colour bool) error {
	list, err := look(ctx, names)
	var wrong *usageError
	if errors.As(err, &wrong) {
		return err
	}
	if err != nil {
		return &codeError{4, "cannot tell what runs: " + err.Error()}
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if list == nil {
			list = []instanceStatus{}
		}
		o.findOverdue(ctx, list)
		if err := enc.Encode(list); err != nil {
			return err
		}
	} else {
		for i := range list {
			if s := &list[i]; len(names) > 0 && !s.Running && !s.InCrontab && s.Last == nil && s.Problem == "" {
				s.Status = o.unknownName(ctx, s.Name)
			}
		}
		writeTable(out, list, colour, screenWidth())
		scheduled := slices.ContainsFunc(list, func(s instanceStatus) bool { return s.InCrontab })
		switch {
		case scheduled && o.crontab != "" && doctor.SupercronicOf(o.crontab) == 0:
			fmt.Fprintf(out, "\nno supercronic reads %s: nothing will be started; see lifeline doctor --crontab %s\n",
				o.crontab, o.crontab)
		case scheduled && o.crontab == "" && !doctor.CronRuns():
			fmt.Fprintln(out, "\nno cron daemon runs here: nothing will be started; see lifeline doctor")
		}
	}
	if len(names) == 0 {
		return nil
	}
	code := 0
	for _, s := range list {
		switch {
		case !s.Running && s.Problem != "":
			code = 4
		case !s.Running && code == 0:
			code = exitNotRunning
		}
	}
	if code != 0 {
		return &codeError{code, ""}
	}
	return nil
}

// findOverdue sets Overdue, which the page of a fleet shows.
func (o *options) findOverdue(ctx context.Context, list []instanceStatus) {
	var down []string
	for _, s := range list {
		if s.State == stateDown && s.InCrontab && s.User == "" {
			down = append(down, s.Name)
		}
	}
	if len(down) == 0 {
		return
	}
	d := doctor.Doctor{Guard: o.guard, Crontab: o.crontab, Understand: understand, ReadEnvFile: readEnvFile,
		Follows: true}
	overdue := d.Overdue(ctx, down)
	for i := range list {
		if at, is := overdue[list[i].Name]; is && list[i].State == stateDown && list[i].User == "" {
			list[i].Overdue = &at
		}
	}
}

// watch prints the table every second until it is interrupted.
func (o *options) watch(ctx context.Context, look lookup, names []string) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	clear := colours(os.Stdout)
	for {
		var b bytes.Buffer
		err := o.status(ctx, &b, look, names, false, clear)
		if code, ok := err.(*codeError); err != nil && (!ok || code.text != "") {
			return err
		}
		if clear {
			_, _ = io.WriteString(os.Stdout, "\x1b[H\x1b[2J")
		}
		fmt.Printf("%s\n\n%s", time.Now().Format(time.DateTime), upTo(b.String(), screenHeight()-3))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// upTo returns the first lines of text, so that its header stays on the screen.
func upTo(text string, lines int) string {
	all := strings.SplitAfter(text, "\n")
	if lines < 2 || len(all)-1 <= lines {
		return text
	}
	return strings.Join(all[:lines-1], "") + fmt.Sprintf("… and %d lines more\n", len(all)-lines)
}

// screenWidth and screenHeight return the size of standard output's terminal; 0 if it
// is no terminal.
func screenWidth() int  { width, _ := windowOf(os.Stdout); return width }
func screenHeight() int { _, height := windowOf(os.Stdout); return height }

func windowOf(out *os.File) (width, height int) {
	if size, err := unix.IoctlGetWinsize(int(out.Fd()), unix.TIOCGWINSZ); err == nil {
		return int(size.Col), int(size.Row)
	}
	return 0, 0
}
