package tasks_test

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
	"lifeline/proof/await"
	"lifeline/proof/need"
)

// adopts starts a tick and checks that it adopts the worker and starts no other.
func (w *world) adopts(id procscan.ID, tag string) *tick {
	w.t.Helper()
	p := w.tick(nil, "web", w.bad(tag)...)
	await.That(w.t, "adoption or end", func() bool {
		select {
		case <-p.over:
			return true
		default:
			return p.says("watching over pid "+strconv.Itoa(id.PID)) || exists(w.path(tag))
		}
	})
	w.not(tag)
	if !p.says("watching over") {
		w.t.Fatalf("exit code %d, and it said %q", p.ends(), read(p.err))
	}
	if !id.Alive() {
		w.t.Error("the worker was ended")
	}
	w.tick([]string{"-E", "75"}, "web", w.bad(tag)...).silent(75)
	return p
}

// over kills the worker, and checks that its supervisor ends and that the next tick
// starts a worker.
func (w *world) over(id procscan.ID, supervisor *tick) {
	w.t.Helper()
	_ = unix.Kill(id.PID, unix.SIGKILL)
	supervisor.ends()
	w.tick(nil, "web", w.bad("next")...)
	w.at("next")
}

// TestSupervisorKilled checks that the next tick adopts a worker that hides its
// marker or closes the run file, also after the directory is wiped.
func TestSupervisorKilled(t *testing.T) {
	for _, tt := range []struct {
		how  string
		wipe bool // the directory is wiped as well
	}{
		{"term", false}, {"term close", false}, {"term wipe", false}, {"term title", false}, {"term close wipe", false},
		{"term", true}, {"term close", true},
	} {
		t.Run(strings.ReplaceAll(tt.how, " ", "+")+map[bool]string{true: "+rm"}[tt.wipe], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			first := w.tick(nil, "web", w.bad("first", strings.Fields(tt.how)...)...)
			id := w.at("first")
			first.kill()
			if tt.wipe {
				if err := os.RemoveAll(w.dir); err != nil {
					t.Fatal(err)
				}
			}
			w.over(id, w.adopts(id, "second"))
		})
	}
}

// TestSupervisorKilledNothingLeft shows, as the control, that a second worker starts
// without any evidence, as the manual says, and that these tests would see it.
func TestSupervisorKilledNothingLeft(t *testing.T) {
	w := newWorld(t)
	first := w.tick(nil, "web", w.bad("first", "term", "close", "wipe")...)
	id := w.at("first")
	first.kill()
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	w.tick(nil, "web", w.bad("second")...)
	w.at("second")
	if !id.Alive() {
		t.Error("the first one has ended: this shows nothing")
	}
}

// TestAdopterThatWasStopped checks an adopter that was stopped and goes on. It never
// locks the run file, because its worker has the lock. While the adopter is stopped,
// its worker dies and the lock file is removed, so the next tick takes the name. The
// adopter must neither overwrite the new record nor start a worker. Only that record
// may show the new worker.
func TestAdopterThatWasStopped(t *testing.T) {
	for how, options := range map[string][]string{"once": nil, "respawn": {"--respawn", "--respawn-delay", "0s"}} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			first := w.tick(nil, "web", w.bad("first", "term")...)
			id := w.at("first")
			first.kill()
			adopter := w.tick(options, "web", w.bad("beside")...)
			await.That(t, "adoption", func() bool { return adopter.says("watching over pid " + strconv.Itoa(id.PID)) })
			w.stop(adopter.id())
			if err := os.Remove(w.file("web", "lock")); err != nil {
				t.Fatal(err)
			}
			_ = unix.Kill(id.PID, unix.SIGKILL)
			await.That(t, "its end", func() bool { return !id.Alive() })
			third := w.tick(nil, "web", w.bad("third", "term", "close", "wipe")...)
			hidden := w.at("third")
			_ = adopter.Process.Signal(unix.SIGCONT)
			adopter.ends()
			third.kill()
			w.over(hidden, w.adopts(hidden, "fourth"))
			w.not("beside")
		})
	}
}

