package supervisor

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/guard"
	"lifeline/internal/process"
	"lifeline/internal/sdnotify"
	"lifeline/procscan"
)

// TestTable tests the table of the package doc, entry by entry. Each case brings the loop
// into a state, lets one thing happen, and checks the new state and what the loop did.
func TestTable(t *testing.T) {
	const delay = 5 * time.Second
	base := Options{KillAfter: 10 * time.Second, RespawnDelay: delay, ReadyTimeout: 90 * time.Second, Umask: -1}
	respawn := base
	respawn.Respawn = true
	notifying := respawn
	notifying.Notify = true
	watched := notifying
	watched.Watchdog = 20 * time.Second
	timed := base
	timed.MaxRuntime = time.Minute

	ready := func(f *fake) { f.state(); f.say(sdnotify.Message{Ready: true}); f.state() }
	toDown := func(f *fake) { f.state(); f.exit(1); f.state() }
	toStopping := func(f *fake) { f.state(); f.deaf[1001] = true; f.signals <- unix.SIGTERM; f.state() }
	pass := func(d time.Duration) func(*fake) { return func(f *fake) { f.sleep(d) } }
	signal := func(s unix.Signal) func(*fake) { return func(f *fake) { f.signals <- s } }
	exit := func(code int) func(*fake) { return func(f *fake) { f.exit(code) } }

	for _, c := range []struct {
		name  string
		o     Options
		enter func(*fake) // into the state
		from  string
		event func(*fake)
		to    string
		did   string // what happened after entering
	}{
		{"down, deadline: start", respawn, toDown, "down", pass(delay + delay/10), "up", "start"},
		{"down, before the deadline", respawn, toDown, "down", pass(delay - time.Millisecond), "down", ""},
		{"down, stop: finish", respawn, toDown, "down", signal(unix.SIGTERM), "finished", ""},
		{"down, other signals: nothing", respawn, toDown, "down", signal(unix.SIGUSR1), "down", ""},

		{"starting, deadline: stop", notifying, nil, "starting", pass(91 * time.Second), "down", "SIGTERM"},
		{"starting, worker ends", notifying, nil, "starting", exit(0), "down", ""},
		{"starting, ready", notifying, nil, "starting",
			func(f *fake) { f.say(sdnotify.Message{Ready: true}) }, "up", ""},
		{"starting, extended only ever later", notifying, nil, "starting", func(f *fake) {
			f.say(sdnotify.Message{ExtendTimeout: time.Second})
			f.sleep(80 * time.Second)
			f.say(sdnotify.Message{ExtendTimeout: 60 * time.Second})
			f.sleep(50 * time.Second)
		}, "starting", ""},
		{"starting, stopping said", notifying, nil, "starting",
			func(f *fake) { f.say(sdnotify.Message{Stopping: true}) }, "stopping", ""},
		{"starting, stop", notifying, nil, "starting", signal(unix.SIGINT), "finished", "SIGTERM"},
		{"starting, other signals: passed on", notifying, nil, "starting", signal(unix.SIGUSR1),
			"starting", "send SIGUSR1"},
		{"starting, max-runtime counts", timed, func(f *fake) { f.state() }, "up", pass(61 * time.Second),
			"finished", "SIGTERM"},

		{"up, worker ends: down", respawn, nil, "up", exit(0), "down", ""},
		{"up, worker ends: finish", base, nil, "up", exit(0), "finished", ""},
		{"up, worker exits 125: finish", respawn, nil, "up", exit(125), "finished", ""},
		{"up, watchdog expires", watched, ready, "up", pass(20*time.Second + time.Millisecond), "down", "SIGABRT"},
		{"up, heartbeat moves it", watched, ready, "up", func(f *fake) {
			f.sleep(19 * time.Second)
			f.say(sdnotify.Message{Watchdog: true})
			f.sleep(19 * time.Second)
		}, "up", ""},
		{"up, heartbeat in the socket at the very moment", watched, ready, "up", func(f *fake) {
			f.sleep(20*time.Second - early - 1)
			// No wake-up comes for it.
			f.inbox.queue = append(f.inbox.queue, sdnotify.Message{Watchdog: true, Received: time.Now()})
			f.sleep(time.Second)
		}, "up", ""},
		{"starting, watchdog triggered", notifying, nil, "starting",
			func(f *fake) { f.say(sdnotify.Message{WatchdogTrigger: true}) }, "down", "SIGABRT"},
		{"up, watchdog triggered", watched, ready, "up",
			func(f *fake) { f.say(sdnotify.Message{WatchdogTrigger: true}) }, "down", "SIGABRT"},
		{"up, watchdog period changed", watched, ready, "up", func(f *fake) {
			f.say(sdnotify.Message{WatchdogTimeout: time.Second, HasWatchdogTimeout: true})
			f.sleep(1100 * time.Millisecond)
		}, "down", "SIGABRT"},
		{"up, we were stopped: forgiven", watched, ready, "up", func(f *fake) {
			f.sleep(19 * time.Second)
			f.signals <- unix.SIGCONT
			f.sleep(19 * time.Second)
		}, "up", "send SIGCONT"},
		{"up, stopping said: no signal", respawn, nil, "up", func(f *fake) {}, "up", ""},
		{"up, stopping said", notifying, ready, "up",
			func(f *fake) { f.say(sdnotify.Message{Stopping: true}) }, "stopping", ""},
		{"up, STOPPING over READY", notifying, ready, "up",
			func(f *fake) { f.say(sdnotify.Message{Stopping: true, Ready: true}) }, "stopping", ""},
		{"up, stop", base, nil, "up", signal(unix.SIGHUP), "finished", "SIGTERM"},
		{"up, quit", base, nil, "up", signal(unix.SIGQUIT), "finished", "SIGTERM"},
		{"up, the context ends", base, nil, "up", func(f *fake) { f.cancel() }, "finished", "SIGTERM"},
		{"up, other signals: passed on", base, nil, "up", signal(unix.SIGUSR1), "up", "send SIGUSR1"},
		{"up, WINCH passed on", base, nil, "up", signal(unix.SIGWINCH), "up", "send SIGWINCH"},
		{"up, PIPE is ours", base, nil, "up", signal(unix.SIGPIPE), "up", ""},
		{"up, max-runtime, then renewed", func() Options { o := respawn; o.MaxRuntime = time.Minute; return o }(), nil,
			"up", pass(61 * time.Second), "up", "SIGTERM,start"},

		{"stopping, deadline: kill", respawn, toStopping, "stopping", pass(11 * time.Second), "finished", "kill"},
		{"stopping, before the deadline", respawn, toStopping, "stopping", pass(9 * time.Second), "stopping", ""},
		{"stopping, worker ends", respawn, toStopping, "stopping", exit(0), "finished", ""},
		{"stopping, stop again: waits with the first", respawn, toStopping, "stopping",
			signal(unix.SIGTERM), "stopping", ""},
		{"stopping, stop again: killed with the first", respawn, toStopping, "stopping", func(f *fake) {
			f.sleep(6 * time.Second)
			f.signals <- unix.SIGTERM
			f.sleep(5 * time.Second)
		}, "finished", "kill"},

		{"mixed: the rest is asked when the main process has ended", base,
			func(f *fake) { f.state(); f.alive[2001] = true; f.deaf[1001] = true }, "up",
			func(f *fake) {
				f.signals <- unix.SIGTERM
				f.sleep(time.Second)
				f.did("later")
				f.exit(0)
			}, "finished", "SIGTERM,later,SIGTERM"},
		{"control-group: all are asked at once", func() Options { o := base; o.KillMode = ControlGroup; return o }(),
			func(f *fake) { f.state(); f.alive[2001] = true }, "up", signal(unix.SIGTERM), "finished", "SIGTERM"},
		{"STOPPING=1, then leftovers are asked", notifying, func(f *fake) { ready(f); f.alive[2001] = true }, "up",
			func(f *fake) { f.say(sdnotify.Message{Stopping: true}); f.state(); f.exit(0) }, "down", "SIGTERM"},
		{"STOPPING=1, then leftovers are kept", func() Options { o := notifying; o.Leftovers = "keep"; return o }(),
			func(f *fake) { ready(f); f.alive[2001] = true }, "up",
			func(f *fake) { f.say(sdnotify.Message{Stopping: true}); f.state(); f.exit(0) }, "down", ""},
		{"STOPPING=1, then a stop: no second signal", notifying, ready, "up",
			func(f *fake) { f.say(sdnotify.Message{Stopping: true}); f.state(); f.signals <- unix.SIGTERM }, "stopping", ""},
		{"the watchdog is switched off and on again", watched, ready, "up", func(f *fake) {
			f.say(sdnotify.Message{HasWatchdogTimeout: true})
			f.sleep(time.Minute)
			f.did("later")
			f.say(sdnotify.Message{HasWatchdogTimeout: true, WatchdogTimeout: time.Second})
			f.sleep(1100 * time.Millisecond)
		}, "down", "later,SIGABRT"},
		{"a watchdog that only the worker asks for", notifying, ready, "up", func(f *fake) {
			f.say(sdnotify.Message{HasWatchdogTimeout: true, WatchdogTimeout: time.Second})
			f.sleep(1100 * time.Millisecond)
		}, "down", "SIGABRT"},
		{"a watchdog that only the worker asks for, before it is ready", notifying, nil, "starting", func(f *fake) {
			f.say(sdnotify.Message{HasWatchdogTimeout: true, WatchdogTimeout: time.Second})
			f.sleep(2 * time.Second)
			f.did("later")
			f.say(sdnotify.Message{Ready: true})
			f.sleep(1100 * time.Millisecond)
		}, "down", "later,SIGABRT"},
		{"another process doesn't speak for it", notifying, ready, "up", func(f *fake) {
			f.say(sdnotify.Message{Stopping: true, Sender: sdnotify.Sender{PID: 2001, Known: true}})
		}, "up", ""},
		{"unless it may", func() Options { o := notifying; o.NotifyAccess = AccessAll; return o }(), ready,
			"up", func(f *fake) {
				f.say(sdnotify.Message{Stopping: true, Sender: sdnotify.Sender{PID: 2001, Known: true}})
			}, "stopping", ""},
		{"the main process speaks for itself", notifying, ready, "up", func(f *fake) {
			f.say(sdnotify.Message{Stopping: true, Sender: sdnotify.Sender{PID: 1001, Known: true}})
		}, "stopping", ""},

		{"by takeover: READY=1 isn't enough",
			func() Options { o := notifying; o.ReadyBy = ByTakeover; return o }(), nil, "starting",
			func(f *fake) { f.say(sdnotify.Message{Ready: true}) }, "starting", ""},
		{"HUP with respawn: passed on", respawn, nil, "up", signal(unix.SIGHUP), "up", "send SIGHUP"},
		{"HUP, to stop", func() Options { o := respawn; o.OnHUP = HUPStop; return o }(), nil, "up", signal(unix.SIGHUP),
			"finished", "SIGTERM"},
		{"HUP, to pass", func() Options { o := base; o.OnHUP = HUPPass; return o }(), nil, "up", signal(unix.SIGHUP),
			"up", "send SIGHUP"},
		{"HUP, to reload", func() Options { o := base; o.OnHUP, o.ReadyAfter = HUPReload, time.Minute; return o }(),
			nil, "up", signal(unix.SIGHUP), "up", "start beside"},
		{"Ctrl-C: the worker has got it", respawn, func(f *fake) { f.typed = true }, "up",
			signal(unix.SIGINT), "up", ""},
		{"Ctrl-C, and the worker ends: no respawn", respawn, func(f *fake) { f.typed = true }, "up",
			func(f *fake) { f.signals <- unix.SIGINT; f.state(); f.exit(0) }, "finished", ""},
		{"Ctrl-C twice", respawn, func(f *fake) { f.typed = true }, "up",
			func(f *fake) { f.signals <- unix.SIGINT; f.sleep(time.Second); f.signals <- unix.SIGINT }, "finished", "kill"},
		{"Ctrl-C twice, slowly", respawn, func(f *fake) { f.typed = true }, "up",
			func(f *fake) { f.signals <- unix.SIGINT; f.sleep(3 * time.Second); f.signals <- unix.SIGINT }, "up", ""},
		{"WINCH from the terminal isn't doubled", base, func(f *fake) { f.typed = true }, "up",
			signal(unix.SIGWINCH), "up", ""},
		{"stopping, other signals: passed on", respawn, toStopping, "stopping", signal(unix.SIGUSR1),
			"stopping", "send SIGUSR1"},
		{"stopping, heartbeat: nothing", watched, toStopping, "stopping",
			func(f *fake) { f.say(sdnotify.Message{Watchdog: true}) }, "stopping", ""},
		{"stopping, ready: nothing", notifying, toStopping, "stopping",
			func(f *fake) { f.say(sdnotify.Message{Ready: true}) }, "stopping", ""},
		{"stopping, extended", notifying, toStopping, "stopping", func(f *fake) {
			f.say(sdnotify.Message{ExtendTimeout: time.Minute})
			f.sleep(50 * time.Second)
		}, "stopping", ""},

		{"leftovers are ended", base, func(f *fake) { f.state(); f.alive[2001] = true }, "up", exit(0),
			"finished", "SIGTERM"},
		{"leftovers that don't go are killed", base,
			func(f *fake) { f.state(); f.alive[2001], f.deaf[2001] = true, true }, "up",
			func(f *fake) { f.exit(0); f.sleep(11 * time.Second) }, "finished", "SIGTERM,kill"},
		{"leftovers are kept", func() Options { o := base; o.Leftovers = "keep"; return o }(),
			func(f *fake) { f.state(); f.alive[2001] = true }, "up", exit(0), "finished", ""},
		{"leftovers are followed", func() Options { o := base; o.Leftovers = "follow"; return o }(),
			func(f *fake) { f.state(); f.alive[2001] = true }, "up", exit(0), "up", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			supervised(t, c.o, nil, func(f *fake) {
				if c.enter != nil {
					c.enter(f)
				}
				if got := f.state(); got != c.from {
					t.Fatalf("brought into %q, not %q", got, c.from)
				}
				f.took()
				c.event(f)
				if got := f.state(); got != c.to {
					t.Errorf("in %q, not %q; warned %q", got, c.to, f.warned)
				}
				if got := strings.Join(f.took(), ","); got != c.did {
					t.Errorf("did %q, not %q", got, c.did)
				}
			})
		})
	}
}

