package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"time"

	"lifeline/install"
	"lifeline/internal/human"
	"lifeline/procscan"
)

// crontab is a file in which cron looks for lines.
type crontab struct {
	title  string
	text   string
	user   string // its user; "" where its lines have a user column
	super  bool   // supercronic reads it
	remedy string // how to change it
	skip   string // why cron ignores the whole file
	advice string // what to do about skip

	unended int       // the number of a last line without a newline, which cronie leaves out
	changed time.Time // its last change; zero when unknown
}

// kind returns how its lines are written.
func (t crontab) kind() install.Kind {
	switch {
	case t.super:
		return install.Supercronic
	case t.user == "":
		return install.SystemTable
	}
	return install.UserTable
}

func (t crontab) lines() []install.Line { return install.Entries(t.text, t.kind()) }

// userOf returns the user that the line runs as.
func (t crontab) userOf(l install.Line) string {
	if t.user == "" {
		return l.User
	}
	return t.user
}

// isMine reports whether the line runs as doctor's user.
func (t crontab) isMine(l install.Line) bool { return t.userOf(l) == userName() }

// spools are the directories of the users' crontabs: Debian's and busybox's, cronie's,
// SUSE's, the BSDs'.
var spools = []string{"/var/spool/cron/crontabs", "/var/spool/cron", "/var/spool/cron/tabs", "/var/cron/tabs"}

// spoolFile returns the file that cron reads for the user; "" when it can't be seen.
func spoolFile(user string) string {
	for _, dir := range spools {
		if path := filepath.Join(dir, user); exists(path) {
			return path
		}
	}
	return ""
}

// Spooled returns the users whose crontabs name lifeline, with the files. Only root may
// read these.
func Spooled() map[string]string {
	found := map[string]string{}
	for _, dir := range spools {
		files, _ := filepath.Glob(dir + "/*")
		for _, path := range files {
			if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), "lifeline") {
				found[filepath.Base(path)] = path
			}
		}
	}
	return found
}

// crontabs reads the user's crontab and the system's; for root all users'.
func (d *Doctor) crontabs(ctx context.Context) []crontab {
	var list []crontab
	text, err := install.Crontab{}.Read(ctx)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		d.failed("crontab", err)
	case err != nil:
		d.wrong("crontab", "see what crontab -l says; who may use it stands in /etc/cron.allow and /etc/cron.deny",
			"%v", err)
	}
	own := crontab{title: "your crontab", text: text, user: userName(), remedy: "crontab -e"}
	if path := spoolFile(own.user); path != "" { // for root
		own.look(d, path)
	} else if text != "" && os.Geteuid() != 0 {
		d.closed = true
	}
	list = append(list, own)
	if others := Spooled(); os.Geteuid() == 0 {
		for _, user := range slices.Sorted(maps.Keys(others)) {
			text, err := os.ReadFile(others[user])
			if user == own.user || err != nil {
				continue
			}
			t := crontab{title: "the crontab of " + user, text: string(text), user: user,
				remedy: "crontab -u " + user + " -e"}
			t.look(d, others[user])
			list = append(list, t)
		}
	}
	files, _ := filepath.Glob("/etc/cron.d/*")
	for _, path := range append(files, "/etc/crontab") {
		text, err := os.ReadFile(path)
		if err != nil || !strings.Contains(string(text), "lifeline") {
			continue
		}
		t := crontab{title: path, text: string(text), remedy: "edit " + path}
		if info, err := os.Stat(path); err == nil {
			t.changed = info.ModTime()
		}
		t.skip, t.advice = d.passedOver(path)
		list = append(list, t)
	}
	for i := range list {
		t := &list[i]
		if cronie(d.cronds) && t.text != "" && !strings.HasSuffix(t.text, "\n") {
			t.unended = strings.Count(t.text, "\n") + 1
		}
		err := install.CheckFile(t.text, t.user == "", IsUser)
		if err != nil && t.skip == "" && ignoresFiles(d.cronds) {
			t.skip, t.advice = err.Error(), "correct that line: "+t.remedy
		}
	}
	return list
}

// IsUser reports whether the machine knows the user name.
func IsUser(name string) bool {
	_, is := findPerson(name)
	return is
}

