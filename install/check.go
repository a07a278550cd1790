package install

import (
	"fmt"
	"strings"
)

// CheckSchedule returns what is wrong with a schedule. A valid schedule is five
// fields, or an @word that every cron takes.
func CheckSchedule(schedule string) error {
	_, err := parseSchedule(schedule)
	return err
}

// CheckTick returns what is wrong with the schedule of --tick: five fields, or an
// @word other than @reboot; a time zone may stand before them. It also takes
// @everysecond, for drills.
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

// CheckBlocks returns an error when the markers of name in the crontab don't pair up.
func CheckBlocks(crontab, name string) error {
	_, err := blocks(crontab, name)
	return err
}

// BusyboxProblem returns how busybox's crond misreads l, "" if it reads l right. That
// crond takes any # for the start of a comment, even in quotes. With atKills, a line
// that begins with @ ends the daemon: crond was built without -d, as Debian's is.
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
