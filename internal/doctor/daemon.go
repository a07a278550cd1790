package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"lifeline/procscan"
)

// A job has the limits, the cgroup, the capabilities, the mounts and the time zone of the
// cron daemon, and doctor's own may differ. What /proc hides from this user isn't
// reported.

// threadsOfStart is how many processes and threads a start needs: the shell's,
// lifeline's and the command's.
const threadsOfStart = 13

// only returns the cron daemon where exactly one runs.
func (d *Doctor) only() (Crond, bool) {
	if len(d.cronds) != 1 || d.cronds[0].id.Zero() {
		return Crond{}, false
	}
	return d.cronds[0], true
}

// daemon reports what keeps a living cron from starting anything.
func (d *Doctor) daemon() {
	c, ok := d.only()
	if !ok {
		return
	}
	if dir, used, most := crowded(c.id.PID, threadsOfStart); dir != "" {
		d.wrong("cron", fmt.Sprintf("raise it: echo max >%s/pids.max (TasksMax= of its systemd unit)", dir),
			"cron's cgroup %s may have %d processes and threads, %d are in use, and a start needs about %d more: nothing "+
				"will be started", dir, most, used, threadsOfStart)
	}
	if lacks(c.id.PID, capSetgid) {
		d.wrong("cron", capAdvice("SETGID"), "cron, pid %d, lacks the capability CAP_SETGID, without which it starts no job",
			c.id.PID)
	}
}

// capable reports a cron that may not take on the user p, or read that user's crontab.
func (d *Doctor) capable(p person) {
	c, ok := d.only()
	if !ok || p.uid <= 0 {
		return
	}
	if lacks(c.id.PID, capSetuid) {
		d.wrong("cron", capAdvice("SETUID"), "cron, pid %d, lacks the capability CAP_SETUID, without which it starts no "+
			"job of %s", c.id.PID, p.name)
	}
	if lacks(c.id.PID, capDACOverride) && lacks(c.id.PID, capDACReadSearch) && !p.isSystem {
		d.wrong("cron", capAdvice("DAC_OVERRIDE"), "cron, pid %d, lacks the capability CAP_DAC_OVERRIDE, without which it "+
			"can't read the crontab of %s", c.id.PID, p.name)
	}
}

// The numbers of linux/capability.h.
const (
	capDACOverride   = 1
	capDACReadSearch = 2
	capSetgid        = 6
	capSetuid        = 7
)

func capAdvice(name string) string {
	return fmt.Sprintf("let it have that: --cap-add %s of its container, or CapabilityBoundingSet= of its systemd unit",
		name)
}

// lacks reports whether a process is known to lack a capability (capabilities(7)).
func lacks(pid, capability int) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	for line := range strings.Lines(string(text)) {
		if set, ok := strings.CutPrefix(line, "CapEff:"); ok {
			bits, err := strconv.ParseUint(strings.TrimSpace(set), 16, 64)
			return err == nil && bits>>capability&1 == 0
		}
	}
	return false
}

const restartCron = "restart it: systemctl restart cron, or service cron restart"

// elsewhere returns why the daemon doesn't read the file of a crontab that doctor reads.
// Debian's cron looks at its spool by its working directory, which it enters at its start
// (misc.c, set_cron_cwd): it goes on in a directory that was replaced or mounted over.
func (d *Doctor) elsewhere(path string) (why, advice string) {
	c, ok := d.only()
	if !ok {
		return "", ""
	}
	dir := filepath.Dir(path)
	theirs := fmt.Sprintf("/proc/%d/root%s", c.id.PID, dir)
	if dir == spools[0] && ignoresFiles(d.cronds) {
		cwd := fmt.Sprintf("/proc/%d/cwd", c.id.PID)
		theirs = filepath.Join(cwd, filepath.Base(dir))
		if link, _ := os.Readlink(cwd); !exists(theirs) && !strings.HasPrefix(link, filepath.Dir(dir)) {
			return "", "" // it works elsewhere, and isn't such a cron
		}
	}
	here, hereErr := os.Stat(dir)
	there, err := os.Stat(theirs)
	if hereErr != nil || os.IsPermission(err) || err == nil && os.SameFile(here, there) {
		return "", ""
	}
	return fmt.Sprintf("cron, pid %d, looks into another %s than you: it was replaced or mounted over after cron's "+
		"start, or cron has mounts of its own", c.id.PID, dir), restartCron
}

