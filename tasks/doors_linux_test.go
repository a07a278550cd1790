package tasks_test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lifeline/proof/await"
	"lifeline/proof/need"
)

// TestDoors checks that one remaining piece of evidence is enough after the supervisor
// was killed. It is the marker, or an open description of the run file, even of a
// removed or moved one.
func TestDoors(t *testing.T) {
	few := func(n string) []string { return []string{"bash", "-c", "ulimit -n " + n + `; exec "$0" "$@"`} }
	wiped := func(w *world) error { return os.RemoveAll(w.dir) }
	moved := func(w *world) error { return os.Rename(w.dir, w.dir+"-moved") }
	removed := func(w *world) error { return os.Remove(w.file("web", "run")) }
	damaged := func(w *world) error { return os.WriteFile(w.file("web", "run"), []byte("garbage"), 0o600) }
	both := func(w *world) error { return errors.Join(damaged(w), moved(w)) }
	for name, tt := range map[string]struct {
		how   string
		wrap  []string // the words before lifeline
		drops bool     // the command gives up root's privileges
		after func(*world) error
	}{
		"environment wiped, 64 descriptors, directory wiped":  {"term wipe", few("64"), false, wiped},
		"environment wiped, 128 descriptors, directory wiped": {"term wipe", few("128"), false, wiped},
		"environment wiped, directory moved":                  {"term wipe", nil, false, moved},
		"environment wiped, 64 descriptors, directory moved":  {"term wipe", few("64"), false, moved},
		"environment wiped, run file removed":                 {"term wipe", nil, false, removed},
		"environment wiped, record damaged":                   {"term wipe", nil, false, damaged},
		"environment wiped, record damaged, moved":            {"term wipe", nil, false, both},
		"privileges dropped, environment wiped, both":         {"term wipe", nil, true, both},
		"privileges dropped, run file removed":                {"term", nil, true, removed},
		"privileges dropped, record damaged":                  {"term", nil, true, damaged},
		"privileges dropped, directory wiped":                 {"term", nil, true, wiped},
		"privileges dropped, environment wiped, moved":        {"term wipe", nil, true, moved},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.wrap = tt.wrap
			argv := w.bad("first", strings.Fields(tt.how)...)
			if tt.drops {
				needRoot(t)
				argv = append(append([]string(nil), nobody...), argv...)
			}
			first := w.tick(nil, "web", argv...)
			id := w.at("first")
			first.kill()
			if err := tt.after(w); err != nil {
				t.Fatal(err)
			}
			w.wrap = nil
			w.adopts(id, "second")
		})
	}
}

// TestStoppedSupervisor checks that a tick finds a supervisor that is stopped and whose
// files are gone. Its worker wipes its environment and closes the run file, so only the
// supervisor shows the instance.
func TestStoppedSupervisor(t *testing.T) {
	damaged := func(w *world) error { return os.WriteFile(w.file("halted", "run"), []byte("garbage"), 0o600) }
	moved := func(w *world) error { return os.Rename(w.dir, w.dir+"-moved") }
	unlocked := func(w *world) error { return os.Remove(w.file("halted", "lock")) }
	for name, faults := range map[string][]func(*world) error{
		"directory wiped":                 {func(w *world) error { return os.RemoveAll(w.dir) }},
		"directory moved":                 {moved},
		"record damaged, directory moved": {damaged, moved},
		"both, and the lock file removed": {damaged, unlocked, moved},
		"the same, and what was moved, wiped": {damaged, moved, func(w *world) error {
			return os.RemoveAll(w.dir +
				"-moved")
		}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first := w.tick(nil, "halted", w.bad("first", "term", "close", "wipe")...)
			w.at("first")
			w.stop(first.id())
			for _, fault := range faults {
				if err := fault(w); err != nil {
					t.Fatal(err)
				}
			}
			if code := w.tick([]string{"-E", "75"}, "halted", w.bad("second")...).ends(); code != 75 {
				t.Errorf("the next tick ended with %d; it said %q", code, w.said())
			}
			w.not("second")
			_ = first.Process.Signal(unix.SIGCONT)
		})
	}
}

