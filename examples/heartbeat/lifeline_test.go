//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeline/proof/need"
)

// TestUnderLifeline hangs the daemon under the real program, twice. Each time the
// watchdog ends the daemon, and lifeline starts the next.
func TestUnderLifeline(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	dir := room(t)
	lifeline := filepath.Join(dir, "lifeline")
	build := exec.Command("go", "build", "-trimpath", "-tags", "urfave_cli_no_docs,osusergo,netgo", "-ldflags=-s -w",
		"-o", lifeline, "lifeline")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if text, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("heartbeat.sh")
	if err != nil {
		t.Fatal(err)
	}
	for name, worker := range map[string][]string{"Go": {self, "-every", "200ms"}, "sh": {script, "0.2"}} {
		t.Run(name, func(t *testing.T) {
			if name == "sh" {
				need.Program(t, "systemd-notify")
			}
			hangTwice(t, lifeline, worker)
		})
	}
}

func hangTwice(t *testing.T, lifeline string, worker []string) {
	dir := room(t)
	above, path := listen(t, dir) // this test is lifeline's supervisor, and hears how the worker is
	argv := append([]string{"--dir", filepath.Join(dir, "state"), "--respawn", "--respawn-delay", "0s", "--notify",
		"--watchdog", "2s", "--kill-after", "1s", "heartbeat", "--"}, worker...)
	cmd := exec.Command(lifeline, argv...)
	cmd.Env = append(os.Environ(), "CHILD=1", "NOTIFY_SOCKET="+path,
		"PATH="+filepath.Dir(lifeline)+":"+os.Getenv("PATH"))
	var said strings.Builder
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := false
	defer func() {
		if !ended {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}()
	var last int
	for range 3 {
		pid := awaitTurns(t, above, last, cmd.Process.Pid)
		if pid == last {
			t.Fatalf("pid %d again", pid)
		}
		last = pid
		if err := syscall.Kill(pid, syscall.SIGUSR1); err != nil {
			t.Fatal(err)
		}
	}
	// The third daemon is ended together with lifeline.
	_ = cmd.Process.Signal(syscall.SIGTERM)
	_ = cmd.Wait()
	ended = true
	if n := strings.Count(said.String(), "no heartbeat for 2s (--watchdog): ending it with SIGABRT"); n != 2 {
		t.Errorf("the watchdog ran out %d times, not twice; printed:\n%s", n, said.String())
	}
	if err := syscall.Kill(last, 0); err != syscall.ESRCH {
		t.Errorf("pid %d outlives lifeline", last)
	}
}

// awaitTurns waits until a worker other than old has done some work, and returns its
// pid. A message may still be the old worker's, so the new worker must also handle the
// signal already.
func awaitTurns(t *testing.T, above *net.UnixConn, old, lifeline int) int {
	t.Helper()
	buf := make([]byte, 4096)
	deadline := time.Now().Add(30 * time.Second)
	for {
		_ = above.SetReadDeadline(deadline)
		n, err := above.Read(buf)
		if err != nil {
			t.Fatalf("no worker after pid %d does any work: %v", old, err)
		}
		if !strings.Contains(string(buf[:n]), "turns done") || strings.Contains(string(buf[:n]), "STATUS=0 turns") {
			continue
		}
		if pid := childOf(lifeline); pid != 0 && pid != old && catches(pid, syscall.SIGUSR1) {
			return pid
		}
	}
}

// catches reports whether the process handles sig (proc_pid_status(5), SigCgt).
func catches(pid int, sig syscall.Signal) bool {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	_, rest, _ := strings.Cut(string(text), "\nSigCgt:\t")
	var mask uint64
	n, _ := fmt.Sscanf(rest, "%x", &mask)
	return n == 1 && mask>>(sig-1)&1 == 1
}

// childOf returns the pid of the process's only child, 0 for none.
func childOf(parent int) (pid int) {
	lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	for _, list := range lists {
		text, _ := os.ReadFile(list)
		if n, _ := fmt.Sscan(string(text), &pid); n == 1 {
			return pid
		}
	}
	return 0
}
