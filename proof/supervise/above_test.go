//go:build linux

package main

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/sdnotify"
	"lifeline/proof/need"
	"lifeline/proof/pid"
)

// above plays the supervisor of lifeline, in systemd's place.
type above struct {
	*sdnotify.Receiver
	t *testing.T
}

func supervisor(t *testing.T, dir string) above {
	t.Helper()
	r := must[*sdnotify.Receiver](t)(sdnotify.Listen(dir+"/above", sdnotify.Options{}))
	t.Cleanup(func() { r.Close() })
	return above{r, t}
}

// hear waits until a message satisfies ok, and returns all messages up to this one.
func (a above) hear(what string, ok func(*sdnotify.Message) bool) (all []sdnotify.Message) {
	a.t.Helper()
	for deadline := time.After(patience); ; {
		for _, m := range a.Drain() {
			m.Close()
			if all = append(all, m); ok(&m) {
				return all
			}
		}
		select {
		case <-a.C():
		case <-deadline:
			a.t.Fatalf("no message said %s; the last of %d messages: %+v", what, len(all), all[max(0, len(all)-3):])
		}
	}
}

func (a above) heartbeats(n int) {
	a.t.Helper()
	for range n {
		a.hear("WATCHDOG=1", func(m *sdnotify.Message) bool { return m.Watchdog })
	}
}

// TestNotifyClient checks what lifeline tells its own supervisor: MAINPID, STATUS and
// STOPPING, READY after its worker is ready, and heartbeats while its loop turns.
func TestNotifyClient(t *testing.T) {
	b := ready(t)
	dir, times, err := b.room()
	if err != nil {
		t.Fatal(err)
	}
	sup := supervisor(t, dir)
	const usec = "200000"
	s := must[*subject](t)(start("lifeline", dir, times,
		[]string{"NOTIFY_SOCKET=" + sup.Addr(), "WATCHDOG_USEC=" + usec},
		b.argv(dir, []string{"--respawn", "--respawn-delay", "0s", "--notify"}, b.beats, "50", "0")))
	t.Cleanup(s.end)
	began(t, s)
	all := sup.hear("READY=1", func(m *sdnotify.Message) bool { return m.Ready })
	if !slices.ContainsFunc(all, func(m sdnotify.Message) bool { return m.MainPID == s.cmd.Process.Pid }) {
		t.Errorf("no MAINPID=%d before READY=1: %+v", s.cmd.Process.Pid, all)
	}
	for _, m := range all {
		if m.Sender.PID != s.cmd.Process.Pid {
			t.Errorf("pid %d, not lifeline, spoke to lifeline's supervisor: %+v", m.Sender.PID, m)
		}
	}
	if !slices.ContainsFunc(all, func(m sdnotify.Message) bool { return strings.Contains(m.Status, "up") }) {
		t.Errorf("no STATUS= that the worker is up: %+v", all)
	}
	sup.heartbeats(5)

	lifeline := openPID(t, s.cmd.Process.Pid)
	lifeline.Signal(unix.SIGSTOP)
	stopped(t, lifeline.PID)
	sup.Drain() // earlier messages
	select {
	case <-sup.C():
		if late := sup.Drain(); len(late) > 0 {
			t.Errorf("a stopped lifeline says %+v", late)
		}
	case <-time.After(time.Second): // ten heartbeats were due
	}
	lifeline.Signal(unix.SIGCONT)
	sup.heartbeats(3)

	// A respawn isn't reported as another READY.
	must[time.Duration](t)(s.kill())
	sup.heartbeats(2)
	lifeline.Signal(unix.SIGTERM)
	all = sup.hear("STOPPING=1", func(m *sdnotify.Message) bool { return m.Stopping })
	if slices.ContainsFunc(all, func(m sdnotify.Message) bool { return m.Ready }) {
		t.Errorf("READY=1 came twice: %+v", all)
	}
	if !lifeline.WaitFor(int(patience.Milliseconds())) {
		t.Error("lifeline doesn't end")
	}
}

// TestLifelineUnderLifeline gives two lifelines a watchdog each: the inner one
// watches the worker, the outer one the inner one.
func TestLifelineUnderLifeline(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	b := ready(t)
	dir, times, err := b.room()
	if err != nil {
		t.Fatal(err)
	}
	innerDir := dir + "/inner"
	if err := os.Mkdir(innerDir, 0o700); err != nil {
		t.Fatal(err)
	}
	inner := b.argv(innerDir, watched("300ms"), b.beats, "50", "3")
	inner[4] = dir // --chdir: to the fifo
	s := must[*subject](t)(start("outer", dir, times, nil, b.argv(dir, watched("5s", "--kill-after", "2s"), inner...)))
	t.Cleanup(s.end)
	began(t, s)
	first, found := childOf(s.cmd.Process.Pid, b.lifeline)
	if !found {
		t.Fatal("the inner lifeline isn't the outer one's child")
	}
	next := func() {
		t.Helper()
		for old := s.worker; s.worker == old; {
			m := must[message](t)(s.hear())
			if m[0] == 0 {
				st, _ := pid.Look(int(m[1]))
				s.worker = st.ID
			}
		}
	}
	for range 5 { // each worker hangs
		next()
	}
	if now, _ := childOf(s.cmd.Process.Pid, b.lifeline); now != first {
		t.Errorf("the inner lifeline was %v and is %v now, though only its worker hung; printed: %q", first, now,
			head(s.said()))
	}
	h := open(t, first)
	h.Signal(unix.SIGSTOP)
	if !h.WaitFor(int(patience.Milliseconds())) {
		t.Fatalf("a stopped inner lifeline isn't ended; printed: %q", head(s.said()))
	}
	// A message of the dead lifeline's worker may come first.
	until(t, "another inner lifeline with a worker", func() bool {
		now, found := childOf(s.cmd.Process.Pid, b.lifeline)
		if !found || now == first {
			return false
		}
		_, found = childOf(now.PID, b.beats)
		return found
	})
}

// TestStoredDescriptor checks that a stored descriptor comes back by name after each
// death of a worker.
func TestStoredDescriptor(t *testing.T) {
	b := ready(t)
	s := b.forTest(t, []string{"--respawn", "--respawn-delay", "0s", "--notify", "--env", helper + "=store"},
		must[string](t)(os.Executable()))
	var maker int64
	for n := range 4 {
		m := must[message](t)(s.hear())
		if maker == 0 {
			maker = m[1]
		}
		if m[0] != maker {
			t.Fatalf("start %d has the descriptor of pid %d, not of %d", n, m[0], maker)
		}
		openPID(t, int(m[1])).Signal(unix.SIGKILL)
	}
}

// TestSupervisorKilled checks that a worker that has forked twice, ignores SIGTERM and
// belongs to init notices that its supervisor was killed.
func TestSupervisorKilled(t *testing.T) {
	b := ready(t)
	s := b.forTest(t, []string{"--leftovers", "follow", "--env", helper + "=daemon"}, must[string](t)(os.Executable()))
	m := must[message](t)(s.hear())
	daemon := openPID(t, int(m[1]))
	t.Cleanup(func() { daemon.Signal(unix.SIGKILL) })
	if daemon.WaitFor(300) {
		t.Fatalf("the worker ended before its supervisor; printed: %q", s.said())
	}
	_ = s.cmd.Process.Kill()
	if m = must[message](t)(s.hear()); m[0] != 1 || m[1] != int64(daemon.PID) {
		t.Errorf("heard %v of pid %d", m, daemon.PID)
	}
	if !daemon.WaitFor(int(patience.Milliseconds())) {
		t.Error("the worker lives on")
	}
}
