package supervisor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/journal"
	"lifeline/internal/probe"
	"lifeline/internal/process"
)

func target(t *testing.T, text string) probe.Target {
	t.Helper()
	parsed, err := probe.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return parsed
}

// TestReadyCheck runs --ready-check until it succeeds, and not again.
func TestReadyCheck(t *testing.T) {
	o := Options{KillAfter: 10 * time.Second, ReadyTimeout: 90 * time.Second, Umask: -1,
		ReadyCheck: target(t, "tcp://127.0.0.1:1"), CheckInterval: 10 * time.Second, CheckTimeout: 5 * time.Second,
		CheckFailures: 3}
	looks, serves := 0, false
	setup := func(f *fake) {
		f.asked = func(context.Context) error {
			looks++
			if !serves {
				return errors.New("connection refused")
			}
			return nil
		}
	}
	supervised(t, o, setup, func(f *fake) {
		if f.sleep(20 * time.Second); f.state() != "starting" || looks < 8 {
			t.Errorf("%s after %d looks", f.state(), looks)
		}
		serves = true
		if f.sleep(10 * time.Second); f.state() != "up" {
			t.Errorf("%s though the check succeeds", f.state())
		}
		before := looks
		if f.sleep(time.Hour); looks != before {
			t.Errorf("%d more looks at one that is up", looks-before)
		}
	})
	serves = false
	supervised(t, o, setup, func(f *fake) {
		f.sleep(91 * time.Second)
		var end *EndError
		if !errors.As(<-f.result, &end) || end.Code != 1 || !strings.Contains(end.Text,
			"(--ready-timeout): ended; --ready-check: connection refused") {
			t.Errorf("it ended as %+v", end)
		}
	})
	supervised(t, o, setup, func(f *fake) {
		f.state()
		f.exit(0)
		var end *EndError
		if !errors.As(<-f.result, &end) || end.Code != 1 || !strings.Contains(end.Text,
			"before its check succeeded (--ready-check)") {
			t.Errorf("it ended as %+v", end)
		}
	})
}

// TestReadyCheckOfReload shows that a reload's new generation is ready when its check
// succeeds.
func TestReadyCheckOfReload(t *testing.T) {
	o := reloadOptions
	o.Notify, o.ReadyCheck, o.CheckInterval, o.CheckTimeout = false, target(t, "tcp://127.0.0.1:1"), 10*time.Second,
		5*time.Second
	var found error
	setup := func(f *fake) { found, f.asked = nil, func(context.Context) error { return found } }
	begin := func(f *fake) *duo {
		d := &duo{fake: f}
		f.state()
		f.l.post(func() { d.init(); found = errors.New("connection refused") })
		d.ask("reload")
		return d
	}
	supervised(t, o, setup, func(f *fake) {
		d := begin(f)
		f.sleep(30 * time.Second)
		if d.pid() != 1001 {
			t.Errorf("pid %d counts before the check succeeds", d.pid())
		}
		f.l.post(func() { found = nil })
		f.sleep(12 * time.Second)
		if got := <-d.answer; !strings.HasPrefix(got, "ok pid 1002") || d.pid() != 1002 {
			t.Errorf("it answered %q, and pid %d counts", got, d.pid())
		}
		d.close()
	})
	supervised(t, o, setup, func(f *fake) {
		d := begin(f)
		f.sleep(time.Minute)
		if got := <-d.answer; !strings.Contains(got,
			"not ready within 1m0s (--reload-timeout); --ready-check: connection refused") || d.pid() != 1001 {
			t.Errorf("it answered %q, and pid %d counts", got, d.pid())
		}
		d.close()
	})
}

// TestHealthCheckCannotLook shows that a look for which lifeline itself lacks a descriptor
// or a process is no failure of the worker. A healthy worker was ended for it.
func TestHealthCheckCannotLook(t *testing.T) {
	o := Options{KillAfter: 10 * time.Second, Umask: -1, Respawn: true, RespawnDelay: 5 * time.Second,
		HealthCheck: target(t, "tcp://127.0.0.1:1"), CheckInterval: 10 * time.Second, CheckTimeout: 5 * time.Second,
		CheckFailures: 3}
	for _, lack := range []error{unix.EMFILE, unix.ENFILE, unix.EAGAIN, unix.ENOMEM} {
		found := fmt.Errorf("cannot connect: %w", lack)
		setup := func(f *fake) { f.asked = func(context.Context) error { return found } }
		supervised(t, o, setup, func(f *fake) {
			f.sleep(time.Hour)
			if f.state() != "up" || len(f.warned) != 1 || !strings.Contains(f.warned[0],
				"--health-check cannot be run, the command goes on: cannot connect: "+lack.Error()) {
				t.Errorf("%v: %s, and it said %q", lack, f.state(), f.warned)
			}
			f.l.post(func() { found = errors.New("connection refused") })
			if f.sleep(31 * time.Second); !slices.ContainsFunc(f.took(), func(did string) bool { return did == "SIGABRT" }) {
				t.Errorf("%v: failures don't count any more", lack)
			}
		})
	}
}

