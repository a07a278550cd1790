package install

import (
	"fmt"
	"strings"
	"time"
)

// Times are the times of a schedule. Next and Last use their argument's time zone.
type Times struct {
	minute, hour, day, month, weekday uint64
	either                            bool // day or weekday is enough (crontab(5))
}

var wordTimes = map[string]string{
	"@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *", "@monthly": "0 0 1 * *", "@weekly": "0 0 * * 0",
	"@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@hourly": "0 * * * *",
}

// ParseTimes reads a schedule. @reboot has no times, and is an error.
func ParseTimes(schedule string) (Times, error) {
	schedule, err := parseSchedule(schedule)
	if err != nil {
		return Times{}, err
	}
	if five, ok := wordTimes[schedule]; ok {
		schedule = five
	}
	columns := strings.Fields(schedule)
	if len(columns) != len(fields) {
		return Times{}, fmt.Errorf("%s has no time", schedule)
	}
	var values [5]uint64
	for i, f := range fields {
		values[i], _ = f.parse(columns[i]) // parseSchedule has checked it
	}
	t := Times{minute: values[0], hour: values[1], day: values[2], month: values[3], weekday: values[4]}
	t.either = !strings.HasPrefix(columns[2], "*") && !strings.HasPrefix(columns[4], "*")
	return t, nil
}

// horizon is how many days Next and Last look ahead or back: 29 February is at most
// eight years away.
const horizon = 8*366 + 1

// Next returns the first time after t; zero if there is none. It skips times in the
// hour that the clocks skip in spring.
func (s Times) Next(t time.Time) time.Time { return s.look(t, 1) }

// Last returns the last time at or before t; zero if there is none.
func (s Times) Last(t time.Time) time.Time { return s.look(t, -1) }

func (s Times) look(t time.Time, step int) time.Time {
	year, month, day := t.Date()
	for n := range horizon {
		date := time.Date(year, month, day+step*n, 0, 0, 0, 0, t.Location())
		if !s.onDay(date) {
			continue
		}
		for i := range 24 * 60 {
			if step < 0 {
				i = 24*60 - 1 - i
			}
			if s.hour>>(i/60)&1 == 0 || s.minute>>(i%60)&1 == 0 {
				continue
			}
			at := time.Date(date.Year(), date.Month(), date.Day(), i/60, i%60, 0, 0, t.Location())
			if at.Hour() == i/60 && (step > 0 && at.After(t) || step < 0 && !at.After(t)) {
				return at
			}
		}
	}
	return time.Time{}
}

func (s Times) onDay(date time.Time) bool {
	if s.month>>int(date.Month())&1 == 0 {
		return false
	}
	day := s.day>>date.Day()&1 == 1
	weekday := s.weekday>>int(date.Weekday())&1 == 1 || date.Weekday() == time.Sunday && s.weekday>>7&1 == 1
	if s.either {
		return day || weekday
	}
	return day && weekday
}