// look notes the last change of the spool file path, and why cron ignores the file.
func (t *crontab) look(d *Doctor, path string) {
	if info, err := os.Stat(path); err == nil {
		t.changed = info.ModTime()
	}
	t.skip, t.advice = d.passedOver(path)
}

// passedOver returns why Debian's cron (database.c) or cronie (check_open) ignores a
// file. A file in a spool must belong to the user of its name. There Debian's cron
// requires mode 0600 and follows no link.
func (d *Doctor) passedOver(path string) (why, advice string) {
	debian, name := ignoresFiles(d.cronds), filepath.Base(path)
	if why, advice := d.elsewhere(path); why != "" {
		return why, advice
	}
	if d.bySystemd() {
		return systemdPassesOver(path)
	}
	if _, lesser := lesserOf(d.cronds); lesser || len(d.cronds) == 0 {
		return "", ""
	}
	spooled := slices.Contains(spools, filepath.Dir(path))
	stat := os.Stat
	if spooled && debian {
		stat = os.Lstat
	}
	info, err := stat(path)
	if err != nil {
		return "", ""
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return "", ""
	}
	mode, owner := st.Mode&0o7777, 0
	if user, known := findPerson(name); spooled && known {
		owner = user.uid
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-"
	switch {
	case !info.Mode().IsRegular():
		return "it is no regular file, and cron then ignores it", "write it again: crontab -e"
	case !spooled && debian && !d.isLSB() && strings.Trim(name, letters) != "":
		return "cron ignores files in /etc/cron.d whose names have other characters than letters, digits, _ and -",
			"rename " + path
	case !spooled && debian && d.isLSB() && !isLSBName(name):
		return "cron runs with -l, and then ignores files in /etc/cron.d with such a name (cron(8))",
			"take the -l out of /etc/default/cron, or rename " + path
	case !spooled && !debian && (strings.ContainsAny(name[:1], ".#") || strings.HasSuffix(name, "~") ||
		slices.Contains([]string{".rpmsave", ".rpmorig", ".rpmnew"}, filepath.Ext(name))):
		return "cron ignores a file with that name in /etc/cron.d", "rename " + path
	case st.Uid != 0 && int(st.Uid) != owner:
		to := "root"
		if spooled {
			to = name
		}
		return fmt.Sprintf("it belongs to uid %d, and cron then ignores it", st.Uid), "chown " + to + " " + path
	case debian && spooled && mode != 0o600:
		return fmt.Sprintf("it has mode %04o, and cron takes only 0600", mode), "chmod 600 " + path
	case debian && mode&0o022 != 0:
		return fmt.Sprintf("others may write it (mode %04o), and cron then ignores it", mode), "chmod 644 " + path
	case !debian && mode&0o7533 != 0o400:
		right := "644"
		if spooled {
			right = "600"
		}
		return fmt.Sprintf("it has mode %04o, and cron then ignores it", mode), "chmod " + right + " " + path
	case st.Nlink > 1 && (spooled || debian):
		advice := "copy it, and move the copy to " + path
		if spooled {
			advice = "write it again: crontab -e"
		}
		return fmt.Sprintf("it has %d names (hard links), and cron then ignores it", st.Nlink), advice
	case d.unreadSpool(path):
		return fmt.Sprintf("it was changed in place, without crontab(1), at %s, and cron hasn't read that",
			human.ShortTime(info.ModTime())), "touch " + filepath.Dir(path)
	}
	return "", ""
}

// isLSB reports whether Debian's cron runs with -l.
func (d *Doctor) isLSB() bool {
	c, ok := d.only()
	return ok && slices.ContainsFunc(procscan.Argv(c.id), func(word string) bool {
		return len(word) > 1 && word[0] == '-' && word[1] != '-' && strings.Contains(word, "l")
	})
}

// isLSBName follows valid_name of Debian's database.c.
func isLSBName(name string) bool {
	valid, _ := regexp.MatchString(`^_?([a-z0-9_.]+-)+[a-z0-9]+$|^[a-z0-9][a-z0-9-]*$`, name)
	leftOut, _ := regexp.MatchString(`^[a-z0-9-].*dpkg-(old|dist)$`, name)
	return valid && !leftOut
}
