package doctor

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"lifeline/install"
)

// systemd-cron has no daemon: whenever systemd reloads its units, a generator makes
// timers and services from the crontabs (systemd.cron(7)).

var (
	systemdRuns = "/run/systemd/system"    // exists where systemd is process 1 (sd_booted(3))
	generated   = "/run/systemd/generator" // the generator's output
)

// hasSystemdCron reports whether systemd itself starts the jobs of the crontabs.
func hasSystemdCron() bool {
	const generator = "lib/systemd/system-generators/systemd-crontab-generator"
	return exists(systemdRuns) && (exists("/usr/"+generator) || exists("/"+generator))
}

func (d *Doctor) bySystemd() bool {
	return slices.ContainsFunc(d.cronds, func(c Crond) bool { return c.systemd })
}

// systemdCron checks cron.target, to which all timers of the crontabs belong.
func (d *Doctor) systemdCron() {
	d.cronds = []Crond{{program: "systemd-cron", systemd: true}}
	state, err := exec.Command("systemctl", "is-active", "cron.target").Output()
	if word := strings.TrimSpace(string(state)); err != nil && word != "" {
		d.wrong("cron", "systemctl enable --now cron.target",
			"systemd-cron's cron.target is %s: none of its timers runs", word)
		return
	}
	d.fine("cron", "systemd-cron makes timers of the crontabs")
}

// systemdPassesOver returns why the generator of Debian 12 ignores a file.
func systemdPassesOver(path string) (why, advice string) {
	name := filepath.Base(path)
	switch text, err := os.ReadFile(path); {
	case slices.Contains(spools, filepath.Dir(path)) && strings.Contains(name, "."):
		return "systemd-cron ignores the crontab of a user with a dot in the name", "put the line into /etc/cron.d: " +
			"lifeline install --cron-d"
	case strings.HasPrefix(name, ".") || strings.Contains(name, ".dpkg-") || strings.Contains(name, "~"):
		return "systemd-cron ignores a file with that name", "rename " + path
	case err == nil && !utf8.Valid(text):
		return "it isn't UTF-8, and systemd-cron's generator then makes no timer at all",
			"write it in UTF-8: file -i " + path
	}
	return "", ""
}

// timer compares the line with the timer that systemd-cron has made from it.
func (d *Doctor) timer(l tabled) {
	if !d.bySystemd() || !exists(generated) {
		return
	}
	at := where(l.table, l.Line)
	if f := strings.Fields(l.Schedule); len(f) == 5 && !strings.HasPrefix(f[2], "*") && !strings.HasPrefix(f[4], "*") {
		d.wrong("crontab", "make two names of it, one with the day of the month and one with the day of the week",
			"%s: systemd-cron starts it only on days that are both %s in the month and %s in the week, "+
				"and other crons on each",
			at, f[2], f[4])
	}
	blank := func(text string) string { return strings.Join(strings.Fields(text), " ") }
	made := false
	timers, _ := filepath.Glob(generated + "/cron-*.timer")
	for _, timer := range timers {
		text, _ := os.ReadFile(timer)
		shown := strings.ReplaceAll(string(text), "%%", "%")
		made = made || strings.Contains(shown, " "+l.Name+" -- ")
		script, err := os.ReadFile(strings.TrimSuffix(timer, ".timer") + ".sh")
		if err != nil || !strings.Contains(shown, `"`+blank(l.Text)+`"`) {
			continue
		}
		if !install.SameCommand(string(script), l.Shell) {
			d.wrong("crontab", "put the command into a script, and give that: lifeline install "+l.Name+" -- SCRIPT",
				"%s: systemd-cron makes `%s` of the command", at, blank(string(script)))
		}
		return
	}
	if !made {
		d.wrong("crontab", "systemctl daemon-reload, and see journalctl -t systemd-crontab-generator",
			"%s: systemd-cron has made no timer of it", at)
	}
}
