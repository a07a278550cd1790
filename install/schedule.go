package install

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var scheduleWords = []string{"@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}

// A field is one of the five columns of crontab(5).
type field struct {
	name     string
	min, max int
	names    []string // names[i] means min+i
}

var fields = []field{
	{name: "minute", min: 0, max: 59},
	{name: "hour", min: 0, max: 23},
	{name: "day of month", min: 1, max: 31},
	{name: "month", min: 1, max: 12, names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	// 7 is Sunday too.
	{name: "day of week", min: 0, max: 7, names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// parseSchedule checks a schedule and returns it with single spaces. It takes
// what every cron takes: Vixie's parser also lets through things that it then
// never runs (a range such as 5-1) or half ignores (5*), and those are
// refused here.
func parseSchedule(schedule string) (string, error) {
	columns := strings.Fields(schedule)
	if len(columns) == 1 && strings.HasPrefix(columns[0], "@") {
		if slices.Contains(scheduleWords, columns[0]) {
			return columns[0], nil
		}
		return "", fmt.Errorf("%q is not a schedule that cron knows: use one of %s, or five fields such as %q", columns[0], strings.Join(scheduleWords, " "), "*/5 * * * *")
	}
	if len(columns) != len(fields) {
		return "", fmt.Errorf("the schedule %q has %d fields: it needs five, minute hour day-of-month month day-of-week, such as %q", schedule, len(columns), "*/5 * * * *")
	}
	for i, f := range fields {
		if err := f.check(columns[i]); err != nil {
			return "", fmt.Errorf("the schedule %q has a bad %s field %q: %w", schedule, f.name, columns[i], err)
		}
	}
	return strings.Join(columns, " "), nil
}

func (f field) check(column string) error {
	for item := range strings.SplitSeq(column, ",") {
		span, step, stepped := strings.Cut(item, "/")
		low, high, ranged := strings.Cut(span, "-")
		switch {
		case span == "*":
		case ranged:
			from, err := f.value(low)
			if err != nil {
				return err
			}
			to, err := f.value(high)
			if err != nil {
				return err
			}
			if from > to {
				return fmt.Errorf("the range %s runs backwards, and cron would never start it: give two ranges, separated by a comma, within %s", span, f.bounds())
			}
		default:
			if _, err := f.value(span); err != nil {
				return err
			}
			if stepped {
				return fmt.Errorf("a step needs * or a range before the /, as in */%s; the values are %s", step, f.bounds())
			}
		}
		if stepped {
			n, err := strconv.ParseUint(step, 10, 8)
			if err != nil || n < 1 || int(n) > f.max {
				return fmt.Errorf("the step %q must be a number from 1 to %d", step, f.max)
			}
		}
	}
	return nil
}

func (f field) value(s string) (int, error) {
	if i := slices.Index(f.names, strings.ToLower(s)); i >= 0 {
		return f.min + i, nil
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil || int(n) < f.min || int(n) > f.max {
		return 0, fmt.Errorf("%q is not a value from %s", s, f.bounds())
	}
	return int(n), nil
}

func (f field) bounds() string {
	text := fmt.Sprintf("%d to %d", f.min, f.max)
	if len(f.names) > 0 {
		text += fmt.Sprintf(" (or %s to %s)", f.names[0], f.names[len(f.names)-1])
	}
	return text
}
