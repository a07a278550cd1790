package doctor

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"lifeline/install"
)

// person is a user whose jobs cron starts.
type person struct {
	name     string
	uid      int
	isLocal  bool // the user is in the password file
	isSystem bool // the user comes from a line with a user column
}

// groups returns the names of the person's groups.
func (p person) groups() []string {
	out, _ := exec.Command("id", "-Gn", "--", p.name).Output()
	return strings.Fields(string(out))
}

// findPerson looks in the password file, and then asks getent(1), which knows directory
// services.
func findPerson(name string) (person, bool) {
	text, _ := os.ReadFile("/etc/passwd")
	local := true
	line := passwdLine(string(text), name)
	if line == nil {
		out, err := exec.Command("getent", "passwd", "--", name).Output()
		if err != nil {
			return person{}, false
		}
		local = false
		line = passwdLine(string(out), name)
	}
	if len(line) < 3 {
		return person{name: name, uid: -1}, line != nil
	}
	uid, err := strconv.Atoi(line[2])
	if err != nil {
		uid = -1
	}
	return person{name: name, uid: uid, isLocal: local}, true
}

func passwdLine(text, name string) []string {
	for line := range strings.Lines(text) {
		if f := strings.Split(strings.TrimSpace(line), ":"); f[0] == name {
			return f
		}
	}
	return nil
}

// pamService returns the cron daemon's service name for PAM; "" where cron doesn't ask
// PAM, as with busybox and systemd-cron. Debian's cronie has a name of its own.
func (d *Doctor) pamService() string {
	if only, ok := lesserOf(d.cronds); ok && only.busybox || d.bySystemd() || runtime.GOOS != "linux" {
		return ""
	}
	names := []string{"cron", "crond", "cronie"}
	if !ignoresFiles(d.cronds) {
		names = []string{"cronie", "crond"}
	}
	for _, name := range names {
		if exists(filepath.Join(pamDir, name)) {
			return name
		}
	}
	return ""
}

// account reports why PAM refuses the jobs of p, as it refuses a login. The account or its
// password has expired, a module denies p or is missing, or p's limits are too low.
func (d *Doctor) account(p person) {
	isRefused := false
	service := d.pamService()
	session := readPAM(service, "session")
	defer func() {
		if !isRefused {
			d.limits(p, session)
		}
	}()
	if service == "" || p.isSystem && p.uid == 0 && !ignoresFiles(d.cronds) { // as cronie's security.c
		return
	}
	for _, stack := range []struct {
		rules []pamRule
		ask   func(pamRule) string
	}{
		{readPAM(service, "account"), func(r pamRule) string { return accountSays(r, p) }},
		// For credentials and session, an existing module is taken to succeed.
		{readPAM(service, "auth"), thereSays}, {session, thereSays},
	} {
		if len(stack.rules) == 0 {
			continue
		}
		code, by, unknown := judgePAM(stack.rules, stack.ask)
		if code != pamSuccess {
			isRefused = true
			d.refused(p, by, code)
			return
		}
		if unknown != "" {
			d.Rest = append(d.Rest, fmt.Sprintf("PAM's %s, which can't be asked, decides on %s", unknown, p.name))
		}
	}
}

// refused reports which module refuses p, and what to do.
func (d *Doctor) refused(p person, by pamRule, code string) {
	module := filepath.Base(by.module)
	where, then := by.at, fmt.Sprintf("and cron then starts nothing of %s", p.name)
	switch {
	case code == "module_unknown":
		d.wrong("account", "install the package that has it, or take out "+where,
			"PAM's module %s isn't there, %s", module, then)
	case module == "pam_unix.so" && code == "acct_expired":
		d.wrong("account", "usermod -e '' "+p.name, "the account of %s has expired (chage -l %s), %s",
			p.name, p.name, then)
	case module == "pam_unix.so" && code == "authinfo_unavail":
		d.wrong("account", "pwconv writes it; then passwd "+p.name, "%s, %s", noShadow, then)
	case module == "pam_unix.so":
		d.wrong("account", "passwd "+p.name+", or chage -M -1 -d today "+p.name,
			"%s (chage -l %s), %s", ageing(p.name, time.Now()), p.name, then)
	case module == "pam_nologin.so":
		d.wrong("account", "rm "+nologin(by), "%s is there, and keeps out all but root (%s), %s",
			nologin(by), where, then)
	case module == "pam_access.so":
		_, line, _ := mayEnter(by, p)
		file := by.option("accessfile", "/etc/security/access.conf")
		d.wrong("account", fmt.Sprintf("write +:%s:cron before it, in %s", p.name, file),
			"%s keeps %s out (pam_access), %s", line, p.name, then)
	default:
		d.wrong("account", "see to that line; on Debian pam-auth-update writes it again",
			"PAM's module %s refuses %s (%s), %s", module, p.name, where, then)
	}
}

// nologin returns the file of pam_nologin(8).
func nologin(r pamRule) string {
	if file := r.option("file", ""); file != "" {
		return file
	}
	if exists("/var/run/nologin") {
		return "/var/run/nologin"
	}
	return "/etc/nologin"
}

// thereSays returns success for a module that exists, unless the module is pam_deny.
func thereSays(r pamRule) string {
	switch {
	case !isPAMModule(r.module):
		return "module_unknown"
	case filepath.Base(r.module) == "pam_deny.so":
		return "perm_denied"
	}
	return pamSuccess
}

// accountSays returns what a module answers when p logs in now; "" when unknown.
func accountSays(r pamRule, p person) string {
	if there := thereSays(r); there != pamSuccess {
		return there
	}
	switch filepath.Base(r.module) {
	case "pam_permit.so", "pam_faillock.so", "pam_warn.so", "pam_echo.so", "pam_rootok.so":
		return pamSuccess
	case "pam_unix.so":
		if !p.isLocal {
			return ""
		}
		switch ageing(p.name, time.Now()) {
		case "account":
			return "acct_expired"
		case mustChange, outOfDate:
			return "new_authtok_reqd"
		case noShadow:
			return "authinfo_unavail"
		}
		return pamSuccess
	case "pam_nologin.so":
		if p.uid != 0 && exists(nologin(r)) {
			return "auth_err"
		}
		return "ignore"
	case "pam_localuser.so":
		if p.isLocal {
			return pamSuccess
		}
		return "perm_denied"
	case "pam_access.so":
		switch allowed, _, known := mayEnter(r, p); {
		case !known:
			return ""
		case allowed:
			return pamSuccess
		}
		return "perm_denied"
	}
	return ""
}

const (
	mustChange = "the password must be changed"
	outOfDate  = "the password has expired"
	noShadow   = "the account has no line in /etc/shadow"
)

// ageing returns what has expired: "account", mustChange, outOfDate, or "" for nothing.
func ageing(user string, now time.Time) string {
	if file, err := os.Open("/etc/shadow"); err == nil {
		defer file.Close()
		for lines := bufio.NewScanner(file); lines.Scan(); {
			if f := strings.Split(lines.Text(), ":"); f[0] == user && len(f) >= 8 {
				return ageingOf(f, now)
			}
		}
		text, _ := os.ReadFile("/etc/passwd")
		if f := passwdLine(string(text), user); len(f) > 1 && f[1] == "x" {
			return noShadow
		}
		return ""
	}
	cmd := exec.Command("chage", "-l", user) // setgid chage reads the file for one's own account
	cmd.Env = []string{"LC_ALL=C", "PATH=" + install.CronDPath}
	out, _ := cmd.Output()
	return chageSays(string(out), now)
}

// ageingOf reads a line of shadow(5) as pam_unix does (check_shadow_expiry).
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