// TestVerdict tests what lifeline exits with.
func TestVerdict(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		play func(*fake)
		code int
		text string
	}{
		{"well", Options{}, func(f *fake) { f.exit(0) }, 0, ""},
		{"its own code", Options{}, func(f *fake) { f.exit(3) }, 3, ""},
		{"a signal", Options{}, func(f *fake) { f.end(1001, unix.WaitStatus(unix.SIGKILL)) }, 137,
			"the command was killed by SIGKILL"},
		{"too fast", Options{MinRuntime: time.Minute}, func(f *fake) { f.sleep(time.Second); f.exit(0) }, 1,
			"the command ended after 1s, which is less than 1m0s (--min-runtime)"},
		{"not too fast", Options{MinRuntime: time.Second},
			func(f *fake) { f.sleep(2 * time.Second); f.exit(0) }, 0, ""},
		{"not too fast when ended", Options{MinRuntime: time.Minute, KillAfter: time.Second},
			func(f *fake) { f.deaf[1001] = true; f.signals <- unix.SIGTERM; f.state(); f.exit(0) }, 0, ""},
		{"time over", Options{MaxRuntime: time.Minute}, func(f *fake) { f.sleep(2 * time.Minute) }, 124,
			"ended after 1m0s (--max-runtime)"},
		{"never ready", Options{Notify: true, ReadyTimeout: time.Minute}, func(f *fake) { f.sleep(2 * time.Minute) }, 1,
			"not ready within 1m0s (--ready-timeout): ended"},
		{"before READY=1", Options{Notify: true, ReadyTimeout: time.Minute}, func(f *fake) { f.exit(0) }, 1,
			"the command ended after 0s without having said READY=1 (--notify)"},
		{"STOPPING=1 before READY=1",
			Options{Notify: true, ReadyTimeout: time.Minute, KillAfter: time.Minute}, func(f *fake) {
				f.say(sdnotify.Message{Stopping: true})
				f.state()
				f.exit(0)
			}, 1, "the command ended after 0s without having said READY=1 (--notify)"},
		{"ended before READY=1", Options{Notify: true, ReadyTimeout: time.Minute, KillAfter: time.Minute},
			func(f *fake) {
				f.deaf[1001] = true
				f.signals <- unix.SIGTERM
				f.state()
				f.exit(0)
			}, 0, ""},
		{"after READY=1", Options{Notify: true, ReadyTimeout: time.Minute},
			func(f *fake) { f.say(sdnotify.Message{Ready: true}); f.state(); f.exit(0) }, 0, ""},
		{"hung", Options{Watchdog: time.Second}, func(f *fake) { f.sleep(2 * time.Second) }, 134,
			"no heartbeat for 1s (--watchdog): ended"},
	} {
		t.Run(c.name, func(t *testing.T) {
			supervised(t, c.o, nil, func(f *fake) {
				f.state()
				c.play(f)
				f.state()
				if f.l.goal != over {
					t.Fatal("it goes on")
				}
				err := <-f.result
				code, text := 0, ""
				var end *EndError
				if errors.As(err, &end) {
					code, text = end.Code, end.Text
				} else if err != nil {
					t.Fatal(err)
				}
				if code != c.code || text != c.text {
					t.Errorf("%d %q, not %d %q", code, text, c.code, c.text)
				}
			})
		})
	}
}

