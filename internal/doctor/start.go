package doctor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/install"
	"lifeline/internal/cluster"
	"lifeline/internal/guard"
	"lifeline/internal/process"
	"lifeline/internal/process/launch"
	"lifeline/internal/statedir"
)

// start follows cron's start of the line up to the command. It returns what the line
// starts, and false when lifeline refuses the line.
func (d *Doctor) start(name string, l tabled) (o Start, ok bool) {
	at := where(l.table, l.Line)
	home := l.Environment["HOME"]
	switch {
	case l.table.super:
		home = d.super.dir
	case home == "":
		home = statedir.UserHome(os.Geteuid())
	}
	dir := l.Dir
	switch {
	case dir == "":
		dir = home
	case !filepath.IsAbs(dir):
		dir = filepath.Join(home, dir)
	}
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		d.wrong("command", "make it, or correct the line: "+l.table.remedy,
			"%s starts in %s, which is no directory here", at, dir)
	}
	path := d.path(l)
	program, err := process.Find(l.Argv[0], path, dir)
	if err != nil {
		d.wrong("lifeline", fmt.Sprintf("write its path as it is: lifeline install %s -- ... does so; or %s", name,
			l.table.remedy), "%s can't start lifeline itself: %v", at, err)
	} else if why := notLifeline(program); why != "" {
		d.wrong("lifeline", "install it there again", "%s starts %s, which %s", at, program, why)
	}
	asked := l.Line
	if d.Crontab == "" {
		asked.Environment = maps.Clone(l.Environment)
		for _, kv := range d.pamEnviron() {
			name, value, _ := strings.Cut(kv, "=")
			if _, set := asked.Environment[name]; !set && strings.HasPrefix(name, "LIFELINE_") {
				asked.Environment[name] = value
			}
		}
	}
	o, err = d.Understand(asked)
	if err != nil {
		d.wrong("crontab", "correct it: "+l.table.remedy, "%s is refused by lifeline: %v", at, err)
		return Start{Guard: d.Guard}, false
	}
	full := d.command(o, path, dir, l)
	d.hides(l, program, dir, full, o.EnvFile, filepath.Dir(o.Log))
	d.helpers(name, o, path, dir, l)
	mine, _, _ := d.Guard.Directory()
	theirs, _, _ := o.Guard.Directory()
	if mine != theirs && !d.Follows {
		d.wrong("directory", fmt.Sprintf("lifeline doctor --dir %s %s; and unset LIFELINE_DIR, or give the line the "+
			"same --dir", theirs, name), "%s works in %s, and you look in %s", at, theirs, mine)
	}
	o.Guard = guard.Guard{Dir: o.Guard.Dir, AllowNFS: o.Guard.AllowNFS, StateDir: o.Guard.StateDir}
	return o, true
}

// helpers checks the files and programs that the options need beside the command.
func (d *Doctor) helpers(name string, o Start, path, dir string, l tabled) {
	if file := o.Log; file != "" {
		if !filepath.IsAbs(file) {
			file = filepath.Join(dir, file)
		}
		advice := "make its directory, or correct --log: " + l.table.remedy
		switch info, err := os.Stat(file); {
		case err == nil && !info.Mode().IsRegular() && info.Mode()&os.ModeCharDevice == 0:
			d.wrong("log", advice, "--log %s is neither a file nor a device, so nothing is started", file)
		case err == nil && unix.Access(file, unix.W_OK) != nil:
			d.wrong("log", advice, "--log %s can't be written, so nothing is started", file)
		case err != nil && unix.Access(filepath.Dir(file), unix.W_OK|unix.X_OK) != nil:
			d.wrong("log", advice, "--log %s can't be made, so nothing is started: %v", file,
				unix.Access(filepath.Dir(file), unix.W_OK|unix.X_OK))
		case guard.IsFull(logPlace(file)):
			d.wrong("log", "free some space there: df "+filepath.Dir(file),
				"the file system of --log %s is full: what the command prints is lost", file)
		default:
			d.fine("log", "%s can be written", file)
		}
	}
	what, then := "--cluster", "nothing is started"
	if o.Cluster == "" {
		what, then = "--ping-url", "no pings are sent"
	}
	if o.Cluster == "" && o.PingURL == "" {
		return
	}
	beside := ""
	if self, err := process.Find(l.Argv[0], path, dir); err == nil {
		if real, err := filepath.EvalSymlinks(self); err == nil {
			beside = filepath.Dir(real)
		}
	}
	if found, err := process.Find(cluster.Program, beside+":"+path, dir); err != nil {
		d.wrong("lifeline-remote", "install it there: it comes with lifeline",
			"%s needs %s, which is neither in %s nor on cron's PATH: %s", what, cluster.Program, beside, then)
	} else {
		d.fine("lifeline-remote", "%s", found)
		if o.Cluster != "" {
			d.engine(found, name, o, l)
		}
	}
}

