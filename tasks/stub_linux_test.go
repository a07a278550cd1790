package tasks_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
	"lifeline/proof/await"
)

// isStub reports a process that hasn't become its command yet.
func isStub(id procscan.ID) bool {
	line, err := os.ReadFile("/proc/" + strconv.Itoa(id.PID) + "/cmdline")
	return err == nil && bytes.HasPrefix(line, []byte("lifeline-stub\x00")) && id.Alive()
}

// stubOf waits for p's stub; zero when there is none any more. p may have other
// children for a moment.
func (w *world) stubOf(p *tick) procscan.ID {
	for {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", p.Process.Pid))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for _, f := range strings.Fields(string(text)) {
				pid, _ := strconv.Atoi(f)
				if s, err := procscan.Lookup(pid); err == nil && isStub(s.ID) {
					return s.ID
				}
			}
		}
		select {
		case <-p.over:
			return procscan.ID{}
		default:
		}
	}
}

// caught starts lifeline and stops its stub before it has become the command:
// as soon as it is there, or when it stands in the record. What keeps the stub
// from going on is another one, older and without a supervisor, for which it
// waits for a while.
func (w *world) caught(recorded bool, options []string, tag string) (*tick, procscan.ID) {
	w.t.Helper()
	wrap := w.wrap
	defer func() { w.wrap = wrap }()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		other := exec.Command("sleep", "600")
		other.Env = []string{"LIFELINE_NAME=web", "LIFELINE_SPACE=" + w.dir, "LIFELINE_STUB=1", "LIFELINE_SUPERVISOR=4194304:1"}
		if err := other.Start(); err != nil {
			w.t.Fatal(err)
		}
		end := func() { _ = other.Process.Kill(); _ = other.Wait() }
		defer end()
		w.wrap = append([]string{"nice", "-n", "19"}, wrap...) // that we are faster
		p := w.tick(options, "web", w.bad(tag)...)
		stub := w.stubOf(p)
		if stub.Zero() {
			w.t.Fatalf("exit code %d; it said %q", p.ends(), read(p.err))
		}
		named := func() bool { r := w.record("web"); return r != nil && r[6] == strconv.Itoa(stub.PID) }
		if recorded {
			await.That(w.t, "the stub in the record", named)
		}
		w.stop(stub)
		if isStub(stub) && named() == recorded {
			return p, stub
		}
		_ = unix.Kill(stub.PID, unix.SIGKILL) // too late
		p.ends()
		await.That(w.t, "its end", func() bool { return !stub.Alive() })
		end()
	}
	w.t.Fatal("the stub was always too fast")
	return nil, procscan.ID{}
}

// The supervisor is killed while its worker is only starting: the command
// never runs. The kernel wakes the stub, because its process group is an orphan
// now, with SIGHUP; and there is the death signal. With SIGHUP ignored and a
// death signal that does nothing it is the stub that must notice.
func TestSupervisorKilledBeforeExec(t *testing.T) {
	for name, tt := range map[string]struct {
		signal string
		wrap   []string
	}{
		"by a signal": {"TERM", nil},
		"by the stub": {"CHLD", []string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`}},
	} {
		for _, recorded := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", recorded"}[recorded], func(t *testing.T) {
				w := newWorld(t)
				w.wrap = tt.wrap
				first, stub := w.caught(recorded, []string{"--stop-signal", tt.signal}, "first")
				first.kill()
				_ = unix.Kill(stub.PID, unix.SIGCONT)
				await.That(t, "the stub's end", func() bool { return !stub.Alive() })
				w.not("first")
				w.tick(nil, "web", w.bad("second")...)
				w.at("second")
			})
		}
	}
}

// The same, and ticks come at once. The first may still find the stub alive and
// wait for its end; one starts, and the old command doesn't run later on.
func TestSupervisorKilledBeforeExecAndTicks(t *testing.T) {
	for name, recorded := range map[string]bool{"announced": false, "recorded": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			first, stub := w.caught(recorded, []string{"--stop-signal", "CHLD"}, "first")
			first.kill()
			for n := 1; !exists(w.path("second")); n++ {
				p := w.tick(nil, "web", w.bad("second")...)
				await.That(t, "a start or an end", func() bool {
					select {
					case <-p.over:
						return true
					default:
						return exists(w.path("second"))
					}
				})
				if n > 2 {
					t.Fatalf("%d ticks started nothing; they said %q", n, w.said())
				}
			}
			await.That(t, "the stub's end", func() bool { return !stub.Alive() })
			w.not("first")
		})
	}
}
