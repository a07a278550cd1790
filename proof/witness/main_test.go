//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lifeline/proof/await"
	"lifeline/proof/build"
	"lifeline/proof/pid"
)

var program string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "witness")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		defer pid.KillBelow(dir)
		program = filepath.Join(dir, "witness")
		if err := build.One(program, "./proof/witness", ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// launch starts a witness with one more inherited descriptor, and waits for its first
// line.
func launch(t *testing.T, dir string, flags ...string) *exec.Cmd {
	t.Helper()
	extra, err := os.Create(filepath.Join(dir, "inherited"))
	if err != nil {
		t.Fatal(err)
	}
	defer extra.Close()
	cmd := exec.Command(program,
		append([]string{"-log", filepath.Join(dir, "log"), "-lock", filepath.Join(dir, "lock")},
			flags...)...)
	cmd.Env = append(os.Environ(), "MARKER=here")
	cmd.ExtraFiles = []*os.File{extra}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		pid.KillBelow(filepath.Dir(program))
	})
	await.That(t, "what the witness tells of", func() bool {
		return strings.Contains(read(dir),
			fmt.Sprintf("start %d ", cmd.Process.Pid))
	})
	return cmd
}

func read(dir string) string {
	text, _ := os.ReadFile(filepath.Join(dir, "log"))
	return string(text)
}

func inherited(id int) bool {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", id))
	for _, l := range links {
		if to, _ := os.Readlink(l); filepath.Base(to) == "inherited" {
			return true
		}
	}
	return false
}

func TestOverlapIsSeen(t *testing.T) {
	dir := t.TempDir()
	a := launch(t, dir)
	b := launch(t, dir)
	if !strings.Contains(read(dir), fmt.Sprintf("overlap %d ", b.Process.Pid)) ||
		strings.Count(read(dir), "overlap") != 1 {
		t.Errorf("the second of two didn't notice:\n%s", read(dir))
	}
	for _, cmd := range []*exec.Cmd{a, b} {
		_ = cmd.Process.Signal(unix.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
		if !strings.Contains(read(dir), fmt.Sprintf("stop %d ", cmd.Process.Pid)) {
			t.Errorf("%d didn't say that it stops:\n%s", cmd.Process.Pid, read(dir))
		}
	}
}

func TestEndsByItself(t *testing.T) {
	dir := t.TempDir()
	if err := launch(t, dir, "-for", "1ms").Wait(); err != nil || !strings.Contains(read(dir), "stop") {
		t.Error(err, read(dir))
	}
}

func TestIgnoresTerm(t *testing.T) {
	dir := t.TempDir()
	cmd := launch(t, dir, "-ignore-term")
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	_, mask, _ := strings.Cut(string(text), "\nSigIgn:\t")
	var set uint64
	fmt.Sscanf(mask, "%x", &set)
	if set&(1<<(unix.SIGTERM-1)) == 0 {
		t.Error("SIGTERM isn't ignored")
	}
}

func TestCloseFrom(t *testing.T) {
	dir := t.TempDir()
	if cmd := launch(t, dir); !inherited(cmd.Process.Pid) {
		t.Error("without the flag the descriptor should be there")
	}
	if cmd := launch(t, t.TempDir(), "-closefrom"); inherited(cmd.Process.Pid) {
		t.Error("the descriptor is there still")
	}
}

func TestWipe(t *testing.T) {
	cmd := launch(t, t.TempDir(), "-wipe")
	for _, file := range []string{"environ", "cmdline"} {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", cmd.Process.Pid, file))
		if err != nil {
			t.Fatal(err)
		}
		left := strings.Trim(strings.TrimPrefix(string(text), "a title: working"), "\x00")
		if left != "" {
			t.Errorf("%s still shows %q", file, left)
		}
	}
}

func TestDaemonOutlivesIt(t *testing.T) {
	for _, how := range []string{"keep", "close"} {
		dir := t.TempDir()
		cmd := launch(t, dir, "-daemon", how, "-children", "1")
		var daemon, child pid.ID
		await.That(t, "what the witness tells of", func() bool {
			for _, id := range pid.Below(filepath.Dir(program)) {
				s, err := pid.Look(id.PID)
				sid, _ := unix.Getsid(id.PID)
				switch {
				case err != nil || id.PID == cmd.Process.Pid:
				case s.PPID == cmd.Process.Pid:
					child = id
				case sid != id.PID && sid != 0:
					daemon = id
				}
			}
			return daemon.PID != 0 && child.PID != 0
		})
		if how == "keep" {
			await.That(t, "what the witness tells of", func() bool { return inherited(daemon.PID) })
		} else {
			await.That(t, "what the witness tells of", func() bool { return !inherited(daemon.PID) })
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		h, err := pid.Open(daemon)
		if err != nil {
			t.Fatalf("%s: the daemon didn't outlive it: %v", how, err)
		}
		h.Close()
		// The witness's own lock is free.
		lock, err := os.Open(filepath.Join(dir, "lock"))
		if err != nil {
			t.Fatal(err)
		}
		if !take(int(lock.Fd())) {
			t.Errorf("%s: a descendant holds the witness's lock", how)
		}
		lock.Close()
		pid.KillBelow(filepath.Dir(program))
	}
}
