package logger

import (
	"errors"
	"fmt"
	"lifeline/internal/journal"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// hooks runs the commands that are to know, one after the other: what follows
// from a failure shouldn't overtake what followed from the start.
type hooks struct{ queue }

// maxHooks is how many may wait: a worker that fails faster than its hook runs
// is told of by the newest ones.
const maxHooks = 100

func (h *hooks) start(command, event string, r journal.Run) {
	if command == "" {
		return
	}
	c := h.c
	env := Facts(c.setup.Name, event, r)
	env = append(append(os.Environ(), c.setup.Vars...), env...)
	dir, limit, stdout, stderr := c.setup.Dir, c.setup.HookTimeout, c.std[0], c.std[1]
	h.add(func() {
		if err := RunHook(command, dir, env, limit, stdout, stderr); err != nil {
			c.warn(fmt.Sprintf("--on-%s: %v", event, err))
		}
	})
}

// Facts are what a hook finds in its environment. None of them is a variable
// that lifeline would read as an option, or take for the mark of a worker.
func Facts(name, event string, r journal.Run) []string {
	env := []string{
		"LIFELINE_NAME=" + name, "LIFELINE_EVENT=" + event,
		"LIFELINE_RUN=" + r.Generation, "LIFELINE_WORKER=" + strconv.Itoa(r.PID),
	}
	if r.Skipped > 0 {
		env = append(env, "LIFELINE_SKIPPED="+strconv.Itoa(r.Skipped))
	}
	if !r.Start.IsZero() {
		env = append(env, "LIFELINE_STARTED="+r.Start.Format(time.RFC3339))
	}
	if !r.End.IsZero() {
		code := ""
		if r.Code >= 0 {
			code = strconv.Itoa(r.Code)
		}
		env = append(env, "LIFELINE_ENDED="+r.End.Format(time.RFC3339), "LIFELINE_CODE="+code, "LIFELINE_SIGNAL="+r.Signal,
			"LIFELINE_REASON="+r.Why, fmt.Sprintf("LIFELINE_SECONDS=%.3f", r.End.Sub(r.Start).Seconds()))
	}
	return env
}

// RunHook runs a shell command in a directory ("" is this process's own) for up to
// limit; then it is ended, with all that is in its process group.
func RunHook(command, dir string, env []string, limit time.Duration, stdout, stderr *os.File) error {
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Env, cmd.Dir = env, dir
	if stdout != nil { // a nil *os.File in the interface is not nil
		cmd.Stdout = stdout
	}
	if stderr != nil {
		cmd.Stderr = stderr
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot be run: %w", err)
	}
	over := make(chan error, 1)
	go func() { over <- cmd.Wait() }()
	var err error
	select {
	case err = <-over:
	case <-after(limit):
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGTERM)
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGCONT)
		select {
		case <-over:
		case <-time.After(hookGrace):
		}
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // and those that it has left
		return fmt.Errorf("ended after %s (--hook-timeout)", limit)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &exit):
		return errors.New(strings.Replace(exit.Error(), "exit status", "exit code", 1))
	}
	return err
}

const hookGrace = 2 * time.Second

func after(d time.Duration) <-chan time.Time {
	if d <= 0 {
		return nil // no limit
	}
	return time.After(d)
}