func TestStartFails(t *testing.T) {
	boom := errors.New("no process to be had")
	supervised(t, Options{Respawn: true}, func(f *fake) { f.startOK = boom }, func(f *fake) {
		f.state()
		if err := <-f.result; err != boom {
			t.Errorf("%v, not %v", err, boom)
		}
	})
	// A command that ran before may just be being replaced.
	supervised(t, Options{Respawn: true, RespawnDelay: time.Second}, nil, func(f *fake) {
		f.state()
		f.startOK = &process.ExecError{Code: 127, Text: "x: no such command"}
		f.exit(0)
		f.sleep(10 * time.Second)
		if s := f.state(); s != "down" || len(f.warned) != 1 { // one line, not one a try
			t.Fatalf("in %q, not down, and it said %q", s, f.warned)
		}
		f.startOK = nil
		f.sleep(2 * time.Second)
		if s := f.state(); s != "up" {
			t.Errorf("in %q, not up", s)
		}
	})
}

// TestCannotStart shows that failed starts are repeated with a pause, even with a
// --respawn-delay of 0.
func TestCannotStart(t *testing.T) {
	supervised(t, Options{Respawn: true}, nil, func(f *fake) {
		f.state()
		f.startOK = errors.New("no descriptors")
		f.took()
		f.exit(0)
		f.sleep(time.Second)
		if n := len(f.took()); n < 5 || n > 15 {
			t.Errorf("%d tries in a second", n)
		}
		f.startOK = nil
		f.sleep(time.Second)
		if s := f.state(); s != "up" {
			t.Errorf("in %q, not up", s)
		}
	})
}

