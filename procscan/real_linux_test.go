package procscan

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeline/proof/await"
	"lifeline/proof/need"

	"golang.org/x/sys/unix"
)

var marks int

// newMarker makes a marker that no other process has.
func newMarker() string {
	marks++
	return fmt.Sprintf("%d-%d", os.Getpid(), marks)
}

// marked lists the processes that show PROCSCAN_NAME=value, and the processes in
// the middle of execve.
func marked(t *testing.T, value string) (found []Process, inExec []ID) {
	t.Helper()
	table, err := Read("PROCSCAN_")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range table.Processes {
		if p.Env["PROCSCAN_NAME"] == value {
			found = append(found, p)
		}
		if p.Environment == InExec {
			inExec = append(inExec, p.ID)
		}
	}
	return found, inExec
}

func find(t *testing.T, value string) (ids []ID) {
	t.Helper()
	found, _ := marked(t, value)
	for _, p := range found {
		ids = append(ids, p.ID)
	}
	return ids
}

func TestMarked(t *testing.T) {
	value := newMarker()
	if ids := find(t, value); ids != nil {
		t.Fatalf("found before it began: %v", ids)
	}
	env := []string{"PROCSCAN_NAME=" + value, "PROCSCAN_X=1", "PROCSCANX=2", "PROCSCAN_NAME=" + value + "x"}
	h := help(t, nil, env[:3], "wait").ready(t)
	// A longer name that begins with value is another name.
	like := help(t, nil, env[3:], "wait").ready(t)
	id := h.id(t)
	found, _ := marked(t, value)
	if len(found) != 1 {
		t.Fatalf("%+v", found)
	}
	p := found[0]
	if p.ID != id || p.PPID != os.Getpid() || p.UID() != os.Getuid() || p.Env["PROCSCAN_X"] != "1" ||
		p.Env["PROCSCAN_NAME"] != value {
		t.Errorf("%+v", p)
	}
	if _, ok := p.Env["PROCSCANX"]; ok || p.Env["PATH"] != "" {
		t.Errorf("variables without the prefix: %v", p.Env)
	}
	if !id.Alive() {
		t.Error("not alive while it runs")
	}
	like.end()
	// The process ends: first it is a zombie, then gone.
	h.in.Close()
	await.That(t, "a zombie, its last thread gone",
		func() bool { s, err := Lookup(id.PID); return err == nil && s.State == 'Z' && s.Threads <= 1 })
	if ids := find(t, value); ids != nil || id.Alive() {
		t.Errorf("a zombie was taken for a living process: %v, %t", ids, id.Alive())
	}
	_ = h.Wait()
	if ids := find(t, value); ids != nil || id.Alive() {
		t.Errorf("found after its end: %v, %t", ids, id.Alive())
	}
	if _, err := Lookup(id.PID); err == nil {
		t.Error("found by its pid after its end")
	}
}

// TestMarkedLong finds a marker at the end of an environment longer than any buffer.
func TestMarkedLong(t *testing.T) {
	value := newMarker()
	var env []string
	for i := range 20 {
		env = append(env, fmt.Sprintf("LONG%d=%s", i, strings.Repeat("x", 60000)))
	}
	h := help(t, nil, append(env, "PROCSCAN_NAME="+value), "wait").ready(t)
	if ids := find(t, value); !slices.Equal(ids, []ID{h.id(t)}) {
		t.Errorf("%v", ids)
	}
}

// TestMarkedInExec looks at a process that calls execve in a loop. Each look finds
// the process by its marker, or in the middle of execve.
func TestMarkedInExec(t *testing.T) {
	const chain = 2000
	for _, pad := range []int{0, 100_000} {
		t.Run(fmt.Sprint(pad), func(t *testing.T) {
			value := newMarker()
			script := filepath.Join(t.TempDir(), "again")
			text := `[ "$1" -gt 0 ] && exec /bin/sh "$0" $(($1-1)); echo ready; read x`
			if err := os.WriteFile(script, []byte(text), 0o700); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("/bin/sh", script, fmt.Sprint(chain))
			cmd.Env = []string{"PAD=" + strings.Repeat("x", pad), "PROCSCAN_NAME=" + value}
			h := launch(t, cmd)
			id := h.id(t)
			over := make(chan string, 1)
			go func() { line, _ := h.out.ReadString('\n'); over <- line }()
			calls, inExec := 0, 0
			for done := false; !done; calls++ {
				select {
				case line := <-over:
					if line != "ready\n" {
						t.Fatalf("the chain broke: %q", line)
					}
					done = true // look once more, now at rest
				default:
				}
				processes, starting := marked(t, value)
				found := slices.ContainsFunc(processes, func(p Process) bool { return p.ID == id })
				switch {
				case found:
				case slices.Contains(starting, id):
					inExec++
				default:
					s, err := Lookup(id.PID)
					t.Fatalf("missed in look %d; it is %+v, %v", calls, s, err)
				}
				if done && !found {
					t.Error("not found after its last execve")
				}
			}
			t.Logf("%d looks at %d execs, %d of them in the middle of one", calls, chain, inExec)
			if calls < 10 {
				t.Errorf("%d looks are too few to tell", calls)
			}
		})
	}
}

