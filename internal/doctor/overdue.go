package doctor

import (
	"context"
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

// missedTick is a scheduled tick that has left no trace.
type missedTick struct {
	at      time.Time
	seen    time.Time // the latest trace
	started time.Time // since when the machine and its cron are up
}

// missedTick returns the last scheduled tick of a name that doesn't run, if it has left no
// trace; state is the path of the name's state in the journal.
func (d *Doctor) missedTick(c candidate, e guard.Exam, state string) (m missedTick, is bool) {
	times, err := install.ParseTimes(c.line.Schedule)
	if err != nil || !c.scheduled || strings.Contains(c.line.Before, "&&") || c.line.Environment["CRON_TZ"] != "" ||
		c.start.Cluster != "" {
		return m, false
	}
	since := c.line.table.changed
	if info, err := os.Stat(statedir.Default() + ".crontab"); err == nil && c.line.Block && since.IsZero() {
		since = info.ModTime() // lifeline has changed the crontab then
	}
	if since.IsZero() && !exists(state) {
		return m, false // never started, and the line may be new
	}
	m.started = procscan.Booted()
	for _, crond := range d.cronds {
		if since, _ := procscan.Describe(crond.id); since.After(m.started) {
			m.started = since
		}
	}
	traces := []time.Time{since}
	for _, file := range []string{state, strings.TrimSuffix(state, ".state") + ".paused", e.Lock, e.Run} {
		if info, err := os.Stat(file); err == nil {
			traces = append(traces, info.ModTime())
		}
	}
	m.at, m.seen, is = missed(times, time.Now().Add(-slack-c.start.Jitter), traces)
	return m, is && (m.started.Before(m.at) || exists(state) && isRare(times, m.at))
}

// overdue reports a scheduled tick that has left no trace.
func (d *Doctor) overdue(c candidate, e guard.Exam, state string) {
	m, is := d.missedTick(c, e, state)
	switch {
	case is && !m.started.Before(m.at):
		d.wrongAs("overdue", "state", "cron makes up for no start: lifeline start "+c.name+" starts it now",
			"it was to start at %s, when the machine or its cron wasn't up (it is since %s)", human.ShortTime(m.at),
			human.ShortTime(m.started))
	case is:
		d.wrongAs("overdue", "state",
			fmt.Sprintf("see what cron says (journalctl -t CRON, or /var/log/syslog); lifeline start %s starts it "+
				"now", c.name),
			"cron was to start it at %s, and nothing shows that it did; the last trace of it, of its line or of "+
				"cron's start is of %s",
			human.ShortTime(m.at), human.ShortTime(slices.MaxFunc([]time.Time{m.seen, m.started}, time.Time.Compare)))
	}
}

// Overdue returns the ticks that have left no trace, by name; the names must not run. It
// reports no finding.
func (d *Doctor) Overdue(ctx context.Context, names []string) map[string]time.Time {
	d.Found = func(Finding) {}
	if d.Crontab != "" {
		d.supercronic()
		d.tables = []crontab{d.supercronicTable()}
	} else {
		d.cronds, _ = RunningCronds()
		d.tables = d.crontabs(ctx)
	}
	list := map[string]time.Time{}
	for _, name := range names {
		c := candidate{name: name}
		if c.line, c.scheduled = d.line(name); !c.scheduled {
			continue
		}
		if c.start, c.scheduled = d.start(name, c.line); !c.scheduled {
			continue
		}
		c.guard = c.start.Guard
		state, _, err := c.guard.Journal(name)
		if err != nil {
			continue
		}
		e, err := d.exams.Examine(c.guard, name)
		if err != nil {
			continue
		}
		if m, is := d.missedTick(c, e, state); is {
			list[name] = m.at
		}
	}
	return list
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
