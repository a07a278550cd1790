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
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"lifeline/internal/doctor"
	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/journal"
	"lifeline/internal/supervisor"
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

// notes returns the text of the STATUS column, which may go below the row.
func (s instanceStatus) notes() string {
	var list []string
	switch {
	case s.Problem != "":
		list = append(list, "! "+s.Problem)
	case s.Status != "":
		list = append(list, s.Status)
	}
	if s.Usual > 0 {
		usual := time.Duration(s.Usual * float64(time.Second))
		list = append(list, fmt.Sprintf("may hang: usually takes %s; %s found it running", human.Length(usual),
			counted(s.Skipped, "tick has", "ticks have")))
	}
	if s.Lost != "" && s.Problem == "" {
		list = append(list, "(adopted without "+s.Lost+")")
	}
	if s.Failing != nil {
		text := "failing since " + human.ShortTime(*s.Failing) + ", never succeeded"
		if s.LastSuccess != nil {
			text = "failing since " + human.ShortTime(*s.Failing) + ", last success " +
				human.Age(*s.LastSuccess) + " ago"
		}
		list = append(list, text)
	}
	if s.NextTick != nil && !s.Running && !s.Paused {
		list = append(list, "next tick "+human.ShortTime(*s.NextTick))
	}
	return strings.Join(list, "; ")
}

// writeTable writes the table. screen is the terminal's width, 0 for none; columns
// that don't fit go below their rows.
func writeTable(out io.Writer, list []instanceStatus, colour bool, screen int) {
	if len(list) == 0 {
		fmt.Fprintln(out, "nothing is known here; lifeline install NAME -- COMMAND puts something into the crontab")
		return
	}
	cluster, users := false, false
	for _, s := range list {
		cluster = cluster || s.Node != "" || s.Fence != 0
		users = users || s.User != ""
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
		rows = append(rows, append(row, s.notes()))
	}
	if users { // each user has names of their own
		rows[0][0] = "USER: NAME"
		for i, s := range list {
			rows[i+1][0] = s.label()
		}
	}
	for _, row := range rows { // other users' files may contain control characters
		for i := range row {
			row[i] = human.Printable(row[i])
		}
	}
	below := fit(rows, screen)
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
	}, below)
}

// keptColumns counts NAME, STATE and PID, which stay at any width.
const keptColumns = 3

// fit shortens long names, then removes columns from the right until rows fit the
// screen. It returns the removed cells as lines for below each row.
func fit(rows [][]string, screen int) (below [][]string) {
	if screen <= 0 || widthOf(rows) <= screen {
		return nil
	}
	for _, row := range rows {
		row[0] = cut(row[0], screen/4)
	}
	notes, others := make([]string, len(rows)), make([][]string, len(rows))
	for len(rows[0]) > keptColumns && widthOf(rows) > screen {
		last := len(rows[0]) - 1
		head := rows[0][last]
		for i := range rows {
			cell := rows[i][last]
			rows[i] = rows[i][:last]
			switch {
			case i == 0 || cell == "" || cell == "-":
			case head == "STATUS":
				notes[i] = cell
			default:
				label := strings.ToLower(head)
				if head == "LAST EXIT" {
					label = "last run" // "last exit exit 1"
				}
				others[i] = append([]string{label + " " + cell}, others[i]...)
			}
		}
	}
	over := widthOf(rows) - screen
	below = make([][]string, len(rows))
	for i, row := range rows {
		if over > 0 {
			row[1] = cut(row[1], max(len(rows[0][1]), longest(rows, 1)-over))
		}
		if notes[i] != "" {
			others[i] = append([]string{notes[i]}, others[i]...)
		}
		for _, line := range wrap(strings.Join(others[i], "; "), screen-4) {
			if line != "" {
				below[i] = append(below[i], "    "+cut(line, screen-4))
			}
		}
	}
	return below
}

func longest(rows [][]string, column int) (width int) {
	for _, row := range rows {
		width = max(width, utf8.RuneCountInString(row[column]))
	}
	return width
}

func widthOf(rows [][]string) (total int) {
	for i := range rows[0] {
		total += longest(rows, i) + 2
	}
	return total - 2
}

// cut shortens text to width columns.
func cut(text string, width int) string {
	if utf8.RuneCountInString(text) <= width {
		return text
	}
	return string([]rune(text)[:max(width-1, 0)]) + "…"
}

// columns writes rows in aligned columns, each row with its lines of below.
func columns(out io.Writer, rows [][]string, paint func(row, column int, cell string) string, below [][]string) {
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
		if below != nil && len(below[r]) > 0 {
			fmt.Fprintln(out, strings.Join(below[r], "\n"))
		}
	}
}

// stateText returns the state with its times and pause.
func (s instanceStatus) stateText() string {
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

// shade returns the colour of the state: green, yellow, red, grey.
func (s instanceStatus) shade() string {
	switch {
	case s.State == supervisor.StateRunning || s.State == supervisor.StateReady:
		return "32"
	case s.Running || s.State == statePaused:
		return "33"
	case s.Last != nil && !s.Last.Good() && s.Last.Outcome != journal.Stopped:
		return "31"
	}
	return "90"
}

// lastExit says how and when a run ended.
func lastExit(r *journal.Run) string {
	if r == nil {
		return "-"
	}
	return human.End(*r) + ", " + human.Age(r.End) + " ago"
}

// cpuText returns the share of one processor since the start.
func cpuText(s instanceStatus) string {
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

// colours reports whether out is a terminal with colours, and NO_COLOR is unset
// (https://no-color.org).
func colours(out *os.File) bool {
	if os.Getenv("NO_COLOR") != "" || os.Getenv("TERM") == "dumb" || os.Getenv("TERM") == "" {
		return false
	}
	return terminal(out)
}