// TestHealthCheck shows that repeated failures of --health-check end a worker, as the
// watchdog does.
func TestHealthCheck(t *testing.T) {
	o := Options{KillAfter: 10 * time.Second, Umask: -1, Respawn: true, RespawnDelay: 5 * time.Second,
		HealthCheck: target(t, "tcp://127.0.0.1:1"), CheckInterval: 10 * time.Second, CheckTimeout: 5 * time.Second,
		CheckFailures: 3}
	var found error
	setup := func(f *fake) { f.asked = func(context.Context) error { return found } }
	supervised(t, o, setup, func(f *fake) {
		f.sleep(time.Minute)
		found = errors.New("connection refused")
		f.sleep(20 * time.Second)
		found = nil // two failures, a success, two failures: never three in a row
		f.sleep(10 * time.Second)
		found = errors.New("connection refused")
		f.sleep(20 * time.Second)
		if log := f.took(); !slices.Equal(log, []string{"start"}) {
			t.Fatalf("it did %q", log)
		}
		f.sleep(10 * time.Second)
		if log := f.took(); !slices.Equal(log, []string{"SIGABRT"}) {
			t.Errorf("it did %q", log)
		}
		if len(f.warned) == 0 || !strings.Contains(f.warned[0],
			"failed 3 times in a row, at last because connection refused (--health-check)") {
			t.Errorf("it said %q", f.warned)
		}
		f.sleep(6 * time.Second)
		if f.state() != "up" {
			t.Errorf("%s after the respawn", f.state())
		}
	})
	t.Run("an answer that doesn't come", func(t *testing.T) {
		setup := func(f *fake) {
			f.asked = func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }
		}
		supervised(t, o, setup, func(f *fake) {
			f.sleep(44 * time.Second)
			f.took()
			f.sleep(2 * time.Second) // 10 + 5, 10 + 5, 10 + 5
			if log := f.took(); !slices.Equal(log, []string{"SIGABRT"}) {
				t.Errorf("it did %q", log)
			}
		})
	})
	t.Run("lifeline was stopped", func(t *testing.T) {
		found = errors.New("connection refused")
		supervised(t, o, setup, func(f *fake) {
			f.sleep(25 * time.Second)
			f.signals <- unix.SIGCONT
			f.sleep(25 * time.Second)
			if log := f.took(); !slices.Equal(log, []string{"start", "send SIGCONT"}) {
				t.Errorf("it did %q", log)
			}
		})
	})
}

// TestCheckCommand shows that the end of a check's command ends the look alone.
func TestCheckCommand(t *testing.T) {
	o := Options{KillAfter: 10 * time.Second, Umask: -1, Respawn: true, RespawnDelay: time.Hour, HealthCheck: target(t,
		"check it"),
		CheckInterval: 10 * time.Second, CheckTimeout: 5 * time.Second, CheckFailures: 2}
	ends := func(f *fake, pid int, status unix.WaitStatus) {
		f.l.post(func() {
			f.ended = append(f.ended, process.Exit{PID: pid, Status: status})
			f.chld <- unix.SIGCHLD
		})
		f.state()
	}
	supervised(t, o, nil, func(f *fake) {
		f.sleep(11 * time.Second)
		ends(f, 1002, 0)
		f.sleep(11 * time.Second)
		ends(f, 1003, 1<<8)
		f.sleep(11 * time.Second)
		if log := f.took(); !slices.Equal(log, []string{"start", "look", "kill group 1002", "look", "kill group 1003",
			"look"}) {
			t.Errorf("it did %q", log)
		}
		if ids := f.l.helpers(); len(ids) != 1 || ids[0].PID != 1004 {
			t.Errorf("the helpers are %v", ids)
		}
		f.sleep(5 * time.Second) // the command takes too long
		if log := f.took(); !slices.Equal(log, []string{"kill group 1004", "SIGABRT"}) {
			t.Errorf("it did %q", log)
		}
		ends(f, 1004, unix.WaitStatus(unix.SIGKILL))
		if ids := f.l.helpers(); len(ids) != 0 {
			t.Errorf("the helpers are %v", ids)
		}
	})
}

// TestMaxMemory tests --max-memory without a cgroup. The tree's memory is added up six
// times a minute; a worker over the limit gets the stop signal and a successor at once.
func TestMaxMemory(t *testing.T) {
	o := Options{KillAfter: 10 * time.Second, Umask: -1, Respawn: true, RespawnDelay: time.Hour, MaxMemory: 500 << 20}
	var lives []journal.Run
	supervised(t, o, func(f *fake) { f.memory = 500 << 20 }, func(f *fake) {
		f.l.post(func() { f.l.job.Events.Ended = func(life journal.Run) { lives = append(lives, life) } })
		f.sleep(time.Minute)
		if log := f.took(); !slices.Equal(log, []string{"start"}) {
			t.Errorf("at the limit it did %q", log)
		}
		f.l.post(func() { f.memory++ })
		f.sleep(10 * time.Second)
		f.l.post(func() { f.memory = 0 })
		if log := f.took(); !slices.Equal(log, []string{"SIGTERM", "start"}) {
			t.Errorf("over the limit it did %q", log)
		}
		if len(lives) != 1 || lives[0].Outcome != journal.Memory ||
			lives[0].Why != "its tree used 500.0M (--max-memory 500.0M)" {
			t.Errorf("it told %+v", lives)
		}
	})
}
