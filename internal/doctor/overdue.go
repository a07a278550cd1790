package doctor

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"lifeline/install"
	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/statedir"
	"lifeline/procscan"
)

// isSeen reports whether a file shows that the name was started here before.
func (d *Doctor) isSeen(c candidate) bool {
	path, _, err := c.guard.Journal(c.name)
	e, examErr := d.exams.Examine(c.guard, c.name)
	return err == nil && exists(path) || examErr == nil && exists(e.Lock)
}

// slack is how late a tick may start.
const slack = time.Minute

// overdue reports a scheduled tick that has left no trace.
func (d *Doctor) overdue(c candidate, e guard.Exam, state string) {
	times, err := install.ParseTimes(c.line.Schedule)
	if err != nil || !c.scheduled || strings.Contains(c.line.Before, "&&") || c.line.Environment["CRON_TZ"] != "" ||
		c.start.Cluster != "" {
		return
	}
	since := c.line.table.changed
	if info, err := os.Stat(statedir.Default() + ".crontab"); err == nil && c.line.Block && since.IsZero() {
		since = info.ModTime() // lifeline has changed the crontab then
	}
	if since.IsZero() && !exists(state) {
		return // never started, and the line may be new
	}
	started := procscan.Booted() // when the machine and its cron were up
	for _, crond := range d.cronds {
		if since, _ := procscan.Describe(crond.id); since.After(started) {
			started = since
		}
	}
	traces := []time.Time{since}
	for _, file := range []string{state, strings.TrimSuffix(state, ".state") + ".paused", e.Lock, e.Run} {
		if info, err := os.Stat(file); err == nil {
			traces = append(traces, info.ModTime())
		}
	}
	by := time.Now().Add(-slack - c.start.Jitter)
	if due, _, is := missed(times, by, traces); is && !started.Before(due) && exists(state) && isRare(times, due) {
		d.wrongAs("overdue", "state", "cron makes up for no start: lifeline start "+c.name+" starts it now",
			"it was to start at %s, when the machine or its cron wasn't up (it is since %s)", human.ShortTime(due),
			human.ShortTime(started))
	} else if due, seen, is := missed(times, by, append(traces, started)); is {
		d.wrongAs("overdue", "state",
			fmt.Sprintf("see what cron says (journalctl -t CRON, or /var/log/syslog); lifeline start %s starts it "+
				"now", c.name),
			"cron was to start it at %s, and nothing shows that it did; the last trace of it, of its line or of "+
				"cron's start is of %s",
			human.ShortTime(due), human.ShortTime(seen))
	}
}

// isRare reports whether the tick after due comes at least an hour later. A shorter
// pause soon makes up for a missed tick.
func isRare(times install.Times, due time.Time) bool { return times.Next(due).Sub(due) >= time.Hour }

// missed reports whether the schedule's last time up to by is newer than all traces. It
// returns that time and the latest trace.
func missed(times install.Times, by time.Time, traces []time.Time) (due, seen time.Time, is bool) {
	due = times.Last(by)
	seen = slices.MaxFunc(traces, time.Time.Compare)
	return due, seen, seen.Before(due)
}
