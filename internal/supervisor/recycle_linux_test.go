package supervisor

import (
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/process"
)

func TestRecycle(t *testing.T) {
	once := Options{KillAfter: 10 * time.Second, Umask: -1, Respawn: true, RespawnDelay: time.Hour,
		Recycle: Recycle{After: 24 * time.Hour}}
	supervised(t, once, nil, func(f *fake) {
		f.sleep(24*time.Hour - time.Minute)
		if log := f.took(); !slices.Equal(log, []string{"start"}) {
			t.Errorf("before its time it did %q", log)
		}
		f.sleep(2 * time.Minute) // at once, not after --respawn-delay
		if log := f.took(); !slices.Equal(log, []string{"SIGTERM", "start"}) {
			t.Errorf("at its time it did %q", log)
		}
		f.sleep(24 * time.Hour)
		if log := f.took(); !slices.Equal(log, []string{"SIGTERM", "start"}) {
			t.Errorf("a day later it did %q", log)
		}
	})
	sharing := once
	sharing.Listen, sharing.ReadyAfter = Sockets{{Network: "unix", Address: "@lifeline-recycle"}}, time.Second
	supervised(t, sharing, nil, func(f *fake) {
		d := &duo{fake: f}
		f.state()
		f.l.post(d.init)
		f.sleep(24*time.Hour + time.Minute)
		if log := f.took(); !slices.Equal(log, []string{"start", "start beside", "SIGTERM 1001"}) {
			t.Errorf("with a socket it did %q", log)
		}
		d.close()
	})
}

// TestRecycleAdopted recycles an adopted worker, which alone has the sockets. Its reload
// was refused every hour, and the worker was never replaced.
func TestRecycleAdopted(t *testing.T) {
	o := Options{KillAfter: 10 * time.Second, Umask: -1, Respawn: true, ReadyAfter: time.Second,
		Listen: Sockets{{Network: "unix",
			Address: "@lifeline-recycle-adopted"}}, Recycle: Recycle{After: 24 * time.Hour}}
	supervised(t, o, func(f *fake) {
		f.pids, f.alive[1001] = 1, true
		f.inherit.Worker = f.id(1001)
	}, func(f *fake) {
		f.state()
		f.took()
		f.sleep(24*time.Hour + time.Minute)
		// SIGCHLD tells nothing of the worker's end: the worker isn't lifeline's child.
		if log := f.took(); !slices.Equal(log, []string{"SIGTERM", "kill", "start"}) {
			t.Errorf("at its time it did %q, and said %q", log, f.warned)
		}
	})
}

func TestRecycleNext(t *testing.T) {
	at := func(text string) time.Time {
		v, err := time.ParseInLocation(time.DateTime, text, time.UTC)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	began := at("2026-03-01 12:00:00")
	for _, c := range []struct{ option, now, want string }{
		{"24h", "2026-03-01 12:00:00", "2026-03-02 12:00:00"},
		{"04:30", "2026-03-01 12:00:00", "2026-03-02 04:30:00"},
		{"04:30", "2026-03-01 04:29:59", "2026-03-01 04:30:00"},
		{"04:30", "2026-03-01 04:30:00", "2026-03-02 04:30:00"},
		{"00:00", "2026-12-31 23:59:00", "2027-01-01 00:00:00"},
	} {
		var r Recycle
		if err := r.Set(c.option); err != nil || r.String() != strings.Replace(c.option, "24h", "24h0m0s", 1) {
			t.Errorf("%s is %s, %v", c.option, &r, err)
		}
		if got := r.next(began, at(c.now)); !got.Equal(at(c.want)) {
			t.Errorf("%s at %s: %s, not %s", c.option, c.now, got, c.want)
		}
	}
	for _, text := range []string{"", "0s", "-1h", "25:00", "4", "noon"} {
		if err := new(Recycle).Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// TestReloadRetries shows that a failed reload is tried again while the old generation
// goes on.
func TestReloadRetries(t *testing.T) {
	o := reloadOptions
	o.Notify, o.ReloadRetries = false, 2
	begin := func(f *fake) *duo {
		d := &duo{fake: f}
		f.state()
		f.l.post(d.init)
		f.state()
		f.startOK = &process.ExecError{Code: 126, Text: "cannot execute ./x: permission denied"}
		d.ask("reload")
		f.took()
		return d
	}
	supervised(t, o, nil, func(f *fake) {
		d := begin(f)
		f.sleep(1100 * time.Millisecond)
		if log := f.took(); !slices.Equal(log, []string{"start beside"}) {
			t.Errorf("after a second it did %q", log)
		}
		f.l.post(func() { f.startOK = nil }) // starts succeed again
		f.sleep(4 * time.Second)
		if log := f.took(); !slices.Equal(log, []string{"start beside", "SIGTERM 1001"}) {
			t.Errorf("after three seconds it did %q", log)
		}
		if got := <-d.answer; !strings.HasPrefix(got, "ok pid 1002") {
			t.Errorf("it answered %q", got)
		}
		if len(f.warned) != 2 || !strings.Contains(f.warned[1], "trying again in 2s (2 of 2, --reload-retries)") {
			t.Errorf("it said %q", f.warned)
		}
		d.close()
	})
	supervised(t, o, nil, func(f *fake) {
		d := begin(f)
		f.sleep(time.Minute)
		if log := f.took(); !slices.Equal(log, []string{"start beside", "start beside"}) {
			t.Errorf("it did %q", log)
		}
		if got := <-d.answer; !strings.HasPrefix(got, "error rolled back, the old one goes on") {
			t.Errorf("it answered %q", got)
		}
		if s := f.state(); s != "up" || d.pid() != 1001 {
			t.Errorf("%s, pid %d", s, d.pid())
		}
		d.close()
	})
	for name, event := range map[string]func(*duo){
		"the old one ends": func(d *duo) { d.end(1001, 0); d.state(); d.sleep(10 * time.Second) },
		"restart": func(d *duo) {
			ours, theirs := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, ours) }()
			d.l.control.requests <- &request{verb: "restart", conn: theirs}
			d.state()
		},
	} {
		t.Run(name, func(t *testing.T) {
			supervised(t, o, nil, func(f *fake) {
				d := begin(f)
				f.l.post(func() { f.startOK = nil })
				event(d)
				<-d.answer
				f.took()
				f.sleep(time.Minute)
				if log := f.took(); len(log) > 0 {
					t.Errorf("then it did %q", log)
				}
				d.close()
			})
		})
	}
	supervised(t, o, nil, func(f *fake) {
		d := begin(f)
		f.signals <- unix.SIGTERM
		if got := <-d.answer; got != "error it has ended" {
			t.Errorf("it answered %q", got)
		}
		d.close()
	})
}
