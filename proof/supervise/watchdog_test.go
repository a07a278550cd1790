//go:build linux

package main

import (
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/need"
	"lifeline/proof/pid"
)

// watched returns the options for the workers of these tests.
func watched(period string, more ...string) []string {
	return append([]string{"--respawn", "--respawn-delay", "0s", "--notify", "--watchdog", period}, more...)
}

func began(t *testing.T, s *subject) {
	t.Helper()
	must[int64](t)(s.meet())
}

// TestWatchdogRunsOut checks that a hung worker gets SIGABRT and is started again, and
// never before its period has passed.
func TestWatchdogRunsOut(t *testing.T) {
	b := ready(t)
	s := b.forTest(t, watched(period.String()), b.beats, "30", "3")
	for ended := 0; ended < 10; {
		m := must[message](t)(s.hear())
		if m[0] == 0 {
			continue
		}
		ended++
		if silent := time.Duration(m[1] - m[0]); silent < period {
			t.Errorf("ended %s after its last heartbeat, which is less than %s", silent, period)
		}
	}
}

// TestStoppedSupervisor stops the supervisor for longer than the period. It can't have
// received heartbeats meanwhile, so it mustn't end the worker.
func TestStoppedSupervisor(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	for _, how := range []string{"lifeline", "both, lifeline wakes first", "both, the worker wakes first"} {
		t.Run(how, func(t *testing.T) {
			b := ready(t)
			s := b.forTest(t, watched("500ms"), b.beats, "20", "0")
			began(t, s)
			worker := open(t, s.worker)
			lifeline := openPID(t, s.cmd.Process.Pid)
			for range 2 {
				lifeline.Signal(unix.SIGSTOP)
				stopped(t, lifeline.PID)
				if how != "lifeline" {
					worker.Signal(unix.SIGSTOP)
					stopped(t, worker.PID)
				}
				<-time.After(800 * time.Millisecond) // more than the period
				if how == "both, the worker wakes first" {
					worker.Signal(unix.SIGCONT)
				}
				lifeline.Signal(unix.SIGCONT)
				worker.Signal(unix.SIGCONT)
				// A wrong SIGABRT would come within the next period.
				if worker.WaitFor(700) {
					t.Fatalf("the worker was ended though it did send heartbeats; printed: %q", s.said())
				}
			}
			if said := s.said(); said != "" {
				t.Errorf("printed: %q", said)
			}
		})
	}
}

// TestForkedHelper checks that a child's heartbeats count with --notify-access all.
func TestForkedHelper(t *testing.T) {
	b := ready(t)
	s := b.forTest(t, append(watched("500ms"), "--notify-access", "all"), b.beats, "50", "0", "helper")
	began(t, s)
	if open(t, s.worker).WaitFor(2000) {
		t.Errorf("the worker was ended though its child sent heartbeats; printed: %q", s.said())
	}
	if said := s.said(); said != "" {
		t.Errorf("printed: %q", said)
	}
}

// TestDeafWorker checks that a hung worker that ignores SIGABRT is killed after
// --kill-after.
func TestDeafWorker(t *testing.T) {
	b := ready(t)
	s := b.forTest(t, watched("100ms", "--kill-after", "200ms"), b.beats, "30", "1", "deaf")
	for range 3 {
		began(t, s)
		old := open(t, s.worker)
		began(t, s)
		if !old.Dead() {
			t.Error("the next worker began beside the old worker")
		}
	}
	if said := s.said(); !strings.Contains(said, "SIGABRT") || !strings.Contains(said, "200ms") {
		t.Errorf("printed: %q", said)
	}
}

// TestKilledOverAndOver kills one worker after another, and checks that each has ended
// before the next begins.
func TestKilledOverAndOver(t *testing.T) {
	b := ready(t)
	s := must[*subject](t)(b.start(b.peers()[0]))
	t.Cleanup(s.end)
	for range 100 {
		old := open(t, s.worker)
		at := pid.Now()
		must[time.Duration](t)(s.kill())
		if !old.Dead() {
			t.Fatal("two at once")
		}
		if s.worker.PID == old.PID {
			t.Fatalf("pid %d again, %d ns after its kill", old.PID, pid.Now()-at)
		}
	}
}