// logPlace returns file, or its directory when file doesn't exist yet.
func logPlace(file string) string {
	if !exists(file) {
		return filepath.Dir(file)
	}
	return file
}

// notLifeline returns what is wrong with another file than this program's that the line
// takes for lifeline; "" for nothing.
func notLifeline(program string) string {
	if self, err := os.Executable(); err != nil || isSame(self, program) {
		return ""
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, program, "--version")
	cmd.Env, cmd.Dir, cmd.WaitDelay = []string{"PATH=" + install.CronPath}, "/", time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Sprintf("doesn't run: --version ended with %v", err)
	}
	if !strings.HasPrefix(string(out), "lifeline") {
		return "isn't lifeline, by what --version says"
	}
	return ""
}

// command checks the file that would be executed, and the files that options name. It
// returns the file's path; "" when it wasn't found.
func (d *Doctor) command(o Start, path, dir string, l tabled) string {
	advice := fmt.Sprintf("put it there, or correct the line: %s", l.table.remedy)
	for _, file := range []struct{ option, path string }{{"--env-file", o.EnvFile},
		{"--reload-on-change", o.ReloadOnChange}} {
		if file.path == "" {
			continue
		}
		full := file.path
		if !filepath.IsAbs(full) {
			full = filepath.Join(dir, full)
		}
		if f, err := os.Open(full); err != nil {
			d.wrong("command", advice, "%s %s can't be read, so nothing is started: %v",
				file.option, full, reasonOf(err))
		} else {
			f.Close()
		}
	}
	if o.EnvFile != "" {
		full := o.EnvFile
		if !filepath.IsAbs(full) {
			full = filepath.Join(dir, full)
		}
		vars, err := d.ReadEnvFile(full)
		if err != nil && unix.Access(full, unix.R_OK) == nil {
			d.wrong("command", "correct that line", "%v", err)
		}
		o.Env = append(vars, o.Env...)
	}
	if o.Chdir != "" {
		to := o.Chdir
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		if info, err := os.Stat(to); err != nil || !info.IsDir() {
			d.wrong("command", "make it, or correct --chdir: "+l.table.remedy,
				"--chdir %s: that is no directory here", to)
			return ""
		}
		dir = to
	}
	for _, kv := range o.Env {
		if value, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = value
		}
	}
	full, err := process.Find(o.Command[0], path, dir)
	var failed *process.ExecError
	if errors.As(err, &failed) && failed.Code == 126 {
		advice = "see to that file (ls -l, head -1), or correct the line: " + l.table.remedy
	}
	switch {
	case err == nil:
		if why := tryConditions(o, dir, full); why != "" {
			d.wrong("command", "see to that, or correct the line: "+l.table.remedy, "%s", why)
			return full
		}
		d.fine("command", "%s is found, as cron will look for it", full)
	case !strings.Contains(o.Command[0], "/"):
		if here, _ := process.Find(o.Command[0], os.Getenv("PATH"), dir); here != "" {
			advice = fmt.Sprintf("write %s, or put PATH= into the crontab: %s", here, l.table.remedy)
		}
		d.wrong("command", advice, "%v (that is what cron has)", err)
	default:
		d.wrong("command", advice, "%v", err)
	}
	return full
}

// tryConditions starts a shell under --user, --limit and their like, which tests the
// command. It returns why the command can't be started under them; "" when it can.
func tryConditions(o Start, dir, command string) string {
	self, err := os.Executable()
	if err != nil || !o.Conditions.Any() {
		return ""
	}
	as := ""
	if u := o.Conditions.User; u != nil {
		as = fmt.Sprintf(" by the user and group of the line (uid %d, gid %d)", u.UID, u.GID)
		if u.UID >= 0 && statedir.UserName(u.UID) != "" {
			as = " by " + statedir.UserName(u.UID)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, self)
	if o.Chdir == "" {
		dir = "/" // without --chdir the command needs no access to its directory
	}
	cmd.Args = []string{"sh", "-c", `cd "$1" || exit 3; test -x "$2" || exit 4`, "sh", dir, command}
	cmd.Env = []string{launch.Env + "=" + launch.Plan{Path: "/bin/sh", Conditions: o.Conditions}.String()}
	cmd.Dir, cmd.WaitDelay = "/", time.Second
	said, err := cmd.CombinedOutput()
	if err == nil || cmd.ProcessState == nil || ctx.Err() != nil {
		return ""
	}
	switch code := cmd.ProcessState.ExitCode(); {
	case code == 3:
		return fmt.Sprintf("--chdir %s can't be entered%s", dir, as)
	case code == 4:
		return fmt.Sprintf("%s can't be executed%s", command, as)
	case code > 0:
		return "under the conditions of the line nothing can be started: " +
			strings.TrimPrefix(strings.TrimSpace(string(said)), "lifeline: ")
	}
	return fmt.Sprintf("under the conditions of the line even a shell can't live (%v)", err)
}

func reasonOf(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