// TestFollowHidden checks that the next supervisor follows a daemon that wipes its
// environment, as nginx does, after its supervisor was killed.
func TestFollowHidden(t *testing.T) {
	for name, after := range map[string]func(*world) error{
		"no file touched":     func(*world) error { return nil },
		"the directory wiped": func(w *world) error { return os.RemoveAll(w.dir) },
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			follow := []string{"--leftovers", "follow"}
			first := w.tick(follow, "web", w.bad("first", "leave", "end")...)
			id := w.at("first-grandchild")
			await.That(t, "the worker's end", func() bool {
				r := w.record("web")
				return r != nil && r.worker == strconv.Itoa(id.PID)
			})
			first.kill()
			if err := after(w); err != nil {
				t.Fatal(err)
			}
			next := w.tick(follow, "web", w.bad("second")...)
			await.That(t, "its supervisor", func() bool {
				r := w.record("web")
				return exists(w.path("second")) || r != nil && r.supervisor == strconv.Itoa(next.Process.Pid) &&
					r.worker == strconv.Itoa(id.PID)
			})
			w.tick(append([]string{"-E", "75"}, follow...), "web", w.bad("second")...).silent(75)
			w.not("second")
			if code := w.run("terminate", "--dir", w.dir, "--kill-after", "10ms", "web").ends(); code != 0 ||
				id.Alive() {
				t.Errorf("terminate: exit code %d; the daemon is alive: %t", code, id.Alive())
			}
		})
	}
}

// TestStrangers checks that processes which show no environment, of root and of
// another user, keep no tick from starting.
func TestStrangers(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	for _, user := range [][]string{nil, nobody} {
		// Perl writes $0 over its environment.
		argv := append(append([]string(nil), user...), "env", "-i", "/usr/bin/perl", "-e",
			`$0 = "x" x 4000; print "\n"; sleep 600`)
		stranger := exec.Command(argv[0], argv[1:]...)
		if err := stranger.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	}
	w.tick(nil, "web", w.bad("first")...)
	w.at("first")
}

// TestOddStarts checks that an odd environment, limit or umask keeps no worker from
// starting, or from being respawned.
func TestOddStarts(t *testing.T) {
	for name, tt := range map[string]struct {
		wrap []string
		env  string
	}{
		"a variable without =":       {nil, "NOVALUE"},
		"no file may grow":           {[]string{"bash", "-c", `ulimit -f 0; exec "$0" "$@"`}, ""},
		"files of 100 bytes at most": {[]string{"prlimit", "--fsize=100"}, ""},
		"a umask of 0777":            {[]string{"bash", "-c", `umask 0777; exec "$0" "$@"`}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.dir = w.path("new/parents/state")
			w.wrap = tt.wrap
			p := w.command("--dir", w.dir, "--respawn", "--respawn-delay", "0", "web", "--", "sh", "-c",
				`kill -0 $PPID; exec sleep 600`)
			if tt.env != "" {
				p.Env = append(os.Environ(), tt.env)
			}
			running := w.start(p)
			var last string
			for range 3 {
				await.That(t, "a worker", func() bool {
					r := w.worker(running.Process.Pid)
					if r == "" || r == last {
						return false
					}
					last = r
					return true
				})
				if out, err := exec.Command("kill", "-KILL", last).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, out)
				}
			}
			_ = running.Process.Signal(unix.SIGTERM)
			running.ends()
			if text := read(running.err); strings.Contains(text, "panic") {
				t.Errorf("it said %q", text)
			}
		})
	}
}

// command returns lifeline with these arguments, not started yet.
func (w *world) command(args ...string) *exec.Cmd {
	all := append(append(append([]string(nil), w.wrap...), w.lifeline), args...)
	return exec.Command(all[0], all[1:]...)
}

// worker returns the pid of the supervisor's child sleep, "" for none.
func (w *world) worker(supervisor int) string {
	out, err := exec.Command("pgrep", "-P", strconv.Itoa(supervisor), "-x", "sleep").Output()
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(out))
}

