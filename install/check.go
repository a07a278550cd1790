package install

import (
	"fmt"
	"strings"
)

// CheckSchedule says what is wrong with a line's schedule, for doctors: five
// fields or an @word that every cron takes.
func CheckSchedule(schedule string) error {
	_, err := parseSchedule(schedule)
	return err
}

// CheckTick says what is wrong with the schedule of --tick: five fields, or an
// @word that names a time, behind a time zone if need be. One word more is taken
// than cron has: @everysecond, for drills, which can't wait minutes.
func CheckTick(schedule string) error {
	text := strings.TrimSpace(schedule)
	if rest, ok := strings.CutPrefix(strings.TrimPrefix(text, "CRON_"), "TZ="); ok {
		_, text, _ = strings.Cut(rest, " ")
	}
	if strings.TrimSpace(text) == "@reboot" {
		return fmt.Errorf("%q is no time that a cluster could agree on: give five fields, such as '0 3 * * *'", text)
	}
	if strings.TrimSpace(text) == "@everysecond" {
		return nil
	}
	return CheckSchedule(text)
}

// CheckBlocks says when the markers of name in the crontab don't pair up.
func CheckBlocks(crontab, name string) error {
	_, err := blocks(crontab, name)
	return err
}

// BusyboxProblem says what busybox's crond makes of l, "" if nothing bad. It
// takes a # for the start of a comment wherever it stands, in quotes too; and
// where it was built without the option -d, as Debian's is, any line that
// begins with @ ends the daemon.
func (l Line) BusyboxProblem(atKills bool) string {
	switch {
	case atKills && strings.HasPrefix(l.Schedule, "@"):
		return fmt.Sprintf("this busybox crond crashes on a line that begins with %s, and then runs nothing at all",
			l.Schedule)
	case strings.Contains(l.Shell, "#"):
		return "busybox crond cuts the command at the #, even in quotes"
	}
	return ""
}
