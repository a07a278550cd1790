package tasks

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lifeline/internal/human"
	"lifeline/internal/journal"
	"lifeline/internal/supervisor"
)

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