func TestElection(t *testing.T) {
	held := &guard.HeldError{Name: "x"}
	supervised(t, Options{}, func(f *fake) { f.elected = held }, func(f *fake) {
		if err := <-f.result; err != held {
			t.Error(err)
		}
	})
	orphan := &guard.OrphanError{Inherited: guard.Inherited{Worker: procscan.ID{PID: 77, Start: 77}, Generation: "g"}}
	supervised(t, Options{}, func(f *fake) { f.elected = orphan; f.alive[77] = true }, func(f *fake) {
		if s := f.state(); s != "up" || f.l.cur.id.PID != 77 {
			t.Fatalf("in %q, not watching over the orphan", s)
		}
		delete(f.alive, 77)
		close(f.gone)
		f.state()
		if err := <-f.result; err != nil {
			t.Error(err)
		}
	})
}

// TestEndOrphans shows that an orphan is ended before a worker is started.
func TestEndOrphans(t *testing.T) {
	worker := guard.Inherited{Worker: procscan.ID{PID: 77, Start: 77}, Generation: "g"}
	leftovers := guard.Inherited{Generation: "g", Leftovers: []procscan.ID{{PID: 77, Start: 77}}}
	for what, in := range map[string]guard.Inherited{"orphan": worker, "leftovers": leftovers} {
		supervised(t, Options{KillAfter: time.Second, EndOrphans: true},
			func(f *fake) { f.inherit = in; f.alive[77], f.deaf[77] = true, true }, func(f *fake) {
				if s := f.state(); s != "stopping" || fmt.Sprint(f.took()) != "[SIGTERM]" {
					t.Fatalf("%s: in %q", what, s)
				}
				delete(f.alive, 77)
				close(f.gone)
				if s := f.state(); s != "up" || f.l.cur.id.PID != 1001 {
					t.Errorf("%s: in %q afterwards", what, s)
				}
			})
	}
}

