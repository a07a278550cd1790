package doctor

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/install"
	"lifeline/internal/human"
	"lifeline/internal/journal"
	"lifeline/internal/process"
	"lifeline/internal/statedir"
)

// cron reports whether a cron daemon runs.
func (d *Doctor) cron() {
	list, err := RunningCronds()
	if err != nil {
		d.wrong("cron", "mount /proc, or look with ps whether cron runs", "%v", err)
		return
	}
	d.cronds = list
	switch {
	case len(list) > 0 && list[0].halted != "":
		d.wrong("cron", list[0].revival, "%s, pid %d, is %s: it starts nothing", list[0].program, list[0].id.PID,
			list[0].halted)
	case len(list) > 0:
		d.fine("cron", "runs: %s, pid %d", list[0].program, list[0].id.PID)
	case runtime.GOOS == "darwin":
		d.fine("cron", "launchd starts it when there is a crontab")
	case hasSystemdCron():
		d.systemdCron()
	default:
		advice := "install one (Debian: apt-get install cron), and have it started at boot"
		if have := InstalledCronds(); len(have) > 0 {
			service := filepath.Base(have[0].program)
			advice = fmt.Sprintf("start it, and have it started at boot: systemctl enable --now "+
				"%s, or service %s start",
				service, service)
			if len(have) == 1 && have[0].busybox {
				advice = "start it, and have it started at boot: " + have[0].program
			}
		}
		d.wrong("cron", advice, "no cron daemon runs here: nothing will be started")
	}
}

// outputPlace reports a /tmp in which Debian's cron can't make a file for a job's output.
// Such a cron starts no job, and says so only in its log (do_command.c, tmpfile(3)).
func (d *Doctor) outputPlace() {
	fs, err := statedir.Stat("/tmp")
	if err != nil || !ignoresFiles(d.cronds) || runtime.GOOS != "linux" {
		return
	}
	switch {
	case unix.Access("/tmp", unix.W_OK) == unix.EROFS:
		d.wrong("cron", "mount -o remount,rw /tmp",
			"/tmp can't be written, and cron, which keeps the output of a job there, starts nothing")
	case fs.Inodes > 0 && fs.FreeInodes == 0:
		d.wrong("cron", "remove files there: df -i /tmp",
			"/tmp has no inode left, and cron, which keeps the output of a job there, starts nothing")
	}
}

