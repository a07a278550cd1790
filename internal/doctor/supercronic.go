package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lifeline/install"
	"lifeline/procscan"
)

// supercronic is a cron daemon with a crontab file of its own. It runs as the container's
// user, and its jobs inherit its environment and directory.
type supercronic struct {
	id    procscan.ID // zero when it doesn't run
	since time.Time
	looks bool // the daemon rereads the file after each change (-inotify)
	env   []string
	dir   string
}

// SupercronicOf returns the pid of the supercronic that reads the file; 0 for none.
func SupercronicOf(file string) int { return findSupercronic(file).id.PID }

func findSupercronic(file string) supercronic {
	pids, _ := procscan.Pids()
	for _, pid := range pids {
		s, err := procscan.Lookup(pid)
		if err != nil || s.Dead() || s.Comm != "supercronic" {
			continue
		}
		argv := procscan.Argv(s.ID)
		dir, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
		reads := slices.ContainsFunc(argv, func(word string) bool {
			if !filepath.IsAbs(word) {
				word = filepath.Join(dir, word)
			}
			return isSame(word, file)
		})
		if !reads {
			continue
		}
		found := supercronic{id: s.ID, dir: dir}
		found.looks = slices.Contains(argv, "-inotify") || slices.Contains(argv, "--inotify")
		found.since, _ = procscan.Describe(s.ID)
		if text, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid)); err == nil {
			found.env = strings.Split(strings.Trim(string(text), "\x00"), "\x00")
		}
		return found
	}
	dir, _ := os.Getwd()
	return supercronic{dir: dir, env: os.Environ()}
}

func isSame(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return a == b || errX == nil && errY == nil && os.SameFile(x, y)
}

// variable returns the value of a variable in the daemon's environment.
func (s supercronic) variable(name string) string {
	for _, kv := range s.env {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// supercronic reports whether a daemon reads the crontab file.
func (d *Doctor) supercronic() {
	d.super = findSupercronic(d.Crontab)
	d.cronds = []Crond{{id: d.super.id, program: "supercronic"}}
	s, err := procscan.Lookup(d.super.id.PID)
	why, revival := halted(s)
	switch {
	case d.super.id.Zero():
		d.wrong("supercronic", "start it, as the container's command: supercronic "+d.Crontab,
			"no supercronic reads %s: nothing will be started", d.Crontab)
	case err == nil && why != "":
		d.wrong("supercronic", revival, "supercronic, pid %d, is %s: it starts nothing", s.PID, why)
	default:
		d.fine("supercronic", "runs: supercronic, pid %d", d.super.id.PID)
	}
}

// supercronicTable reads the crontab file.
func (d *Doctor) supercronicTable() crontab {
	t := crontab{title: d.Crontab, user: userName(), remedy: "edit " + d.Crontab, super: true}
	info, err := os.Stat(d.Crontab)
	if err != nil {
		d.wrong("crontab", "lifeline install --crontab "+d.Crontab+" NAME -- COMMAND makes it", "%v", err)
		return t
	}
	text, err := os.ReadFile(d.Crontab)
	if err != nil {
		d.wrong("crontab", "let this user read it: ls -l "+d.Crontab, "%v", err)
		return t
	}
	t.text, t.changed = string(text), info.ModTime()
	if err := install.CheckSupercronic(t.text); err != nil {
		t.skip, t.advice = err.Error(), "correct that line: "+t.remedy
	}
	return t
}

// unread reports a file that was changed after supercronic had read it. A later trace of
// a start shows that supercronic has read the change. The daemon's own start is known to
// a second.
func (d *Doctor) unread(t crontab, trace time.Time) {
	started := d.super.since.Add(time.Second)
	if !t.super || d.super.id.Zero() || d.super.looks || !t.changed.After(started) || trace.After(t.changed) {
		return
	}
	pid := d.super.id.PID
	d.wrong("supercronic",
		fmt.Sprintf("kill -USR2 %d has it read the file again, if that wasn't done; or start it with -inotify", pid),
		"%s was changed after supercronic, pid %d, had started, and nothing of it has been started since", t.title, pid)
}