// TestAliveWithoutLeader looks at a program whose threads go on after its leader
// has ended.
func TestAliveWithoutLeader(t *testing.T) {
	value := newMarker()
	h := help(t, nil, []string{"PROCSCAN_NAME=" + value}, "leaderless").ready(t)
	s, err := Lookup(h.Process.Pid)
	if err != nil || s.State != 'Z' || s.Threads < 2 {
		t.Fatalf("no leaderless program: %+v, %v", s, err)
	}
	if s.Dead() || !s.ID.Alive() {
		t.Error("its threads run, and it was taken for dead")
	}
	if ids := find(t, value); !slices.Equal(ids, []ID{s.ID}) {
		t.Errorf("found by its marker: %v", ids)
	}
	h.in.Close()
	await.That(t, "its end", func() bool { return !s.ID.Alive() })
	if ids := find(t, value); ids != nil {
		t.Errorf("found after its end: %v", ids)
	}
}

func TestNotAlive(t *testing.T) {
	self := Self()
	if !self.Alive() || self.PID != os.Getpid() || self.Start == 0 {
		t.Errorf("%+v is not alive", self)
	}
	for _, id := range []ID{{}, {-1, 1}, {0, self.Start}, {self.PID, self.Start + 1}, {self.PID, self.Start - 1},
		{1 << 22, 1}} {
		if id.Alive() {
			t.Errorf("%+v is alive", id)
		}
	}
}

func TestStopped(t *testing.T) {
	h := help(t, nil, nil, "wait").ready(t)
	id := h.id(t)
	if err := unix.Kill(id.PID, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	await.That(t, "stopped", func() bool { s, err := Lookup(id.PID); return err == nil && s.Stopped() })
	if !id.Alive() {
		t.Error("a stopped process isn't alive")
	}
	_ = unix.Kill(id.PID, unix.SIGCONT)
	await.That(t, "going on", func() bool { s, err := Lookup(id.PID); return err == nil && !s.Stopped() })
}

// TestFlocks finds the lock and its holder by the inode of the file, also after the
// file was removed or moved.
func TestFlocks(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "K.lock")
	h := help(t, nil, nil, "lock", path).ready(t)
	id := h.id(t)
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		t.Fatal(err)
	}
	holds := func(when, as string, deleted bool) {
		t.Helper()
		locks, ok := Flocks()
		if !ok || !slices.Contains(locks, Flock{id.PID, st.Ino}) || !HoldsInode(id.PID, st.Ino) {
			t.Errorf("%s: %v, %t", when, locks, ok)
		}
		open, ok := OpenFiles(id, func(path string) bool { return strings.HasSuffix(path, ".lock") })
		if !ok || len(open) != 1 || open[0].ID != id || open[0].Path != as || open[0].Deleted != deleted {
			t.Errorf("%s: %+v, %t", when, open, ok)
		} else if locked, closeOnExec := open[0].Info(); !locked || !closeOnExec {
			t.Errorf("%s: locked %t, close-on-exec %t", when, locked, closeOnExec)
		}
	}
	holds("held", path, false)
	if err := os.Rename(dir, dir+"-moved"); err != nil {
		t.Fatal(err)
	}
	holds("moved with its directory", dir+"-moved/K.lock", false)
	if err := os.RemoveAll(dir + "-moved"); err != nil {
		t.Fatal(err)
	}
	holds("removed with its directory", dir+"-moved/K.lock", true)
	_ = h.Process.Kill()
	h.end()
	if locks, _ := Flocks(); slices.Contains(locks, Flock{id.PID, st.Ino}) {
		t.Errorf("held by a dead process: %v", locks)
	}
}

// TestHostProc checks that a monitoring agent's variable doesn't blind the guard.
func TestHostProc(t *testing.T) {
	value := newMarker()
	h := help(t, nil, []string{"PROCSCAN_NAME=" + value}, "wait").ready(t)
	for _, proc := range []string{t.TempDir(), "/nonexistent"} {
		t.Setenv("HOST_PROC", proc)
		if ids := find(t, value); !slices.Equal(ids, []ID{h.id(t)}) {
			t.Errorf("HOST_PROC=%s: %v", proc, ids)
		}
		if _, command := Describe(h.id(t)); command != strings.Join(h.Args, " ") {
			t.Errorf("HOST_PROC=%s: described as %q", proc, command)
		}
	}
}

