package doctor

import (
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/process/launch"
	"lifeline/procscan"
)

// limit is a user's limit for one item of limits.conf(5).
type limit struct {
	soft, hard     uint64
	where          string // file and text of the last line that counted
	softBy, hardBy int    // the nearness of the lines that gave soft and hard
}

// limitItems are the limits that can make a start fail, with the size of their unit.
var limitItems = map[string]struct {
	resource int
	unit     uint64
}{
	"as": {unix.RLIMIT_AS, 1024}, "data": {unix.RLIMIT_DATA, 1024}, "stack": {unix.RLIMIT_STACK, 1024},
	"fsize": {unix.RLIMIT_FSIZE, 1024}, "nofile": {unix.RLIMIT_NOFILE, 1}, "cpu": {unix.RLIMIT_CPU, 60},
	"memlock": {unix.RLIMIT_MEMLOCK, 1024}, "nproc": {unix.RLIMIT_NPROC, 1},
}

// readLimits returns the limits that pam_limits(8) would set for p.
func readLimits(r pamRule, p person) map[string]limit {
	files := []string{r.option("conf", "/etc/security/limits.conf")}
	if r.option("conf", "") == "" {
		more, _ := filepath.Glob("/etc/security/limits.d/*.conf")
		files = append(files, more...)
	}
	found := map[string]limit{}
	var groups []string
	for _, file := range files {
		text, _ := os.ReadFile(file)
		for line := range strings.Lines(string(text)) {
			line, _, _ = strings.Cut(line, "#")
			f := strings.Fields(line)
			if len(f) != 4 || limitItems[f[2]].unit == 0 {
				continue
			}
			if groups == nil {
				groups = append(p.groups(), "")
			}
			near := nearness(f[0], p, groups)
			value := uint64(unix.RLIM_INFINITY)
			if n, err := strconv.ParseUint(f[3], 10, 64); err == nil {
				value = n * limitItems[f[2]].unit
			} else if !slices.Contains([]string{"unlimited", "infinity", "-1"}, f[3]) {
				continue
			}
			l, seen := found[f[2]]
			if !seen {
				l = limit{soft: unix.RLIM_INFINITY, hard: unix.RLIM_INFINITY}
			}
			old := l
			if f[1] != "hard" && near >= l.softBy && near > 0 {
				l.soft, l.softBy = value, near
			}
			if f[1] != "soft" && near >= l.hardBy && near > 0 {
				l.hard, l.hardBy = value, near
			}
			if l != old {
				l.where = fmt.Sprintf("%s: %s", file, strings.Join(f, " "))
				found[f[2]] = l
			}
		}
	}
	return found
}

// limitNames are the names in proc_pid_limits(5).
var limitNames = map[string]string{"Max address space": "as", "Max data size": "data", "Max stack size": "stack",
	"Max file size": "fsize", "Max open files": "nofile", "Max cpu time": "cpu", "Max locked memory": "memlock",
	"Max processes": "nproc"}

// daemonLimits returns the limits of the cron daemon that are tighter than this process's.
func (d *Doctor) daemonLimits() map[string]limit {
	found := map[string]limit{}
	c, ok := d.only()
	if !ok {
		return found
	}
	path := fmt.Sprintf("/proc/%d/limits", c.id.PID)
	text, _ := os.ReadFile(path)
	for line := range strings.Lines(string(text)) {
		if len(line) < 26 {
			continue
		}
		item := limitNames[strings.TrimSpace(line[:26])]
		f := strings.Fields(line[26:])
		if item == "" || len(f) < 2 {
			continue
		}
		value := func(word string) uint64 {
			if n, err := strconv.ParseUint(word, 10, 64); err == nil {
				return n
			}
			return unix.RLIM_INFINITY
		}
		l := limit{soft: value(f[0]), hard: value(f[1])}
		l.where = fmt.Sprintf("cron's own, %s: %s %s; Limit…= of its systemd unit", path, strings.TrimSpace(line[:26]),
			f[0])
		var own unix.Rlimit
		if unix.Getrlimit(limitItems[item].resource, &own) == nil && l.soft < own.Cur {
			found[item] = l
		}
	}
	return found
}

