// Package human writes times, sizes and ends of runs for people, and finds the
// word that a mistyped word may have meant.
//
//	human.Age(run.End)              // 3h12m
//	human.End(run)                  // exit 3
//	human.Nearest("statsu", known)  // status
package human

import (
	"strconv"
	"strings"
	"time"

	"lifeline/internal/journal"
)

// Age returns how long ago t was, as Length writes it.
func Age(t time.Time) string { return Length(time.Since(t)) }

// Length writes d in at most two units.
func Length(d time.Duration) string {
	const day = 24 * time.Hour
	switch {
	case d < 0:
		return "0s"
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	case d < time.Minute:
		return d.Round(time.Second).String()
	case d < time.Hour:
		return two(d, time.Minute, "m", time.Second, "s")
	case d < day:
		return two(d, time.Hour, "h", time.Minute, "m")
	}
	return two(d, day, "d", time.Hour, "h")
}

func two(d, big time.Duration, bigName string, small time.Duration, smallName string) string {
	out := strconv.FormatInt(int64(d/big), 10) + bigName
	if rest := d % big / small; rest > 0 {
		out += strconv.FormatInt(int64(rest), 10) + smallName
	}
	return out
}

// End says how a run ended.
func End(r journal.Run) string {
	switch {
	case r.Outcome == journal.Failed && r.Code == 0:
		return "too short"
	case r.Outcome == journal.Failed:
		return "exit " + strconv.Itoa(r.Code)
	case r.Outcome == journal.Killed:
		return r.Signal
	case r.Outcome == journal.NoStart:
		return "couldn't start (" + strconv.Itoa(r.Code) + ")"
	}
	return r.Outcome
}

// Size writes a number of bytes in K, M or G.
func Size(n uint64) string {
	switch f := float64(n); {
	case n < 1<<20:
		return strconv.FormatFloat(f/(1<<10), 'f', 0, 64) + "K"
	case n < 1<<30:
		return strconv.FormatFloat(f/(1<<20), 'f', 1, 64) + "M"
	default:
		return strconv.FormatFloat(f/(1<<30), 'f', 1, 64) + "G"
	}
}

// ShortTime writes t as the time of day, with the date where t is 20 hours or more
// away.
func ShortTime(t time.Time) string {
	if time.Until(t).Abs() < 20*time.Hour {
		return t.Local().Format(time.TimeOnly)
	}
	return t.Local().Format(time.DateTime)
}

// Printable replaces what a terminal would obey by dots, so that a worker's text
// can't move the cursor.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) {
			return r
		}
		return '.'
	}, s)
}