func TestDescribe(t *testing.T) {
	began := time.Now()
	h := help(t, nil, nil, "wait", "two words").ready(t)
	since, command := Describe(h.id(t))
	if d := since.Sub(began); d < -2*time.Second || d > time.Minute {
		t.Errorf("described as begun %s after its start", d)
	}
	if want := h.Args[0] + " two words"; command != want {
		t.Errorf("%q, not %q", command, want)
	}
	gone := h.id(t)
	h.end()
	if since, command := Describe(gone); !since.IsZero() || command != "" {
		t.Errorf("a process that has ended: %v %q", since, command)
	}
}

// TestHidden checks that an ordinary user's look counts root's processes as hidden.
func TestHidden(t *testing.T) {
	need.Programs(t, "setpriv")
	need.Root(t)
	exe, value := publicCopy(t), newMarker()
	mine := help(t, nil, []string{"PROCSCAN_NAME=" + value}, "wait").ready(t)
	for _, c := range []struct{ value, want string }{
		{value, "found=0 hidden=true blind=false other=false"},
		// A process sees its own environment.
		{"own", "found=1 hidden=true blind=false other=false"},
	} {
		cmd := exec.Command("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", exe, c.value)
		cmd.Env = []string{"PROCSCAN_HELPER=see", "PROCSCAN_NAME=own"}
		h := launch(t, cmd)
		if got := h.line(t); got != c.want {
			t.Errorf("looking for %s: %s, not %s", c.value, got, c.want)
		}
		h.ready(t).end()
	}
	if ids := find(t, value); !slices.Equal(ids, []ID{mine.id(t)}) {
		t.Errorf("root sees %v", ids)
	}
}

// TestPidReused checks that start times tell apart two processes of one pid.
func TestPidReused(t *testing.T) {
	needNamespaces(t)
	h := help(t, []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}, nil, "reuse")
	if got := h.line(t); got != "told apart" {
		t.Error(got)
	}
}

// reuse runs as the first process of a pid namespace, where it can choose the next
// pid (ns_last_pid, pid_namespaces(7)).
func reuse() {
	start := func() (*os.Process, ID) {
		p, err := os.StartProcess("/bin/sleep", []string{"sleep", "60"}, &os.ProcAttr{})
		if err != nil {
			panic(err)
		}
		s, err := Lookup(p.Pid)
		if err != nil {
			panic(err)
		}
		return p, s.ID
	}
	p, old := start()
	if !old.Alive() {
		fmt.Println("not alive at first")
		return
	}
	_ = p.Kill()
	_, _ = p.Wait()
	for range 1000 {
		// This program's threads take pids too, so a try may fail.
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", fmt.Append(nil, old.PID-1), 0); err != nil {
			fmt.Println(err)
			return
		}
		p, id := start()
		if id.PID == old.PID && id.Start != old.Start {
			switch {
			case old.Alive():
				fmt.Println("a process that has ended is alive because its pid is in use again")
			case !id.Alive():
				fmt.Println("the new process isn't alive")
			default:
				fmt.Println("told apart")
			}
			return
		}
		_ = p.Kill()
		_, _ = p.Wait()
	}
	fmt.Println("the pid was never reused")
}

// TestBlind checks that every process counts as alive where /proc is missing or
// another namespace's.
func TestBlind(t *testing.T) {
	needNamespaces(t)
	need.Programs(t, "mount", "umount")
	for name, before := range map[string][]string{
		"another namespace's": {"unshare", "--mount", "--pid", "--fork", "--kill-child"},
		"none":                {"unshare", "--mount", "sh", "-c", `mount -t tmpfs none /proc; exec "$0" "$@"`},
	} {
		t.Run(name, func(t *testing.T) {
			if got := help(t, before, nil, "blind").line(t); got != "blind, and careful" {
				t.Error(got)
			}
		})
	}
}

func blind() {
	p, err := os.StartProcess("/bin/sleep", []string{"sleep", "60"}, &os.ProcAttr{})
	if err != nil {
		panic(err)
	}
	defer func() { _ = p.Kill(); _, _ = p.Wait() }()
	_, err = Read("PROCSCAN_")
	switch {
	case !errors.Is(err, ErrBlind):
		fmt.Printf("it doesn't notice: %v\n", err)
	case !(ID{p.Pid, 1}).Alive():
		fmt.Println("a process that runs is taken for dead")
	case !Self().Alive():
		fmt.Println("it takes itself for dead")
	default:
		_ = p.Kill()
		_, _ = p.Wait()
		if (ID{p.Pid, 1}).Alive() {
			fmt.Println("a process that has ended is alive")
			return
		}
		fmt.Println("blind, and careful")
	}
}