// nearness returns how closely a line of limits.conf(5) names p. By name or uid it is 3,
// by a group 2, as any user but root 1, and 0 for other users' lines.
func nearness(domain string, p person, groups []string) int {
	if domain == "*" && p.uid != 0 {
		return 1
	}
	if group, ok := strings.CutPrefix(domain, "@"); ok && slices.Contains(groups, group) {
		return 2
	}
	if domain == p.name {
		return 3
	}
	if low, high, ok := strings.Cut(domain, ":"); ok {
		from, fromErr := strconv.Atoi(low)
		to, toErr := strconv.Atoi(high)
		if (low == "" || fromErr == nil && from <= p.uid) && (high == "" || toErr == nil && p.uid <= to) {
			return 3
		}
	}
	return 0
}

// filesOfStart is how many open files a start needs, as tried: with 14 some starts fail.
const filesOfStart = 16

// limits reports the limits under which cron's shell or lifeline can't be started. They
// are the daemon's own, and those that PAM sets instead.
func (d *Doctor) limits(p person, session []pamRule) {
	limits := d.daemonLimits()
	i := slices.IndexFunc(session, func(r pamRule) bool { return filepath.Base(r.module) == "pam_limits.so" })
	if i >= 0 {
		maps.Copy(limits, readLimits(session[i], p))
	}
	if l, given := limits["nproc"]; given && p.uid > 0 {
		most := min(l.soft, l.hard)
		if used := threadsOf(p.uid); uint64(used+threadsOfStart) > most {
			d.wrong("limits", "raise it: "+l.where,
				"%s may have %d processes and threads, %d are in use, and cron's start needs about %d more (%s)",
				p.name, most, used, threadsOfStart, l.where)
		}
	}
	if l, given := limits["nofile"]; given && min(l.soft, l.hard) < filesOfStart {
		d.wrong("limits", "raise it: "+l.where,
			"cron's start of %s may open %d files, and lifeline needs %d (%s)", p.name,
			min(l.soft, l.hard), filesOfStart, l.where)
	}
	delete(limits, "nproc") // this program's own threads would count
	if p.uid == os.Geteuid() {
		d.tryLimits(limits)
	}
}

// threadsOf counts a user's threads without this process's.
func threadsOf(uid int) int {
	table, err := procscan.Read("LIFELINE_")
	if err != nil {
		return 0
	}
	n := 0
	for _, p := range table.Processes {
		if p.UID() == uid && p.ID.PID != os.Getpid() {
			n += p.Threads
		}
	}
	return n
}

// tryLimits starts this program under the limits that cron's start would have.
func (d *Doctor) tryLimits(limits map[string]limit) {
	if len(limits) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	// The shell waits until its limits are set, and then becomes this program's launcher.
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", `read go; exec "$@"`, "sh",
		fmt.Sprintf("/proc/%d/exe", os.Getpid()),
		"-c", ":")
	cmd.Env = []string{launch.Env + "=" + launch.Plan{Path: "/bin/sh"}.String()}
	cmd.Dir, cmd.WaitDelay = "/", time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	stdin, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return // noShell says why
	}
	var texts []string
	for item, l := range limits {
		lim := unix.Rlimit{Cur: min(l.soft, l.hard), Max: l.hard}
		if unix.Prlimit(cmd.Process.Pid, limitItems[item].resource, &lim, nil) == nil {
			texts = append(texts, l.where)
		}
	}
	_, _ = io.WriteString(stdin, "\n")
	stdin.Close()
	if err := cmd.Wait(); err != nil && ctx.Err() == nil {
		slices.Sort(texts)
		d.wrong("limits", "raise them there",
			"within the limits that cron's start has, lifeline itself can't run (%v): %s",
			err, strings.Join(texts, "; "))
	}
}