// TestOtherPIDNamespace checks that a tick in another pid namespace takes the holder of
// the run file's lock for the instance. Such a tick sees none of these processes.
func TestOtherPIDNamespace(t *testing.T) {
	needRoot(t)
	for _, wiped := range []string{"", "wipe"} {
		t.Run("worker "+wiped, func(t *testing.T) {
			w := newWorld(t)
			first := w.tick(nil, "web", w.bad("first", strings.Fields("term "+wiped)...)...)
			id := w.at("first")
			first.kill()
			w.wrap = []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
			if code := w.tick([]string{"-E", "75"}, "web", w.bad("second")...).ends(); code != 75 {
				t.Errorf("the tick in the other namespace ended with %d; it said %q", code, w.said())
			}
			w.not("second")
			w.wrap = nil
			w.over(id, w.adopts(id, "third"))
		})
	}
}

// TestNoPidfd plays an old container runtime, which answers EPERM to the system
// calls for pidfds.
func TestNoPidfd(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	strace := need.Program(t, "strace")
	w := newWorld(t)
	without := []string{strace, "-f", "-qq", "-o", "/dev/null", "-e", "trace=pidfd_open,pidfd_send_signal",
		"-e", "inject=pidfd_open,pidfd_send_signal:error=EPERM"}
	w.wrap = without
	if code := w.tick([]string{"--max-runtime", "100ms"}, "job", w.bad("job", "term")...).ends(); code != 124 {
		t.Errorf("--max-runtime: code %d; it said %q", code, w.said())
	}
	w.wrap = nil
	first := w.tick(nil, "web", w.bad("first", "term")...)
	id := w.at("first")
	first.kill()
	w.adopts(id, "second")
	w.wrap = without
	if code := w.run("terminate", "--dir", w.dir, "--kill-after", "100ms", "web").ends(); code != 0 || id.Alive() {
		t.Errorf("terminate: code %d, and the worker lives: %v; it said %q", code, id.Alive(), w.said())
	}
}

// TestPIE checks that lifeline works as a position-independent executable.
func TestPIE(t *testing.T) {
	need.Time(t, "builds everything once more")
	w := newWorld(t)
	for program, source := range map[string]string{"pie": "..", "own": "../examples/tasks"} {
		build := exec.Command("go", "build", "-buildmode=pie", "-tags", "urfave_cli_no_docs,osusergo,netgo", "-o",
			w.path(program), source)
		build.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	w.lifeline = w.path("own")
	own := w.run("counter:lifeline", "--dir", w.dir)
	await.That(t, "it counts", func() bool { return strings.Contains(read(own.out), "1\n") })
	_ = own.Process.Signal(unix.SIGTERM)
	own.ends()
	w.lifeline = w.path("pie")
	if code := w.tick(nil, "job", "true").ends(); code != 0 {
		t.Errorf("code %d; it said %q", code, w.said())
	}
	running := w.tick([]string{"--respawn", "--respawn-delay", "0"}, "web", "sh", "-c", "kill -0 $PPID; exec sleep 600")
	last := ""
	for range 3 {
		await.That(t, "a worker", func() bool {
			r := w.worker(running.Process.Pid)
			ok := r != "" && r != last
			if ok {
				last = r
			}
			return ok
		})
		if out, err := exec.Command("kill", "-KILL", last).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	if code := w.run("terminate", "--dir", w.dir, "web").ends(); code != 0 {
		t.Errorf("terminate: code %d; it said %q", code, w.said())
	}
	running.ends()
}

// TestStatusOfAdopted checks that the status of an adopted worker says what its new
// supervisor can't take up.
func TestStatusOfAdopted(t *testing.T) {
	w := newWorld(t)
	first := w.tick(nil, "web", w.bad("first", "term")...)
	id := w.at("first")
	first.kill()
	w.adopts(id, "second")
	await.That(t, "what is lost", func() bool {
		p := w.run("status", "--dir", w.dir, "web")
		p.ends()
		return strings.Contains(read(p.out), "(adopted without its exit code, LIFELINE_FD)")
	})
}
