package procscan

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lifeline/proof/await"
	"lifeline/proof/need"

	"golang.org/x/sys/unix"
)

// helpers are the programs that the test binary becomes when a test starts it
// again. Each says a line when it is ready, and ends with its standard input.
var helpers = map[string]func(args []string){
	"wait": func([]string) { ready() },
	// leaderless goes on after its first thread has ended.
	"leaderless": func([]string) {
		go func() {
			await.Within(await.Limit, func() bool {
				s, err := Lookup(os.Getpid())
				return err == nil && s.State == 'Z'
			})
			ready()
			os.Exit(0)
		}()
		_, _, _ = syscall.Syscall(unix.SYS_EXIT, 0, 0, 0) // of this thread, which init runs on
	},
	"lock": func(args []string) {
		f, err := os.OpenFile(args[0], os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			panic(err)
		}
		if len(args) > 1 { // wait in the queue, without a word
			_ = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		} else if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			panic(err)
		}
		ready()
	},
	// see prints what this process can see of another process.
	"see": func(args []string) {
		t, err := Read("PROCSCAN_")
		found, hidden := 0, false
		if err == nil {
			for _, p := range t.Processes {
				if p.Env["PROCSCAN_NAME"] == args[0] {
					found++
				}
				hidden = hidden || p.Environment == Hidden
			}
		}
		fmt.Printf("found=%d hidden=%t blind=%t other=%v\n", found, hidden, errors.Is(err, ErrBlind),
			err != nil && !errors.Is(err, ErrBlind))
		ready()
	},
	"reuse": func([]string) { reuse() },
	"blind": func([]string) { blind() },
}

func ready() {
	fmt.Println("ready")
	_, _ = io.Copy(io.Discard, os.Stdin)
}

func init() {
	name := os.Getenv("PROCSCAN_HELPER")
	if name == "" {
		return
	}
	helpers[name](os.Args[1:])
	os.Exit(0)
}

type helper struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func (h *helper) id(t *testing.T) ID {
	t.Helper()
	s, err := Lookup(h.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

// line reads one line of the helper's output.
func (h *helper) line(t *testing.T) string {
	t.Helper()
	text, err := h.out.ReadString('\n')
	if err != nil {
		t.Fatalf("%v: %v", h.Args, err)
	}
	return strings.TrimSpace(text)
}

func (h *helper) end() {
	h.in.Close()
	_ = h.Wait()
}

// launch starts cmd with pipes to its input and output.
func launch(t *testing.T, cmd *exec.Cmd) *helper {
	t.Helper()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if cmd.Stderr == nil {
		cmd.Stderr = os.Stderr
	}
	cmd.Env = append(cmd.Env, "GORACE=atexit_sleep_ms=0") // the race detector would sleep for a second at each end
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	h := &helper{cmd, in, bufio.NewReader(out)}
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			h.end()
		}
	})
	return h
}

// help starts a helper. before holds the words to put before its command line.
func help(t *testing.T, before []string, env []string, name string, args ...string) *helper {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(append(append([]string(nil), before...), exe), args...)
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(append(os.Environ(), "PROCSCAN_HELPER="+name), env...)
	if name == "blind" {
		cmd.Stderr = io.Discard // the race detector complains that /proc is missing
	}
	return launch(t, cmd)
}

func (h *helper) ready(t *testing.T) *helper {
	t.Helper()
	if got := h.line(t); got != "ready" {
		t.Fatalf("%v said %q", h.Args, got)
	}
	return h
}

// needNamespaces skips the test unless it may make namespaces.
func needNamespaces(t *testing.T) {
	t.Helper()
	need.Programs(t, "unshare")
	need.Namespaces(t)
}

// publicCopy copies this program to where another user can run it.
func publicCopy(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "procscan")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	text, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "copy")
	if err := errors.Join(os.Chmod(dir, 0o755), os.WriteFile(path, text, 0o755), os.Chmod(path, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}
