package tasks

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/internal/human"
	"lifeline/internal/journal"
)

func historyCommand() *cli.Command {
	var o options
	var asJSON bool
	var last int
	return &cli.Command{
		Name:      "history",
		Usage:     "how its runs went",
		UsageText: "lifeline history [options] NAME\n\nThe bars show when it was up: full for the whole time, half for a part of it,\na dot for not at all.",
		Flags: flags(o.lookOptions(), []*option{
			{name: "lines", short: "n", value: "N", to: number(&last, 20), usage: "show the last N runs; 0 for all that are kept"},
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
			shown := runs
			if last > 0 && len(runs) > last {
				shown = runs[len(runs)-last:]
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
			printHistory(list[0], runs, shown)
			return nil
		},
	}
}

func printHistory(now instanceStatus, runs, shown []journal.Run) {
	if len(runs) == 0 && !now.Running {
		fmt.Printf("%s has never run here\n", now.Name)
		return
	}
	rows := [][]string{{"START", "LENGTH", "OUTCOME", "PEAK MEMORY", "CPU", "SKIPPED", "WHY"}}
	for _, r := range shown {
		row := []string{r.Start.Local().Format(time.DateTime), human.Length(r.Length()), human.End(r), "-", human.Length(time.Duration(r.CPU * float64(time.Second))), dashed(r.Skipped), human.Printable(r.Why)}
		if r.MaxRSS > 0 {
			row[3] = human.Size(uint64(r.MaxRSS))
		}
		rows = append(rows, row)
	}
	if now.UpSince != nil {
		rows = append(rows, []string{now.UpSince.Local().Format(time.DateTime), human.Age(*now.UpSince), now.State, human.Size(now.Memory), human.Length(time.Duration(now.CPU * float64(time.Second))), "-", ""})
	}
	below := fit(rows, screenWidth())
	columns(os.Stdout, rows, func(_, _ int, cell string) string { return cell }, below)
	fmt.Println()
	at := time.Now()
	for _, span := range []struct {
		name string
		d    time.Duration
	}{{"hour", time.Hour}, {"day", 24 * time.Hour}, {"week", 7 * 24 * time.Hour}} {
		fmt.Printf("last %-5s %s %s\n", span.name, timeline(runs, now.UpSince, at, span.d), percent(runs, now.UpSince, at, span.d))
	}
	t := now.Totals
	fmt.Printf("\n%d runs: %d ok, %d stopped, %d failed; %d ticks found it running\n", t.Runs, t.OK, t.Stopped, t.Failed, t.Skipped)
}

// timelineWidth is how many blocks a timeline has.
const timelineWidth = 60

// timeline shows when it was up in the last d before at.
func timeline(runs []journal.Run, up *time.Time, at time.Time, d time.Duration) string {
	var b strings.Builder
	step := d / timelineWidth
	for i := range timelineWidth {
		from := at.Add(-d + time.Duration(i)*step)
		switch share := upTime(runs, up, from, from.Add(step)).Seconds() / step.Seconds(); {
		case share > 0.99:
			b.WriteString("█")
		case share > 0:
			b.WriteString("▌")
		default:
			b.WriteString("·")
		}
	}
	return b.String()
}

func percent(runs []journal.Run, up *time.Time, at time.Time, d time.Duration) string {
	return fmt.Sprintf("%.1f%%", 100*upTime(runs, up, at.Add(-d), at).Seconds()/d.Seconds())
}

// upTime is how long it was up between two times; runs that overlap, as in a
// reload, count once. up is since when the present run goes on.
func upTime(runs []journal.Run, up *time.Time, from, to time.Time) time.Duration {
	var sum time.Duration
	covered := from
	add := func(start, end time.Time) {
		if start.Before(covered) {
			start = covered
		}
		if end.After(to) {
			end = to
		}
		if end.After(start) {
			sum += end.Sub(start)
			covered = end
		}
	}
	for _, r := range runs { // in the order of their ends
		add(r.Start, r.End)
	}
	if up != nil {
		add(*up, to)
	}
	return sum
}