// CronRuns reports whether a cron starts the jobs of the crontabs. It returns true when
// that is unknown.
func CronRuns() bool {
	list, err := RunningCronds()
	return err != nil || len(list) > 0 || runtime.GOOS == "darwin" || hasSystemdCron()
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// tabled is a line and its crontab.
type tabled struct {
	install.Line
	table crontab
}

// line finds the line that starts name, and reports its faults.
func (d *Doctor) line(name string) (tabled, bool) {
	var mine, others []tabled
	for _, t := range d.tables {
		if err := install.CheckBlocks(t.text, name); err != nil {
			d.failed("crontab", err)
		}
		for _, l := range t.lines() {
			switch {
			case l.Name != name:
			case t.isMine(l):
				mine = append(mine, tabled{l, t})
			default:
				others = append(others, tabled{l, t})
			}
		}
	}
	if len(mine) == 0 {
		d.noLine(name, others)
		return tabled{}, false
	}
	// Lines in a file that cron ignores don't count beside a line that cron reads.
	isRead := func(l tabled) bool { return l.table.skip == "" }
	if slices.ContainsFunc(mine, isRead) {
		mine = slices.DeleteFunc(mine, func(l tabled) bool { return !isRead(l) })
	}
	best := mine[0]
	for _, l := range mine {
		if best.Schedule == "@reboot" && l.Schedule != "@reboot" {
			best = l
		}
	}
	before := d.wrongs
	if best.Schedule == "@reboot" {
		d.wrong("crontab", "put a line with * * * * * beside it, or let lifeline install do it",
			"%s has only @reboot: nothing starts it again before the next boot", where(best.table, best.Line))
	}
	for _, l := range mine {
		if l.Dir != best.Dir || !slices.Equal(l.Argv[1:], best.Argv[1:]) || l.table.title != best.table.title {
			d.wrong("crontab", "take one of them out: "+l.table.remedy,
				"%s and %s start %s in different ways, and the first that comes wins", where(best.table, best.Line),
				where(l.table, l.Line), name)
			break
		}
	}
	for _, l := range mine {
		d.checkLine(l)
	}
	if best.table.skip != "" {
		d.wrong("crontab", best.table.advice, "%s: %s", best.table.title, best.table.skip)
	}
	if d.wrongs == before {
		d.fine("crontab", "%s starts it: %s", where(best.table, best.Line), best.Schedule)
	}
	return best, best.Problem == ""
}

func (d *Doctor) noLine(name string, others []tabled) {
	in := d.crontabOption()
	if len(others) > 0 {
		d.belongs(name, others[0])
		return
	}
	for _, t := range d.tables {
		for _, l := range t.lines() {
			if t.isMine(l) && strings.Contains(l.Shell, " "+name+" -- ") {
				d.wrong("crontab", "give it a line of its own: "+t.remedy,
					"%s starts it behind %s; of such a line only the first name is understood", where(t, l), l.Name)
				return
			}
		}
		for _, l := range install.Disabled(t.text, t.kind()) {
			if l.Name == name && t.isMine(l) {
				d.wrong("crontab", "lifeline enable "+in+name, "%s starts it, and is commented out", where(t, l))
				return
			}
		}
	}
	advice := "lifeline install " + in + name + " -- " + d.lastCommand(name)
	if known := d.allNames(); !slices.Contains(known, name) {
		if near := human.Nearest(name, known); near != "" {
			advice = fmt.Sprintf("%s; or is %s meant?", advice, near)
		}
	}
	d.wrong("crontab", advice, "no line starts %s", name)
}

// lastCommand returns the command that name ran last, quoted for a shell; "COMMAND" when
// unknown.
func (d *Doctor) lastCommand(name string) string {
	path, _, err := d.Guard.Journal(name)
	if err != nil {
		return "COMMAND"
	}
	state, err := journal.ReadState(path)
	if err != nil || len(state.Command) == 0 || strings.HasSuffix(state.Command[len(state.Command)-1], "…") {
		return "COMMAND"
	}
	return human.ShellLine(state.Command)
}

// belongs reports that another user's line starts name. Root has already checked what only
// root can see.
func (d *Doctor) belongs(name string, l tabled) {
	user := l.table.userOf(l.Line)
	if !IsUser(user) {
		d.wrong("crontab", "correct it: "+l.table.remedy, "%s starts it as the user %s, who isn't there",
			where(l.table, l.Line), user)
		return
	}
	ask := fmt.Sprintf("sudo -u %s lifeline doctor %s", user, name)
	if os.Geteuid() != 0 || d.machine > 0 {
		d.wrong("crontab", "ask as that user: "+ask, "%s starts it as the user %s, whose names are not yours",
			where(l.table, l.Line), user)
		return
	}
	d.fine("crontab", "%s starts it as the user %s, whose names are not yours", where(l.table, l.Line), user)
	d.Others = append(d.Others, Other{user, name})
}

// checkLine reports what cron or the shell can't handle in the line.
func (d *Doctor) checkLine(l tabled) {
	at := where(l.table, l.Line)
	if l.Problem != "" {
		d.wrong("crontab", "write it plainly, or put it into a script: "+l.table.remedy,
			"%s can't be checked, and perhaps not run: %s", at, l.Problem)
	}
	if err := install.CheckSchedule(l.Schedule); err != nil && !l.table.super {
		d.wrong("crontab", "correct it: "+l.table.remedy, "%s: cron may never start it: %v", at, err)
	}
	if l.Number == l.table.unended {
		d.wrong("crontab", "end it with a newline: "+l.table.remedy,
			"%s has no newline, and cron then leaves it out", at)
	}
	if only, ok := lesserOf(d.cronds); ok {
		if problem := only.Problem(l.Line); problem != "" {
			d.wrong("crontab", Advice(l.Line)+"; or install another cron", "%s: %s", at, problem)
		}
		if l.table.user == "" && !only.ReadsCronD() {
			d.wrong("crontab", "put it into root's crontab: lifeline install, without --cron-d",
				"%s: busybox crond doesn't read it", l.table.title)
		}
	}
	shell, advice := l.Environment["SHELL"], "correct the line SHELL=: "+l.table.remedy
	if shell == "" {
		shell, advice = "/bin/sh", "install it again (Debian: apt-get install --reinstall dash)"
	}
	if slices.ContainsFunc(slices.Collect(maps.Keys(l.Environment)), isForLinker) {
		advice = "take out the settings of the dynamic linker, or correct them or SHELL=: " + l.table.remedy
	}
	if why := noShell(shell, l.Environment); why != "" {
		d.wrong("crontab", advice, "its SHELL is %s, which %s", shell, why)
	}
	if zone := l.Environment["CRON_TZ"]; zone != "" && ignoresFiles(d.cronds) {
		d.wrong("crontab", "give the hour in the machine's zone, or install a cron that knows CRON_TZ (cronie): "+
			l.table.remedy, "%s means the zone CRON_TZ=%s, which this cron doesn't know: it takes "+
			"the machine's", at, zone)
	}
	f := strings.Fields(l.Schedule)
	if zone := d.zoneOf(); zone != "" && (len(f) == 5 && !strings.HasPrefix(f[1], "*") || len(f) == 1 && f[0] != "@reboot" &&
		f[0] != "@hourly") {
		d.wrong("crontab", "take TZ out of cron's environment (systemctl cat cron, /etc/default/cron), and "+restartCron,
			"%s: cron has TZ=%s in its environment, and takes the hour in that zone instead of the machine's", at, zone)
	}
	if l.table.skip == "" {
		d.timer(l)
	}
	d.before(l)
}

// before checks what precedes lifeline in the line: it reports a missing program and a
// condition that doesn't hold.
func (d *Doctor) before(l tabled) {
	path := d.path(l)
	for part := range strings.SplitSeq(l.Before, "&&") {
		words := strings.Fields(part)
		if len(words) == 0 || strings.ContainsAny(part, ";|&()$`'\"\\<>{}") {
			continue // only a shell can read it
		}
		if words[0] == "test" || words[0] == "[" || words[0] == "/usr/bin/test" {
			if exec.Command("/bin/sh", "-c", part).Run() != nil {
				d.wrong("crontab", "see to that, or take it out: "+l.table.remedy,
					"%s starts it only where `%s` holds, which it doesn't now", where(l.table, l.Line), strings.TrimSpace(part))
			}
			continue
		}
		if slices.Contains(shellWords, words[0]) || strings.Contains(words[0], "=") {
			continue
		}
		if _, err := process.Find(words[0], path, "/"); err != nil {
			d.wrong("crontab", "correct it: "+l.table.remedy, "%s begins with %s, and lifeline isn't reached: %v",
				where(l.table, l.Line), words[0], err)
		}
	}
}

// path returns the line's PATH, which its crontab or the daemon sets.
func (d *Doctor) path(l tabled) string {
	switch path := l.Environment["PATH"]; {
	case path != "":
		return path
	case l.table.super:
		return d.super.variable("PATH")
	}
	return install.CronPath
}

// shellWords are words that a shell knows without a program.
var shellWords = []string{"!", ".", ":", "cd", "command", "eval", "exec", "export", "false", "if", "set", "sleep", "then",
	"time", "trap", "true", "ulimit", "umask", "unset", "while"}

// isForLinker reports whether the dynamic linker reads the variable (ld.so(8)).
func isForLinker(name string) bool { return strings.HasPrefix(name, "LD_") }

// commonShells are trusted without a test.
var commonShells = []string{"sh", "ash", "bash", "dash", "ksh", "mksh", "yash", "zsh", "fish", "csh", "tcsh", "busybox"}

// noShell returns why cron can't use shell with the crontab's settings; "" when it can. It
// tests an unknown shell, and each shell under settings for the dynamic linker (ld.so(8)).
func noShell(shell string, settings map[string]string) string {
	if !strings.Contains(shell, "/") {
		return "is no path, and cron looks for none"
	}
	if info, err := os.Stat(shell); err != nil || info.IsDir() || info.Mode()&0o111 == 0 {
		return "isn't a program"
	}
	if _, err := process.Find(shell, install.CronPath, "/"); err != nil {
		return fmt.Sprintf("can't be started: %v", err)
	}
	var linker []string
	for name, value := range settings {
		if isForLinker(name) {
			linker = append(linker, name+"="+value)
		}
	}
	if slices.Contains(commonShells, filepath.Base(shell)) && len(linker) == 0 {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, shell, "-c", "exit 42")
	cmd.Dir, cmd.WaitDelay = "/", time.Second
	cmd.Env = append([]string{"PATH=" + install.CronPath}, linker...)
	_ = cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != 42 {
		under := ""
		if len(linker) > 0 {
			under = " under " + strings.Join(linker, " ")
		}
		return "runs no command" + under + ": -c 'exit 42' gave another end"
	}
	return ""
}
