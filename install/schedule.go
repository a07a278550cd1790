package install

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

var scheduleWords = []string{"@reboot", "@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"}

// field is one of the five columns of crontab(5).
type field struct {
	name     string
	min, max int
	names    []string // names[i] means min+i
}

var fields = []field{
	{name: "minute", min: 0, max: 59},
	{name: "hour", min: 0, max: 23},
	{name: "day of month", min: 1, max: 31},
	{name: "month", min: 1, max: 12,
		names: []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct",
			"nov", "dec"}},
	// 7 is Sunday too.
	{name: "day of week", min: 0, max: 7, names: []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

// parseSchedule checks a schedule, and returns it with single spaces. It writes Sunday
// as 0, because busybox runs a 7 on every day. It writes names of months and days as
// numbers, because Debian 12's systemd-cron knows no oct, and takes nov for October.
//
// It accepts only what every cron runs. Vixie's parser also takes what it then never
// runs (a range such as 5-1) or half ignores (5*).
func parseSchedule(schedule string) (string, error) {
	columns := strings.Fields(schedule)
	if len(columns) == 1 && strings.HasPrefix(columns[0], "@") {
		if slices.Contains(scheduleWords, columns[0]) {
			return columns[0], nil
		}
		return "", fmt.Errorf("%q is not a schedule that cron knows: use one of %s, or five fields such as %q",
			columns[0],
			strings.Join(scheduleWords, " "), "*/5 * * * *")
	}
	if len(columns) != len(fields) {
		noun := "fields"
		if len(columns) == 1 {
			noun = "field"
		}
		return "", fmt.Errorf("the schedule %q has %d %s: it needs five, minute hour day-of-month month day-of-week, "+
			"such as %q",
			schedule, len(columns), noun, "*/5 * * * *")
	}
	var values [5]uint64
	for i, f := range fields {
		var err error
		if values[i], err = f.parse(columns[i]); err != nil {
			return "", fmt.Errorf("the schedule %q has a bad %s field %q: %w", schedule, f.name, columns[i], err)
		}
	}
	if !comes(columns[4], values[2], values[3]) {
		return "", fmt.Errorf("the schedule %q never comes: none of its months has such a day; correct the day of "+
			"month or the month", schedule)
	}
	columns[3], columns[4] = fields[3].numbers(columns[3]), sundayIsZero(fields[4].numbers(columns[4]))
	return strings.Join(columns, " "), nil
}

// comes reports whether any of the months has any of the days, or a weekday that doesn't
// begin with * matches instead (crontab(5)).
func comes(weekday string, days, months uint64) bool {
	longest := [...]int{1: 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}
	for month := 1; month <= 12; month++ {
		if months>>month&1 == 1 && days&(1<<(longest[month]+1)-1) != 0 {
			return true
		}
	}
	return !strings.HasPrefix(weekday, "*")
}

// sundayIsZero writes the 7 of a checked weekday field as 0.
func sundayIsZero(column string) string {
	items := strings.Split(column, ",")
	for i, item := range items {
		values, _ := fields[4].parse(item)
		span, _, stepped := strings.Cut(item, "/")
		low, _, _ := strings.Cut(span, "-")
		switch {
		case span == "*" || values>>7 == 0:
		case span == "0-7" && !stepped:
			items[i] = "0-6"
		case values == 1<<7:
			items[i] = "0"
		case !stepped:
			items[i] = low + "-6,0"
		default:
			var list []string
			for day := range 8 {
				if values>>day&1 == 1 {
					list = append(list, strconv.Itoa(day%7))
				}
			}
			items[i] = strings.Join(list, ",")
		}
	}
	return strings.Join(items, ",")
}

// numbers writes the names in a checked column as numbers.
func (f field) numbers(column string) string {
	column = strings.ToLower(column)
	for i, name := range f.names {
		column = strings.ReplaceAll(column, name, strconv.Itoa(f.min+i))
	}
	return column
}

// parse returns the values of a column, as bits.
func (f field) parse(column string) (values uint64, err error) {
	for item := range strings.SplitSeq(column, ",") {
		span, step, stepped := strings.Cut(item, "/")
		low, high, ranged := strings.Cut(span, "-")
		from, to, every := f.min, f.max, 1
		switch {
		case span == "*":
		case ranged:
			if from, err = f.value(low); err != nil {
				return 0, err
			}
			if to, err = f.value(high); err != nil {
				return 0, err
			}
			if from > to {
				return 0, fmt.Errorf("the range %s runs backwards, and cron would never start it: give two ranges, "+
					"separated by a comma, within %s", span, f.bounds())
			}
		default:
			if from, err = f.value(span); err != nil {
				return 0, err
			}
			to = from
			if stepped {
				return 0, fmt.Errorf("a step needs * or a range before the /, as in */%s; the values are %s", step,
					f.bounds())
			}
		}
		if stepped {
			n, err := strconv.ParseUint(step, 10, 8)
			if err != nil || n < 1 || int(n) > f.max {
				return 0, fmt.Errorf("the step %q must be a number from 1 to %d", step, f.max)
			}
			every = int(n)
		}
		for ; from <= to; from += every {
			values |= 1 << from
		}
	}
	return values, nil
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