func TestInherited(t *testing.T) {
	supervised(t, Options{KillAfter: time.Second}, func(f *fake) {
		f.inherit = guard.Inherited{Worker: procscan.ID{PID: 77, Start: 77}}
		f.alive[77] = true
	}, func(f *fake) {
		if s := f.state(); s != "up" || len(f.took()) != 0 {
			t.Fatalf("in %q; an orphan is never doubled", s)
		}
		f.signals <- unix.SIGTERM
		f.state()
		close(f.gone)
		if s := f.state(); s != "finished" {
			t.Errorf("in %q", s)
		}
	})
	supervised(t, Options{KillAfter: time.Second, Leftovers: "follow"},
		func(f *fake) { f.inherit.Leftovers = []procscan.ID{{PID: 88, Start: 88}}; f.alive[88] = true }, func(f *fake) {
			if s := f.state(); s != "up" {
				t.Fatalf("in %q", s)
			}
			delete(f.alive, 88)
			close(f.gone)
			if s := f.state(); s != "finished" {
				t.Errorf("in %q", s)
			}
		})
}

func TestRestart(t *testing.T) {
	supervised(t, Options{KillAfter: time.Second}, nil, func(f *fake) {
		f.state()
		ours, theirs := net.Pipe()
		f.l.control.requests <- &request{verb: "restart", conn: theirs}
		answer := make([]byte, 100)
		n, err := ours.Read(answer)
		if err != nil || string(answer[:n]) != "ok pid 1002\n" {
			t.Errorf("%q %v", answer[:n], err)
		}
		if got := f.took(); !slices.Equal(got, []string{"start", "SIGTERM", "start"}) {
			t.Errorf("did %q", got)
		}
	})
}

