package tasks

import (
	"encoding/json"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/internal/human"
	"lifeline/internal/journal"
	"lifeline/internal/report"
)

func historyCommand() *cli.Command {
	var o options
	var asJSON, onlyFailed bool
	var last int
	var since moment
	return &cli.Command{
		Name:  "history",
		Usage: "how its runs went",
		UsageText: "lifeline history [options] NAME\n\nThe bars show when it was up: █ for the whole time, ▌ for a " +
			"part of it, · for not at all. A ! is a failed run, a - one that was stopped, a ? an end that is not " +
			"known, or a time without a record. The line of lengths shows how long the last runs took, the " +
			"longest as the highest bar.",
		Flags: flags(o.lookOptions(), []*option{
			{name: "lines", short: "n", value: "N", to: number(&last, 20),
				usage: "show the last N runs; 0 for all that are kept"},
			{name: "since", value: "WHEN", to: &since,
				usage: "only runs that ended since WHEN: a length of time such as 2d, or a time such as 2026-11-30; " +
					"all of them, unless --lines is given"},
			{name: "failed", to: toggle(&onlyFailed), usage: "only runs that failed"},
			{name: "json", to: toggle(&asJSON), usage: "print one JSON object per line, oldest first"}}),
		Action: func(c *cli.Context) error {
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			if last < 0 {
				return usage("--lines %d: less than none", last)
			}
			_, path, err := o.guard.Journal(name)
			if err != nil {
				return err
			}
			runs, err := journal.ReadHistory(path)
			if err != nil {
				return fmt.Errorf("cannot read the history: %w", err)
			}
			shown := slices.DeleteFunc(slices.Clone(runs), func(r journal.Run) bool {
				return onlyFailed && !failed(&r) || r.End.Before(since.at)
			})
			if !since.at.IsZero() && !c.IsSet("lines") {
				last = 0
			}
			if last > 0 && len(shown) > last {
				shown = shown[len(shown)-last:]
			}
			if asJSON {
				enc := json.NewEncoder(os.Stdout)
				for _, r := range shown {
					if err := enc.Encode(r); err != nil {
						return err
					}
				}
				return nil
			}
			list, err := o.stand(c.Context, []string{name})
			if err != nil {
				return err
			}
			if strange := o.unknownName(c.Context, name); len(runs) == 0 && strange != "" {
				fmt.Printf("%s has never run here: %s\n", name, strange)
				return nil
			}
			h := historyView{now: list[0], runs: runs, at: time.Now(), colour: colours(os.Stdout)}
			h.print(shown, onlyFailed)
			return nil
		},
	}
}

// moment is a point in the past, given as a length of time or as a time.
type moment struct{ at time.Time }

func (m *moment) Set(text string) error {
	year, month, day := time.Now().Date()
	switch today := time.Date(year, month, day, 0, 0, 0, 0, time.Local); text {
	case "today":
		m.at = today
		return nil
	case "yesterday":
		m.at = today.AddDate(0, 0, -1)
		return nil
	default:
		if clock, err := time.Parse("15:04", text); err == nil {
			m.at = time.Date(year, month, day, clock.Hour(), clock.Minute(), 0, 0, time.Local)
			return nil
		}
	}
	if d, err := parseTime(text); err == nil && d >= 0 {
		m.at = time.Now().Add(-d)
		return nil
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, time.RFC3339} {
		if at, err := time.ParseInLocation(layout, text, time.Local); err == nil {
			m.at = at
			return nil
		}
	}
	return fmt.Errorf("neither a length of time such as 12h or 2d, nor today, yesterday, or a time such as 12:00, " +
		"2026-11-30 or '2026-11-30 12:00'")
}

func (m *moment) String() string { return "" }

// historyView is a name's history on a terminal, 80 columns wide.
type historyView struct {
	now    instanceStatus
	runs   []journal.Run
	at     time.Time
	colour bool
}