// unreadSpool returns whether Debian's cron hasn't read the last change of a spool file.
// It looks at the files only when the directory, /etc/crontab or /etc/cron.d has changed
// (database.c, load_database), and does so once a minute. An editor that writes the file
// in place changes none of them.
func (d *Doctor) unreadSpool(path string) bool {
	c, ok := d.only()
	file, err := os.Stat(path)
	if !ok || err != nil || filepath.Dir(path) != spools[0] || !ignoresFiles(d.cronds) {
		return false
	}
	started, _ := procscan.Describe(c.id)
	if started.IsZero() {
		return false
	}
	read := started
	watched, _ := filepath.Glob("/etc/cron.d/*")
	for _, path := range append(watched, filepath.Dir(path), "/etc/crontab", "/etc/cron.d") {
		// What changed before the daemon's start, which is known to a second, was read then.
		if info, err := os.Stat(path); err == nil && info.ModTime().After(started.Add(-time.Second)) {
			if next := info.ModTime().Truncate(time.Minute).Add(time.Minute); next.After(read) {
				read = next
			}
		}
	}
	return file.ModTime().After(read.Add(time.Second))
}

// hides reports files of the line that exist here, and not in the daemon's mounts.
func (d *Doctor) hides(l tabled, paths ...string) {
	c, ok := d.only()
	if !ok || !d.hasOtherMounts(c.id.PID) {
		return
	}
	for _, path := range paths {
		real, err := filepath.EvalSymlinks(path)
		if err != nil || !filepath.IsAbs(path) || exists(fmt.Sprintf("/proc/%d/root%s", c.id.PID, real)) {
			continue
		}
		d.wrong("cron", "see how it is started: systemctl cat cron (ProtectHome=, PrivateTmp=, RootDirectory=), or "+
			restartCron, "cron, pid %d, has mounts of its own, in which %s isn't there: %s fails", c.id.PID, path,
			where(l.table, l.Line))
		return
	}
}

// hasOtherMounts reports whether pid has another mount namespace or root than doctor.
func (d *Doctor) hasOtherMounts(pid int) bool {
	differ := func(link string) bool {
		own, ownErr := os.Stat("/proc/self/" + link)
		theirs, err := os.Stat(fmt.Sprintf("/proc/%d/%s", pid, link))
		return ownErr == nil && err == nil && !os.SameFile(own, theirs)
	}
	return differ("ns/mnt") || differ("root")
}

// zoneOf returns the TZ in the daemon's environment where it means another time than the
// machine's zone.
func (d *Doctor) zoneOf() string {
	c, ok := d.only()
	if !ok {
		return ""
	}
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", c.id.PID))
	vars := strings.Split(string(text), "\x00")
	i := slices.IndexFunc(vars, func(kv string) bool { return strings.HasPrefix(kv, "TZ=") })
	if i < 0 {
		return ""
	}
	zone := strings.TrimPrefix(vars[i], "TZ=")
	theirs, err := time.LoadLocation(strings.TrimPrefix(zone, ":"))
	machine := time.UTC
	if data, err := os.ReadFile("/etc/localtime"); err == nil {
		if loaded, err := time.LoadLocationFromTZData("Local", data); err == nil {
			machine = loaded
		}
	}
	now := time.Now()
	_, a := now.In(machine).Zone()
	if err == nil {
		if _, b := now.In(theirs).Zone(); a == b {
			return ""
		}
	}
	return zone
}