func TestPausedIsNotRespawned(t *testing.T) {
	supervised(t, Options{Respawn: true}, nil, func(f *fake) {
		f.state()
		f.paused = true
		f.exit(0)
		if s := f.state(); s != "finished" {
			t.Errorf("in %q", s)
		}
	})
}

func TestLimit(t *testing.T) {
	o := Options{Respawn: true, RespawnLimit: Limit{3, time.Minute}}
	supervised(t, o, nil, func(f *fake) {
		for range 3 {
			if s := f.state(); s != "up" {
				t.Fatalf("in %q", s)
			}
			f.exit(7)
		}
		if s := f.state(); s != "finished" || f.pids != 3 {
			t.Fatalf("in %q after %d starts", s, f.pids)
		}
		var end *EndError
		if err := <-f.result; !errors.As(err, &end) || end.Code != 7 {
			t.Error(err)
		}
	})
	supervised(t, o, nil, func(f *fake) {
		for range 10 { // never three within a minute
			f.state()
			f.sleep(31 * time.Second)
			f.exit(7)
		}
		if s := f.state(); s != "up" {
			t.Errorf("in %q", s)
		}
	})
}

// TestDelays tests systemd's formula (systemd.service(5)).
func TestDelays(t *testing.T) {
	b := backoff{o: &Options{Respawn: true, RespawnDelay: time.Second,
		RespawnMaxDelay: 16 * time.Second, RespawnSteps: 4}}
	var got []time.Duration
	for range 7 {
		b.next(0)
		got = append(got, b.delay())
	}
	want := []time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 16e9, 16e9}
	if !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	if b.next(time.Minute); b.delay() != time.Second {
		t.Errorf("after a stable time: %v", b.delay())
	}
	for range 100 {
		if d := jitter(time.Second); d < time.Second || d > 1100*time.Millisecond {
			t.Fatalf("jitter made %v of a second", d)
		}
	}
}

// TestRestartReset shows that RESTART_RESET=1 resets the delays to the first
// (sd_notify(3)).
func TestRestartReset(t *testing.T) {
	o := Options{Respawn: true, RespawnDelay: time.Second, RespawnMaxDelay: 16 * time.Second, RespawnSteps: 4,
		Watchdog: time.Hour, Umask: -1}
	supervised(t, o, nil, func(f *fake) {
		delay := func() time.Duration {
			f.exit(1)
			f.state()
			return time.Until(f.l.at).Truncate(time.Second)
		}
		f.state()
		for _, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second} {
			if d := delay(); d != want {
				t.Fatalf("the delay is %s, not %s", d, want)
			}
			f.sleep(want + want/10 + time.Second)
		}
		f.say(sdnotify.Message{RestartReset: true})
		f.state()
		if d := delay(); d != time.Second {
			t.Errorf("after RESTART_RESET=1 the delay is %s, not %s", d, time.Second)
		}
	})
}
