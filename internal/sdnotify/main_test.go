package sdnotify

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lifeline/proof/need"
)

// patience is how long a test waits for an event.
const patience = 10 * time.Second

// children has the programs of the test binary when it is run as a worker.
var children = map[string]func() error{
	// A Go service with the usual library. It is a program of its own, so that this
	// module doesn't require the library.
	"go-systemd": func() error {
		if out, err := exec.Command(os.Getenv("GO_SYSTEMD")).CombinedOutput(); err != nil {
			return fmt.Errorf("%w: %s", err, out)
		}
		return barrier()
	},
	// Heartbeats without a pause, between a READY and a STOPPING.
	"flood": func() error {
		c := Client{Addr: os.Getenv(EnvSocket), Timeout: patience}
		if err := c.Ready(); err != nil {
			return err
		}
		for i := range 5000 {
			if err := c.Send("WATCHDOG=1\nSTATUS=" + strconv.Itoa(i)); err != nil {
				return err
			}
		}
		if err := c.Stopping(); err != nil {
			return err
		}
		return barrier()
	},
	// Numbered messages, all of which must arrive.
	"count": func() error {
		c := Client{Addr: os.Getenv(EnvSocket), Timeout: patience}
		n, err := strconv.Atoi(os.Getenv("COUNT"))
		if err != nil {
			return err
		}
		for i := range n {
			if err := c.Send("READY=1\nSTATUS=" + strconv.Itoa(i)); err != nil {
				return err
			}
		}
		return barrier()
	},
}

func barrier() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return Client{Addr: os.Getenv(EnvSocket)}.Barrier(ctx)
}

func TestMain(m *testing.M) {
	if name := os.Getenv("NOTIFY_TEST_CHILD"); name != "" {
		if err := children[name](); err != nil {
			fmt.Fprintln(os.Stderr, name, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The runtime's poller opens two descriptors at its first use; here, so that
	// no test counts them.
	if r, w, err := os.Pipe(); err == nil {
		r.Close()
		w.Close()
	}
	for _, name := range []string{EnvSocket, EnvWatchdogUSec, EnvWatchdogPID} {
		os.Unsetenv(name) // a service manager above the tests must not hear of them
	}
	os.Exit(m.Run())
}

// child returns the command that runs this test binary as a worker.
func child(t *testing.T, name, addr string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(Environ(os.Environ(), addr, 3*time.Second), "NOTIFY_TEST_CHILD="+name)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	return cmd
}

// below returns a Member that walks up the parents to root, as a supervisor may.
func below(root int) func(int) bool {
	return func(pid int) bool {
		for range 100 {
			if pid == root {
				return true
			}
			stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
			if err != nil {
				return false
			}
			fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
			if len(fields) < 2 {
				return false
			}
			if pid, err = strconv.Atoi(fields[1]); err != nil || pid <= 0 {
				return false
			}
		}
		return false
	}
}

// started has the processes that runServed has started.
var started sync.Map

// ours returns a Member like a supervisor's: true for all processes that the test has
// started, alive or dead, and for their descendants.
func ours() func(int) bool {
	descends := below(os.Getpid())
	return func(pid int) bool {
		_, known := started.Load(pid)
		return known || descends(pid)
	}
}

func listen(t *testing.T, member func(int) bool) *Receiver {
	t.Helper()
	r, err := Listen(filepath.Join(t.TempDir(), "notify"), Options{Member: member})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	return r
}

// serve drains r like a supervisor's loop until enough returns true, answers barriers,
// and returns all messages.
func serve(t *testing.T, r *Receiver, enough func([]Message) bool) []Message {
	t.Helper()
	var all []Message
	deadline := time.After(patience)
	for {
		for _, m := range r.Drain() {
			if m.Barrier {
				m.Close()
			}
			all = append(all, m)
		}
		if enough(all) {
			return all
		}
		select {
		case <-r.C():
		case <-deadline:
			t.Fatalf("still waiting after %d messages: %+v; dropped %+v %q", len(all), all, r.Dropped(), r.Warnings())
		}
	}
}

// atLeast returns an end for serve: n messages.
func atLeast(n int) func([]Message) bool {
	return func(all []Message) bool { return len(all) >= n }
}

// runServed runs a client to its end while r is served.
func runServed(t *testing.T, r *Receiver, cmd *exec.Cmd) []Message {
	t.Helper()
	var out strings.Builder
	if cmd.Stderr == nil {
		cmd.Stderr = &out
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	started.Store(cmd.Process.Pid, true)
	ended := make(chan error, 1)
	go func() {
		ended <- cmd.Wait()
		r.signal() // wakes serve
	}()
	var err error
	over := false
	all := serve(t, r, func([]Message) bool {
		if over {
			return true
		}
		select {
		case err = <-ended:
			over = true // one more round, for what was said last
			r.signal()
		default:
		}
		return false
	})
	if err != nil {
		t.Fatalf("%v: %v %s", cmd.Args, err, out.String())
	}
	return all
}

// wantNoWarnings fails when the receiver dropped something.
func wantNoWarnings(t *testing.T, r *Receiver) {
	t.Helper()
	if d := r.Dropped(); d != (Dropped{}) {
		t.Errorf("dropped %+v: %q", d, r.Warnings())
	}
}

// openFds returns the number of this process's descriptors.
func openFds(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		need.NoError(t, err)
	}
	return len(entries)
}

// eventually waits until ok returns true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(patience)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}
