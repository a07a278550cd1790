package tasks

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/install"
	"lifeline/internal/doctor"
)

func startCommand() *cli.Command {
	var o options
	return &cli.Command{
		Name:      "start",
		Usage:     "a tick, now, detached from the terminal",
		UsageText: "lifeline start NAME\n\nIt starts NAME's crontab line as cron would, and returns when it runs.",
		Flags:     flags(o.lookOptions()),
		Action: func(c *cli.Context) error {
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			line, err := o.crontabLine(c.Context, name)
			if err != nil {
				return err
			}
			if line.User != "" && line.User != userName() {
				return usage("%s: cron starts it as the user %s; sudo -u %s lifeline start %s", name,
					line.User, line.User, name)
			}
			if theirs, err := understand(line); err == nil && o.guard.Dir == "" {
				o.guard.Dir, o.guard.AllowNFS = theirs.Guard.Dir, theirs.Guard.AllowNFS
			}
			return o.start(c.Context, name, line)
		},
	}
}

// start runs the line, and waits until its instance runs or the line has ended.
func (o *options) start(ctx context.Context, name string, line install.Line) error {
	if pid := o.running(name); pid > 0 {
		fmt.Printf("%s: runs already, pid %d\n", name, pid)
		return nil
	}
	if _, paused, _ := o.guard.PausedUntil(name); paused {
		return usage("%s is paused: lifeline resume %s, then lifeline start %s", name, name, name)
	}
	output, err := unlinked("")
	if err != nil {
		return err
	}
	defer output.Close()
	input, err := unlinked(line.Input)
	if err != nil {
		return err
	}
	defer input.Close()
	env, home := (&doctor.Doctor{Crontab: o.crontab, ReadEnvFile: readEnvFile}).CronEnviron(line)
	shell := "/bin/sh"
	for _, kv := range env {
		if value, ok := strings.CutPrefix(kv, "SHELL="); ok {
			shell = value
		}
	}
	cmd := exec.Command(shell, "-c", line.Shell)
	cmd.Env, cmd.Dir = env, home
	cmd.Stdin, cmd.Stdout, cmd.Stderr = input, output, output
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w; see lifeline doctor %s", shell, err, name)
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	seen, times := 0, 0 // ten looks in a row, because a failing command lives for a moment, too
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-look.C:
			pid := o.running(name)
			if pid != seen {
				seen, times = pid, 0
			}
			if times++; pid > 0 && times == 10 {
				fmt.Printf("%s: started, pid %d\n", name, pid)
				return nil
			}
		case err := <-over:
			if _, err := output.Seek(0, io.SeekStart); err == nil {
				_, _ = io.Copy(os.Stderr, output)
			}
			var exit *exec.ExitError
			if errors.As(err, &exit) {
				return &codeError{1, fmt.Sprintf("%s: was started, and ended: %v; see lifeline doctor%s %s",
					name, exit, o.inFile(),
					name)}
			}
			if err == nil {
				fmt.Printf("%s: started, and is over, with success\n", name)
			}
			return err
		}
	}
}

// running returns the pid of name's worker, 0 if there is none.
func (o *options) running(name string) int {
	list, _ := o.guard.Look(name)
	if len(list) != 1 || !list[0].Worker.Alive() {
		return 0
	}
	return list[0].Worker.PID
}

// unlinked returns an open file without a name that holds text, at offset 0.
func unlinked(text string) (*os.File, error) {
	file, err := os.CreateTemp("", "lifeline-start-*")
	if err != nil {
		return nil, err
	}
	_, err = file.WriteString(text)
	_, seekErr := file.Seek(0, io.SeekStart)
	if err = errors.Join(err, seekErr, os.Remove(file.Name())); err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}
