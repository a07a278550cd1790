package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/install"
	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/journal"
	"lifeline/internal/statedir"
)

// CronEnviron returns the environment and the directory of a line's shell, from
// crontab(5) and from PAM where cron uses PAM.
func (d *Doctor) CronEnviron(l install.Line) (env []string, dir string) {
	if d.Crontab != "" {
		if d.super.env == nil {
			d.super = findSupercronic(d.Crontab)
		}
		for _, name := range slices.Sorted(maps.Keys(l.Environment)) {
			env = append(env, name+"="+l.Environment[name])
		}
		return append(slices.Clone(d.super.env), env...), d.super.dir
	}
	home := statedir.UserHome(os.Geteuid())
	vars := map[string]string{"HOME": home, "LOGNAME": userName(), "SHELL": "/bin/sh", "PATH": install.CronPath}
	maps.Copy(vars, l.Environment)
	for _, kv := range d.pamEnviron() {
		if name, value, _ := strings.Cut(kv, "="); vars[name] == "" {
			vars[name] = value
		}
	}
	vars["LOGNAME"] = userName() // cron sets LOGNAME last
	for _, name := range slices.Sorted(maps.Keys(vars)) {
		env = append(env, name+"="+vars[name])
	}
	return env, home
}

// pamEnviron reads the files that pam_env(8) reads in cron's session.
func (d *Doctor) pamEnviron() (vars []string) {
	for _, rule := range readPAM(d.pamService(), "session") {
		if filepath.Base(rule.module) == "pam_env.so" {
			if more, err := d.ReadEnvFile(rule.option("envfile", "/etc/environment")); err == nil {
				vars = append(vars, more...)
			}
		}
	}
	return vars
}

// run starts the line as cron would, under its own name. If an instance has started
// meanwhile, the start is an ordinary tick.
func (d *Doctor) run(ctx context.Context, c candidate) {
	name, g, l := c.name, c.guard, c.line
	if _, paused, _ := g.PausedUntil(name); paused {
		return // state has reported the pause
	}
	if h, running, err := g.Holder(name); err == nil && running {
		d.fine("simulate", "not tried: it runs (%s), and a second one is never started", h)
		return
	}
	settings := l.Line
	settings.Environment = maps.Clone(l.Environment)
	env, home := d.CronEnviron(settings)
	shell := "/bin/sh"
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "SHELL="); ok {
			shell = value
		}
		if value, ok := strings.CutPrefix(kv, "HOME="); ok && d.Crontab == "" {
			home = value
		}
	}
	out, err := os.CreateTemp("", "lifeline-doctor-*")
	if err != nil {
		d.wrong("simulate", "free some space", "cannot make a file for the output: %v", err)
		return
	}
	defer out.Close()
	_ = os.Remove(out.Name()) // as Debian's cron does

	ctx, stop := signal.NotifyContext(ctx, unix.SIGINT, unix.SIGTERM)
	defer stop()
	cmd := exec.Command(shell, "-c", l.Shell)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, home, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	began := time.Now()
	if err := cmd.Start(); err != nil {
		d.wrong("simulate", "correct SHELL in the crontab, or make the home directory",
			"cron's shell can't be started: %v", err)
		return
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	select {
	case err = <-over:
		d.judge(name, l, err, time.Since(began), said(out))
		return
	case <-ctx.Done():
	case <-time.After(d.For):
	}
	h, running, _ := g.Holder(name)
	if err := d.Terminate(context.WithoutCancel(ctx), g, name); err != nil {
		d.wrong("simulate", "lifeline terminate "+name, "cannot end it again: %v", err)
	}
	select {
	case <-over:
	case <-time.After(10 * time.Second): // the instance has ended, and the shell goes on
		_ = cmd.Process.Kill()
	}
	ends := failures(g, name, began)
	switch {
	case len(ends) > 0:
		d.wrong("simulate", remedyOf(ends[0], c, false),
			"in cron's environment it ended %d times within %s, at first: %s%s",
			len(ends), human.Length(d.For), human.End(ends[0]), quoted(said(out)))
	case !running:
		d.wrong("simulate", "try its line by hand, and see where it waits",
			"after %s nothing of it ran yet; it said: %s",
			human.Length(d.For), said(out))
	case h.Worker.Zero():
		d.fine("simulate", "in cron's environment lifeline started, and hadn't started the command within %s "+
			"(--jitter? --cluster?); it was ended again%s", human.Length(d.For), quoted(said(out)))
	default:
		d.fine("simulate", "in cron's environment it started and lived for %s; it was ended again%s",
			human.Length(d.For),
			quoted(said(out)))
	}
}

// failures returns the runs of name that began after since and failed.
func failures(g guard.Guard, name string, since time.Time) []journal.Run {
	_, file, err := g.Journal(name)
	if err != nil {
		return nil
	}
	runs, _ := journal.ReadHistory(file)
	return slices.DeleteFunc(runs, func(r journal.Run) bool {
		return r.Start.Before(since) || r.Good() || r.Outcome == journal.Stopped
	})
}

// judge reports the result of a start that has ended.
func (d *Doctor) judge(name string, l tabled, err error, took time.Duration, said string) {
	code := 0
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		code = exit.ExitCode()
		if ws, ok := exit.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			code = 128 + int(ws.Signal())
		}
	} else if err != nil {
		code = 125 // lifeline itself failed
	}
	if code == 0 {
		d.fine("simulate", "in cron's environment it ran for %s and ended with 0%s", human.Length(took), quoted(said))
		return
	}
	advice := fmt.Sprintf("env -i HOME=$HOME PATH=%s /bin/sh shows what cron's shell sees; settings go into the "+
		"crontab, or --env", install.CronPath)
	switch code {
	case 127:
		advice = "give the whole path, or put PATH= into the crontab: " + l.table.remedy
	case 126:
		advice = "make it executable (chmod +x), and see its first line"
	case 64: // lifeline refused the command line
		advice = "correct the line: " + l.table.remedy
	}
	d.wrong("simulate", advice, "in cron's environment it ended with %d after %s%s", code, human.Length(took),
		quoted(said))
}

func quoted(said string) string {
	if said == "" {
		return ", and said nothing"
	}
	return "; it said: " + said
}

// said returns the end of the output, on one line.
func said(out *os.File) string {
	const most = 500
	size, err := out.Seek(0, 2)
	if err != nil {
		return ""
	}
	buf := make([]byte, min(size, most))
	_, _ = out.ReadAt(buf, size-int64(len(buf)))
	buf = bytes.TrimSpace(buf)
	if size > most {
		buf = append([]byte("... "), buf...)
	}
	return strings.Join(strings.Fields(strings.ReplaceAll(string(buf), "\n", " / ")), " ")
}
