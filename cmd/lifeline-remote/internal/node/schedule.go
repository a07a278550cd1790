package node

import (
	"errors"
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // a node may lack the zone that the schedule names

	"github.com/adhocore/gronx" // cron expressions, with the tick before and after a time
)

// schedule is a cron expression in a time zone.
//
// Summer time is handled as in cron(8). A schedule that names hours runs once for each
// time on the wall clock. It is skipped in a repeated hour, and runs right after the jump
// for a time that is left out. Any other schedule goes by real time.
type schedule struct {
	expr  string
	zone  *time.Location
	fixed bool // the schedule names hours
}

// parseSchedule reads 'CRON_TZ=ZONE FIELDS' or an @word.
func parseSchedule(text string) (*schedule, error) {
	s := &schedule{expr: strings.TrimSpace(text), zone: time.Local}
	if rest, ok := strings.CutPrefix(strings.TrimPrefix(s.expr, "CRON_"), "TZ="); ok {
		name, expr, _ := strings.Cut(rest, " ")
		zone, err := time.LoadLocation(name)
		if err != nil {
			return nil, fmt.Errorf("--tick: there is no time zone %q; one is Europe/Berlin", name)
		}
		s.zone, s.expr = zone, strings.TrimSpace(expr)
	}
	segments, err := gronx.Segments(s.expr)
	// With seconds or a year, gronx would search endlessly after the last year.
	if n := len(strings.Fields(s.expr)); n != 5 && !(n == 1 && s.expr[0] == '@') {
		err = errors.New("not five fields")
	}
	if err != nil || !gronx.IsValid(s.expr) {
		return nil, fmt.Errorf("--tick %q is no schedule: five fields (minute, hour, day, month, weekday), such as "+
			"'*/15 * * * *', or an @word, such as @hourly", text)
	}
	s.fixed = !strings.HasPrefix(segments[2], "*")
	if s.next(time.Now()).IsZero() {
		return nil, fmt.Errorf("--tick %q never comes", text)
	}
	return s, nil
}

// next returns the first tick after t, in UTC; zero if there is none.
func (s *schedule) next(t time.Time) time.Time {
	t = t.Truncate(time.Second)
	if !s.fixed {
		// Search with the present offset up to the next change of the clocks, then with the
		// next offset. gronx itself would leave out the hour that comes twice.
		for {
			local := t.In(s.zone)
			zone, offset := local.Zone()
			next, err := gronx.NextTickAfter(s.expr, t.In(time.FixedZone(zone, offset)), false)
			if err != nil {
				return time.Time{}
			}
			_, end := local.ZoneBounds()
			if end.IsZero() || next.Before(end) {
				return next.Truncate(time.Second).UTC()
			}
			_, offset = end.In(s.zone).Zone()
			if first, err := gronx.NextTickAfter(s.expr, end.In(time.FixedZone(zone, offset)), true); err != nil {
				return time.Time{}
			} else if _, last := end.In(s.zone).ZoneBounds(); last.IsZero() || first.Before(last) {
				return first.Truncate(time.Second).UTC()
			}
			t = end
		}
	}
	// Search on the wall clock alone, where each hour comes once. Begin early
	// enough for a time that a jump has moved.
	for wall := wallClock(t.In(s.zone)).Add(-3 * time.Hour); ; {
		next, err := gronx.NextTickAfter(s.expr, wall, false)
		if err != nil {
			return time.Time{}
		}
		wall = next.Truncate(time.Second)
		if real := s.real(wall); real.After(t) {
			return real.UTC()
		}
	}
}

// wallClock returns what a clock on the wall shows, as a time in UTC.
func wallClock(t time.Time) time.Time {
	return time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), 0, time.UTC)
}

// real returns the first instant at which the wall clock shows wall or later.
func (s *schedule) real(wall time.Time) time.Time {
	t := time.Date(wall.Year(), wall.Month(), wall.Day(), wall.Hour(), wall.Minute(), wall.Second(), 0, s.zone)
	if shown := wallClock(t); !shown.Equal(wall) { // wall is left out: the instant of the jump
		if start, end := t.ZoneBounds(); shown.After(wall) {
			return start
		} else {
			return end
		}
	}
	if start, _ := t.ZoneBounds(); !start.IsZero() { // wall may have come before the clock was put back, too
		_, now := t.Zone()
		_, before := start.Add(-time.Second).Zone()
		if earlier := t.Add(-time.Duration(before-now) * time.Second); before > now && wallClock(earlier).Equal(wall) {
			return earlier
		}
	}
	return t
}

// last returns the latest tick up to t.
func (s *schedule) last(t time.Time) (time.Time, error) {
	for back := time.Minute; back < 10*366*24*time.Hour; back *= 4 {
		var found time.Time
		for n, at := 0, s.next(t.Add(-back)); n < 1000 && !at.IsZero() && !at.After(t); n++ {
			found, at = at, s.next(at)
		}
		if !found.IsZero() {
			return found, nil
		}
	}
	return time.Time{}, errors.New("there was none")
}