// TestDamagedRecordAndLockGone checks that a tick doesn't adopt a worker which has
// a living supervisor, although the record is damaged and the lock file is gone.
// Two supervisors would both decide what follows the worker's end.
func TestDamagedRecordAndLockGone(t *testing.T) {
	for _, adopted := range []bool{false, true} {
		t.Run(map[bool]string{false: "its own", true: "adopted"}[adopted], func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			first := w.tick(nil, "web", w.bad("first", "term")...)
			id := w.at("first")
			if adopted {
				first.kill()
				first = w.adopts(id, "beside")
			}
			w.stop(first.id()) // or it would put the lock file back before the tick
			if err := errors.Join(os.WriteFile(w.file("web", "run"), bytes.Repeat([]byte("?"), 256), 0o600),
				os.Remove(w.file("web", "lock"))); err != nil {
				t.Fatal(err)
			}
			second := w.tick([]string{"-E", "75", "--respawn"}, "web", w.bad("second")...)
			if code := second.ends(); code != 75 || second.says("watching") {
				t.Errorf("exit code %d; it said %q", code, read(second.err))
			}
			w.not("second")
			_ = first.Process.Signal(unix.SIGCONT)
			w.over(id, first)
		})
	}
}

// TestSupervisorStoppedAndDirectoryWiped checks a worker that hides, while its
// supervisor is stopped and the directory gone. The kernel still shows the holder of
// the lock, and the worker as the holder's child.
func TestSupervisorStoppedAndDirectoryWiped(t *testing.T) {
	w := newWorld(t)
	first := w.tick(nil, "web", w.bad("first", "term", "wipe", "close")...)
	id := w.at("first")
	w.stop(first.id())
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.tick([]string{"-E", "75"}, "web", w.bad("second")...).silent(75)
	}
	w.not("second")
	_ = first.Process.Signal(unix.SIGCONT)
	await.That(t, "the record put back",
		func() bool { r := w.record("web"); return r != nil && r.worker == strconv.Itoa(id.PID) })
	w.tick([]string{"-E", "75"}, "web", w.bad("second")...).silent(75)
	w.not("second")
	w.over(id, first)
}

// TestSupervisorStoppedWithoutWorker checks that a tick wakes a stopped supervisor
// without a worker, takes the name and starts.
func TestSupervisorStoppedWithoutWorker(t *testing.T) {
	w := newWorld(t)
	first := w.tick(nil, "web", w.bad("first")...)
	id := w.at("first")
	w.stop(first.id())
	w.tick([]string{"-E", "75"}, "web", w.bad("second")...).silent(75) // the supervisor still has a worker
	_ = unix.Kill(id.PID, unix.SIGKILL)
	await.That(t, "its end", func() bool { return !id.Alive() })
	second := w.tick([]string{"-E", "75"}, "web", w.bad("second")...)
	w.at("second")
	if code := first.ends(); code != 137 {
		t.Errorf("the first one: exit code %d", code)
	}
	if w.record("web").supervisor != strconv.Itoa(second.Process.Pid) {
		t.Error("the record names another supervisor")
	}
}

// TestLeaked checks that a descendant which still holds the run file keeps no tick
// from starting.
func TestLeaked(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	t.Run("after a normal end", func(t *testing.T) {
		w := newWorld(t)
		if code := w.tick([]string{"--leftovers", "keep"}, "web", w.bad("first", "leave", "end")...).ends(); code != 0 {
			t.Fatal(code)
		}
		left := w.at("first-grandchild")
		w.tick(nil, "web", w.bad("second")...)
		w.at("second")
		if !left.Alive() {
			t.Error("it was to be kept")
		}
	})
	t.Run("after a kill", func(t *testing.T) {
		w := newWorld(t)
		first := w.tick(nil, "web", w.bad("first", "leave")...)
		id := w.at("first")
		left := w.at("first-grandchild")
		before := w.inode("web", "run")
		first.kill()
		_ = unix.Kill(id.PID, unix.SIGKILL)
		await.That(t, "its end", func() bool { return !id.Alive() })
		if !left.Alive() || exec.Command("flock", "-n", w.file("web", "run"), "true").Run() == nil {
			t.Fatal("no process holds the run file: this shows nothing")
		}
		w.tick(nil, "web", w.bad("second")...)
		w.at("second")
		if w.inode("web", "run") == before {
			t.Error("the run file is still the one that is held")
		}
		w.tick([]string{"-E", "75"}, "web", w.bad("third")...).silent(75)
	})
}