func (h *historyView) print(shown []journal.Run, onlyFailed bool) {
	if len(h.runs) == 0 && !h.now.Running {
		fmt.Printf("%s has never run here\n", h.now.Name)
		return
	}
	rows := [][]string{{"START", "LENGTH", "OUTCOME", "PEAK MEMORY", "CPU", "SKIPPED", "WHY"}}
	for _, r := range shown {
		row := []string{r.Start.Local().Format(time.DateTime), human.Length(r.Length()), human.End(r), "-",
			human.Length(time.Duration(r.CPU * float64(time.Second))), dashed(r.Skipped), human.Printable(r.Why)}
		if r.MaxRSS > 0 {
			row[3] = human.Size(uint64(r.MaxRSS))
		}
		rows = append(rows, row)
	}
	if now := &h.now; now.UpSince != nil && !onlyFailed {
		rows = append(rows, []string{now.UpSince.Local().Format(time.DateTime), human.Age(*now.UpSince), now.State,
			human.Size(now.Memory), human.Length(time.Duration(now.CPU * float64(time.Second))), "-", ""})
	}
	below := fit(rows, screenWidth())
	columns(os.Stdout, rows, func(row, column int, cell string) string {
		if column == 2 && row > 0 && row <= len(shown) && failed(&shown[row-1]) {
			return h.paint("31", cell)
		}
		return cell
	}, below)
	fmt.Println()
	for _, span := range []struct {
		name string
		d    time.Duration
	}{{"hour", time.Hour}, {"day", 24 * time.Hour}, {"week", 7 * 24 * time.Hour}} {
		line := report.NewTimeline(h.runs, h.now.UpSince, h.at, span.d, timelineWidth, h.now.Totals.Runs <= len(h.runs))
		fmt.Printf("last %-5s %s %.1f%%\n", span.name, h.bars(line), 100*line.Share())
	}
	if l := report.NewLengths(h.runs, timelineWidth); l.Runs > 1 {
		fmt.Printf("lengths    %s\n           half within %s, longest %s, of %d runs\n", h.sparkline(l),
			human.Length(l.Median), human.Length(l.Longest), l.Runs)
	}
	t := h.now.Totals
	fmt.Printf("\n%d runs: %d ok, %d stopped, %d failed; %d ticks found it running\n", t.Runs, t.OK, t.Stopped,
		t.Failed, t.Skipped)
}

// paint colours text, on a terminal that has colours.
func (h *historyView) paint(shade, text string) string {
	if !h.colour || text == "" {
		return text
	}
	return "\x1b[" + shade + "m" + text + "\x1b[0m"
}

// timelineWidth is how many blocks a timeline has.
const timelineWidth = 60

// bars returns a timeline in glyphs.
func (h *historyView) bars(t report.Timeline) string {
	var b strings.Builder
	glyphs := map[report.Slot][2]string{report.None: {"·", ""}, report.Part: {"▌", "32"}, report.Up: {"█", "32"},
		report.Stopped: {"-", "33"}, report.Unknown: {"?", "90"}, report.Failed: {"!", "31"}}
	for same := range chunksOf(t.Slots) {
		g := glyphs[same[0]]
		text := strings.Repeat(g[0], len(same))
		if g[1] != "" {
			text = h.paint(g[1], text)
		}
		b.WriteString(text)
	}
	return b.String()
}

// chunksOf yields the runs of equal elements in list.
func chunksOf[T comparable](list []T) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for len(list) > 0 {
			n := 1
			for n < len(list) && list[n] == list[0] {
				n++
			}
			if !yield(list[:n]) {
				return
			}
			list = list[n:]
		}
	}
}

// sparkline returns the lengths of the last runs as bars.
func (h *historyView) sparkline(l report.Lengths) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	longest := time.Duration(1)
	for _, bar := range l.Bars {
		longest = max(longest, bar.Length)
	}
	var b strings.Builder
	for _, bar := range l.Bars {
		cell := string(levels[int(float64(bar.Length)/float64(longest)*float64(len(levels)-1)+0.5)])
		if bar.Failed {
			cell = h.paint("31", cell)
		}
		b.WriteString(cell)
	}
	return b.String()
}
