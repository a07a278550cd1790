package logger

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/journal"
)

// hooks runs the hooks one after the other, so that the hook of a failure never overtakes
// the hook of the start.
type hooks struct{ queue }

// maxHooks is how many hooks may wait. When a worker fails faster than its hook runs, the
// oldest waiting hooks are left out.
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

// Facts returns what a hook finds in its environment. Its variables are neither options
// of lifeline nor a worker's marker.
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
		env = append(env, "LIFELINE_ENDED="+r.End.Format(time.RFC3339), "LIFELINE_CODE="+code,
			"LIFELINE_SIGNAL="+r.Signal,
			"LIFELINE_REASON="+r.Why, fmt.Sprintf("LIFELINE_SECONDS=%.3f", r.End.Sub(r.Start).Seconds()))
	}
	return env
}

// RunHook runs a shell command in a directory ("" is this process's own). After limit it
// ends the command and its process group.
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
		_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // also kills what the hook has left behind
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