// TestRemovedWhileHeld checks that a supervisor puts removed files back, and that
// later ticks find its instance.
func TestRemovedWhileHeld(t *testing.T) {
	for what, remove := range map[string]func(w *world) error{
		"lock": func(w *world) error { return os.Remove(w.file("web", "lock")) },
		"run":  func(w *world) error { return os.Remove(w.file("web", "run")) },
		"all":  func(w *world) error { _ = os.RemoveAll(w.dir); return nil }, // fails when a file is put back meanwhile
	} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			first := w.tick(nil, "web", w.bad("first")...)
			id := w.at("first")
			lock, run := w.inode("web", "lock"), w.inode("web", "run")
			if lock == 0 || run == 0 {
				t.Fatal("no files")
			}
			if err := remove(w); err != nil {
				t.Fatal(err)
			}
			await.That(t, "put back", func() bool {
				r := w.record("web")
				return r != nil && r.worker == strconv.Itoa(id.PID) &&
					r.supervisor == strconv.Itoa(first.Process.Pid) && w.inode("web", "lock") != 0 &&
					(w.inode("web", "lock") != lock || w.inode("web", "run") != run)
			})
			w.tick([]string{"-E", "75"}, "web", w.bad("second")...).silent(75)
			w.tick(nil, "web", w.bad("second")...).silent(0)
			w.not("second")
			w.over(id, first)
		})
	}
}

// TestLeaderlessWorker checks that a program whose first thread has ended is the
// instance as long as other threads run.
func TestLeaderlessWorker(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for name, wipe := range map[string]bool{"record": false, "marker": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first := w.tick([]string{"--env", "TASKS_TEST_LEADERLESS=" + w.path("first")}, "web", exe)
			id := w.at("first")
			if s, err := procscan.Lookup(id.PID); err != nil || s.State != 'Z' {
				t.Fatalf("it has a leader: %+v, %v", s, err)
			}
			first.kill()
			if wipe {
				if err := os.RemoveAll(w.dir); err != nil {
					t.Fatal(err)
				}
			}
			w.over(id, w.adopts(id, "second"))
		})
	}
}

// TestExecAndDirectoryWiped checks that one instance runs under --exec, where no
// supervisor puts the wiped directory back.
func TestExecAndDirectoryWiped(t *testing.T) {
	w := newWorld(t)
	first := w.tick([]string{"--exec"}, "web", w.bad("first")...)
	id := w.at("first")
	if id.PID != first.Process.Pid {
		t.Fatal("there is a supervisor")
	}
	w.tick([]string{"-E", "75"}, "web", w.bad("second")...).silent(75)
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		w.tick([]string{"-E", "75"}, "web", w.bad("second")...).silent(75)
		w.tick([]string{"-E", "75", "--exec"}, "web", w.bad("second")...).silent(75)
	}
	w.not("second")
	first.kill()
	w.tick(nil, "web", w.bad("next")...)
	w.at("next")
}

// TestNameInCommandLine checks that a process's name and arguments are no evidence.
func TestNameInCommandLine(t *testing.T) {
	w := newWorld(t)
	for _, argv := range [][]string{
		{"lifeline", "-c", "read x", "web", "--", "sleep", "9"},
		{"vim", "-c", "read x; :", "lifeline", "web"},
		{"lifeline-stub", "-c", "read x; :", "web"},
		{"sh", "-c", "read x; : lifeline --dir " + w.dir + " web -- sleep 9"},
	} {
		cmd := exec.Command("/bin/sh")
		cmd.Args = argv
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		w.start(cmd)
		defer in.Close()
	}
	w.tick(nil, "web", w.bad("first")...)
	w.at("first")
}
