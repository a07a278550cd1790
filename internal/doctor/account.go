package doctor

import (
	"bufio"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"lifeline/install"
)

// account says why PAM refuses the jobs of this user, as it refuses a login: the
// account or its password has expired (pam_unix(8), shadow(5)). busybox's cron knows
// no PAM.
func (d *Doctor) account() {
	if !slices.ContainsFunc([]string{"/etc/pam.d/cron", "/etc/pam.d/crond"}, exists) {
		return
	}
	if only, ok := lesserOf(d.cronds); ok && only.busybox {
		return
	}
	user := userName()
	switch why := ageing(user, time.Now()); why {
	case "":
	case "account":
		d.wrong("account", "usermod -e '' "+user,
			"the account of %s has expired (chage -l %s), and cron then starts nothing of it", user, user)
	default:
		d.wrong("account", "passwd "+user+", or chage -M -1 -d today "+user,
			"%s (chage -l %s), and cron then starts nothing of %s", why, user, user)
	}
}

const (
	mustChange = "the password must be changed"
	outOfDate  = "the password has expired"
)

// ageing returns what has expired of the user: "account", or a word on the password.
func ageing(user string, now time.Time) string {
	if file, err := os.Open("/etc/shadow"); err == nil {
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if f := strings.Split(lines.Text(), ":"); f[0] == user && len(f) >= 8 {
				return ageingOf(f, now)
			}
		}
		return ""
	}
	cmd := exec.Command("chage", "-l", user) // it may read the file, for one's own account
	cmd.Env = []string{"LC_ALL=C", "PATH=" + install.CronDPath}
	out, _ := cmd.Output()
	return chageSays(string(out), now)
}

// ageingOf reads a line of shadow(5), as pam_unix does (check_shadow_expiry).
func ageingOf(f []string, now time.Time) string {
	day := func(n int) int {
		if number, err := strconv.Atoi(f[n]); err == nil {
			return number
		}
		return -1
	}
	today := int(now.Unix() / 86400)
	changed, most, expires := day(2), day(4), day(7)
	switch {
	case expires >= 0 && today >= expires:
		return "account"
	case changed == 0:
		return mustChange
	case changed > 0 && most >= 0 && today-changed > most:
		return outOfDate
	}
	return ""
}

// chageSays reads what chage -l prints.
func chageSays(text string, now time.Time) string {
	passed := func(value string) bool {
		day, err := time.Parse("Jan 02, 2006", value)
		return err == nil && !now.UTC().Truncate(24*time.Hour).Before(day)
	}
	var password string
	for line := range strings.Lines(text) {
		what, value, _ := strings.Cut(line, ":")
		value = strings.TrimSpace(value)
		switch strings.TrimSpace(what) {
		case "Account expires":
			if passed(value) {
				return "account"
			}
		case "Last password change":
			if strings.HasPrefix(value, "password must be changed") {
				password = mustChange
			}
		case "Password expires":
			if password == "" && passed(value) {
				password = outOfDate
			}
		}
	}
	return password
}
