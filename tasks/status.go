package tasks

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/journal"
	"lifeline/internal/supervisor"
)

func statusCommand() *cli.Command {
	var o options
	var asJSON, watch, cluster bool
	return &cli.Command{
		Name:      "status",
		Usage:     "what runs, since when, and how it stands",
		UsageText: "lifeline status [options] [NAME...]\n\nWithout NAME: all that are known here. With it, the exit code tells: 0 they\nrun, 3 one doesn't, 4 that can't be told.",
		Flags: flags(o.dirOptions(), []*option{
			{name: "json", to: toggle(&asJSON), usage: "print one JSON array, of a stable schema"},
			{name: "cluster", to: toggle(&cluster), noEnv: true, usage: "show all nodes of the cluster: who holds the name, who stands by; the address follows, or is in LIFELINE_CLUSTER"},
			{name: "watch", short: "w", to: toggle(&watch), usage: "show it again every second, until Ctrl-C"}}),
		Action: func(c *cli.Context) error {
			names := c.Args().Slice()
			if cluster {
				return o.clusterStatus(names, asJSON)
			}
			for _, name := range names {
				if err := guard.CheckName(name); err != nil {
					return err
				}
			}
			if !watch {
				return o.status(c.Context, os.Stdout, names, asJSON, colours(os.Stdout))
			}
			if asJSON {
				return usage("--json and --watch don't go together")
			}
			return o.watch(c.Context, names)
		},
	}
}

// status prints once how things stand.
func (o *options) status(ctx context.Context, out io.Writer, names []string, asJSON, colour bool) error {
	list, err := o.stand(ctx, names)
	if err != nil {
		return &codeError{4, "cannot tell what runs: " + err.Error()}
	}
	if asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		if list == nil {
			list = []standing{}
		}
		if err := enc.Encode(list); err != nil {
			return err
		}
	} else {
		writeTable(out, list, colour)
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

// watch draws the table again and again.
func (o *options) watch(ctx context.Context, names []string) error {
	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	clear := colours(os.Stdout)
	for {
		var b bytes.Buffer
		err := o.status(ctx, &b, names, false, clear)
		if code, ok := err.(*codeError); err != nil && (!ok || code.text != "") {
			return err
		}
		if clear {
			_, _ = io.WriteString(os.Stdout, "\x1b[H\x1b[2J")
		}
		fmt.Printf("%s\n\n%s", time.Now().Format(time.DateTime), b.String())
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(time.Second):
		}
	}
}

// writeTable is for people.
func writeTable(out io.Writer, list []standing, colour bool) {
	if len(list) == 0 {
		fmt.Fprintln(out, "nothing is known here; lifeline install NAME -- COMMAND puts something into the crontab")
		return
	}
	cluster := false
	for _, s := range list {
		cluster = cluster || s.Node != "" || s.Fence != 0
	}
	head := []string{"NAME", "STATE", "PID", "UP", "RESTARTS", "LAST EXIT", "MEMORY", "CPU"}
	if cluster {
		head = append(head, "NODE", "FENCE")
	}
	rows := [][]string{append(head, "STATUS")}
	for _, s := range list {
		row := []string{s.Name, s.stateText(), dashed(s.PID), "-", "-", lastExit(s.Last), "-", "-"}
		if s.UpSince != nil {
			row[3] = human.Age(*s.UpSince)
		}
		if s.Running {
			row[4] = strconv.Itoa(s.Restarts)
		}
		if s.Processes > 0 {
			row[6], row[7] = human.Size(s.Memory), cpuText(s)
		}
		if cluster {
			row = append(row, or(s.Node, "-"), dashed(int(s.Fence)))
		}
		note := s.Status
		if s.Lost != "" {
			note = strings.TrimSpace(note + " (adopted without " + s.Lost + ")")
		}
		if s.Problem != "" {
			note = "! " + s.Problem
		}
		rows = append(rows, append(row, human.Printable(note)))
	}
	paint := func(row int, cell string) string {
		if !colour || row == 0 {
			return cell
		}
		return "\x1b[" + list[row-1].shade() + "m" + cell + "\x1b[0m"
	}
	columns(out, rows, func(row, column int, cell string) string {
		if column == 1 {
			return paint(row, cell)
		}
		return cell
	})
}

// columns writes rows under each other.
func columns(out io.Writer, rows [][]string, paint func(row, column int, cell string) string) {
	width := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	for r, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(paint(r, i, cell))
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)+2))
			}
		}
		fmt.Fprintln(out, strings.TrimRight(line.String(), " "))
	}
}

// stateText is the state with what belongs to it.
func (s standing) stateText() string {
	text := s.State
	switch {
	case s.State == supervisor.StateBackingOff && s.NextStart != nil:
		text = "backing off until " + s.NextStart.Local().Format(time.TimeOnly)
	case s.State == stateDown && s.InCrontab:
		text = "not running, in crontab"
	case s.State == statePaused && s.PausedUntil != nil:
		text = "paused until " + human.ShortTime(*s.PausedUntil)
	case s.Paused && s.State != statePaused:
		text += ", paused"
	}
	return text
}

// shade is the colour of the state: green, yellow, red, grey.
func (s standing) shade() string {
	switch {
	case s.State == supervisor.StateRunning || s.State == supervisor.StateReady:
		return "32"
	case s.Running || s.State == statePaused:
		return "33"
	case s.Last != nil && !s.Last.Good() && s.Last.Outcome != supervisor.OutcomeStopped:
		return "31"
	}
	return "90"
}

// lastExit says what a run's end means.
func lastExit(r *journal.Run) string {
	if r == nil {
		return "-"
	}
	return human.End(*r) + ", " + human.Age(r.End) + " ago"
}

// cpuText is the share of one processor since the start.
func cpuText(s standing) string {
	if s.UpSince == nil {
		return human.Length(time.Duration(s.CPU * float64(time.Second)))
	}
	up := time.Since(*s.UpSince).Seconds()
	return strconv.FormatFloat(100*s.CPU/max(up, 0.01), 'f', 1, 64) + "%"
}

func dashed(n int) string {
	if n == 0 {
		return "-"
	}
	return strconv.Itoa(n)
}

func or(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// colours tells whether out is a terminal that shows them, and nobody has said
// no (https://no-color.org).
func colours(out *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return false
	}
	return terminal(out)
}
