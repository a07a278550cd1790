package cluster

import (
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lifeline/procscan"
	"lifeline/proof/await"
)

// rig is a Lease whose lifeline-remote is the test, in a synctest bubble.
type rig struct {
	t      *testing.T
	l      *Lease
	began  time.Time
	remote net.Conn // the other end of the present one
	said   []string // by lifeline, each a verb
	starts int
	kills  int
	warned []string
	alarm  *time.Timer
	killAt time.Duration // when the kernel would end lifeline; 0 for never
	fails  bool          // the program can't be started
}

const ttl, grace = 10 * time.Second, 2 * time.Second

func (r *rig) now() time.Duration { return time.Since(r.began) }

func rigged(t *testing.T, test func(*rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		r := &rig{t: t, began: time.Now()}
		r.alarm = time.AfterFunc(time.Hour, func() { r.l.ring() })
		r.l = newLease(Hello{URL: "etcd://x", Name: "web", Node: "n", TTL: ttl, Grace: grace, Slots: 1},
			func(format string, args ...any) { r.warned = append(r.warned, fmt.Sprintf(format, args...)) },
			world{now: r.now, kill: func(procscan.ID) { r.kills++ }, reap: func(procscan.ID) {},
				set: func(at time.Duration) {
					r.alarm.Stop()
					if at > 0 {
						r.alarm.Reset(max(at-r.now(), 0))
					}
				},
				killAt: func(at time.Duration) { r.killAt = at },
				start: func() (io.ReadWriteCloser, procscan.ID, error) {
					if r.fails {
						return nil, procscan.ID{}, io.ErrUnexpectedEOF
					}
					r.starts++
					ours, theirs := net.Pipe()
					r.remote = theirs
					go func() {
						for in := NewReader(theirs, FromLifeline); ; {
							m, err := in.Next()
							if err != nil {
								return
							}
							r.said = append(r.said, m.Verb)
						}
					}()
					return ours, procscan.ID{PID: 1000 + r.starts, Start: 1}, nil
				}})
		test(r)
		r.alarm.Stop()
		if r.remote != nil {
			r.remote.Close()
		}
		synctest.Wait()
		r.l.Next()
	})
}

// say sends messages as lifeline-remote, and returns the Lease's events; a string is a
// verb alone.
func (r *rig) say(messages ...any) []string {
	var text strings.Builder
	for _, m := range messages {
		if verb, ok := m.(string); ok {
			m = Message{Verb: verb}
		}
		text.WriteString(m.(Message).Line())
	}
	return r.write(text.String())
}

func (r *rig) write(text string) []string {
	remote := r.remote
	go func() { // an endless line isn't read to its end
		_, _ = io.WriteString(remote, text)
	}()
	return r.events()
}

// ready sends the banner and "standing".
func (r *rig) ready() []string { return append(r.write(FromRemote.Banner()), r.say("standing")...) }

func (r *rig) grants(fence uint64) Message {
	return Message{Verb: "granted", Fence: fence, Deadline: r.now() + ttl}
}

func (r *rig) renews() Message { return Message{Verb: "renewed", Deadline: r.now() + ttl} }

func lost() Message { return Message{Verb: "lost", Text: "x"} }

func refuses(text string) Message { return Message{Verb: "refused", Code: 125, Text: text} }

func (r *rig) events() (out []string) {
	synctest.Wait()
	for {
		select {
		case <-r.l.C():
		default:
			return out
		}
		for {
			verb, text, n, ok := r.l.Next()
			if !ok {
				break
			}
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s", verb, text)))
			if verb == "granted" || verb == "refused" {
				out[len(out)-1] = fmt.Sprintf("%s %d", verb, n)
			}
		}
		synctest.Wait()
	}
}

// sleep lets time pass, and returns the events meanwhile.
func (r *rig) sleep(d time.Duration) (out []string) {
	for end := r.now() + d; r.now() < end; {
		await.Pass(min(50*time.Millisecond, end-r.now()))
		out = append(out, r.events()...)
	}
	return out
}

func (r *rig) expect(got []string, want ...string) {
	r.t.Helper()
	if !slices.Equal(got, want) {
		r.t.Errorf("at %s it gives %q, not %q", r.now(), got, want)
	}
}

func (r *rig) heard(want string) {
	r.t.Helper()
	synctest.Wait()
	if !slices.Contains(r.said, want) {
		r.t.Errorf("lifeline-remote heard %q, without %q", r.said, want)
	}
}

// held gets the lease granted now.
func (r *rig) held(fence uint64) {
	r.t.Helper()
	if r.remote == nil {
		r.l.Want()
		r.ready()
	}
	r.expect(r.say(r.grants(fence)), fmt.Sprintf("granted %d", fence))
	if !r.l.Held() {
		r.t.Fatal("granted, and not held")
	}
}

// TestLeaseKillTimer checks that the kernel's timer ends lifeline, and so the worker.
// The timer is off while no worker lives, and moves with each renewal.
func TestLeaseKillTimer(t *testing.T) {
	rigged(t, func(r *rig) {
		r.held(1)
		if r.killAt != 0 {
			t.Error("the kill timer is set, and no worker was started")
		}
		due := func() time.Duration { return r.l.times.Deadline - Margin(ttl)/2 }
		r.l.Starting("g1", "")
		if r.killAt != due() || r.killAt <= r.l.times.Kill {
			t.Errorf("the kill timer is set for %s: the worker is killed at %s, and the lease ends at %s", r.killAt,
				r.l.times.Kill, r.l.times.Deadline)
		}
		r.sleep(3 * time.Second)
		before := r.killAt
		r.say(r.renews())
		if r.killAt != due() || r.killAt <= before {
			t.Errorf("renewed, and the kill timer is set for %s, before for %s", r.killAt, before)
		}
		r.l.Starting("g2", "") // a reload
		r.l.Ended("g1", 0, 0, true)
		before = r.killAt
		r.say(lost())
		if r.killAt != before {
			t.Error("the lease is lost, the worker lives, and the time is another")
		}
		r.l.Ended("g2", 0, 137, true)
		if r.killAt != 0 {
			t.Error("nothing lives, and lifeline would be killed")
		}
	})
}

func TestLeaseRuns(t *testing.T) {
	rigged(t, func(r *rig) {
		r.held(7)
		if r.l.Fence() != 7 {
			t.Errorf("the fence is %d", r.l.Fence())
		}
		for range 5 { // renewed, it goes on
			r.expect(r.sleep(ttl / 3))
			r.expect(r.say(r.renews()))
		}
		if !r.l.Held() || r.kills > 0 {
			t.Fatal("renewed, and lost")
		}
		r.l.Release()
		r.heard("release")
		if r.l.Held() {
			t.Fatal("released, and held")
		}
	})
}

// TestLeaseHeldAfterElection checks that what was renewed or lost during an election that
// took longer than a renewal counts.
func TestLeaseHeldAfterElection(t *testing.T) {
	for _, end := range []bool{false, true} {
		rigged(t, func(r *rig) {
			r.held(1)
			for n := range 5 {
				await.Pass(ttl / 3)
				m := r.renews()
				if end && n == 4 {
					m = lost()
				}
				_, _ = io.WriteString(r.remote, m.Line())
				synctest.Wait()
			}
			if held := r.l.Held(); held == end {
				t.Errorf("lost %t, and held %t", end, held)
			}
			r.events()
		})
	}
}

// TestLeaseDue checks what comes without a renewal: TERM at deadline - margin - grace,
// KILL at deadline - margin.
func TestLeaseDue(t *testing.T) {
	rigged(t, func(r *rig) {
		r.held(1)
		granted := r.now()
		stop := granted + ttl - Margin(ttl) - grace
		r.expect(r.sleep(stop - granted - time.Millisecond))
		if !r.l.Held() {
			t.Fatal("not held before it is due")
		}
		r.expect(r.sleep(2*time.Millisecond), "stop the lease couldn't be renewed in time")
		if r.l.Held() {
			t.Fatal("a worker might be started at the last moment")
		}
		r.expect(r.sleep(grace-3*time.Millisecond), []string(nil)...)
		r.expect(r.sleep(3*time.Millisecond), "kill the lease ends")
		r.expect(r.sleep(time.Minute))
	})
}

// TestLeaseRemoteDies checks that the worker is asked to end at once after
// lifeline-remote's death, and killed at the deadline. No worker is started on the rest
// of the lease.
func TestLeaseRemoteDies(t *testing.T) {
	rigged(t, func(r *rig) {
		r.held(1)
		r.sleep(time.Second)
		r.remote.Close()
		r.expect(r.events(), "stop lifeline-remote has ended")
		if r.l.Held() {
			t.Fatal("without lifeline-remote a worker might be started")
		}
		if got := r.sleep(ttl); !slices.Contains(got, "kill the lease ends") {
			t.Fatalf("until the deadline: %q", got)
		}
		r.l.Release()
		r.l.Want()
		r.sleep(5 * time.Second)
		if r.starts != 2 {
			t.Fatalf("lifeline-remote was started %d times", r.starts)
		}
		r.ready()
		r.held(2)
	})
}

func TestLeaseNonsense(t *testing.T) {
	renewed := func(deadline time.Duration) string { return Message{Verb: "renewed", Deadline: deadline}.Line() }
	for name, line := range map[string]func(*rig) string{
		"unknown verb":           func(*rig) string { return Message{Verb: "hello"}.Line() },
		"no verb":                func(*rig) string { return "{}\n" },
		"nothing":                func(*rig) string { return "\n" },
		"null":                   func(*rig) string { return "null\n" },
		"no deadline":            func(*rig) string { return Message{Verb: "renewed"}.Line() },
		"no fence":               func(r *rig) string { return r.grants(0).Line() },
		"two messages in a line": func(r *rig) string { return strings.TrimSpace(r.renews().Line()) + r.renews().Line() },
		"no number":              func(*rig) string { return `{"verb":"renewed","deadline":"soon"}` + "\n" },
		"no whole number":        func(*rig) string { return `{"verb":"renewed","deadline":1.5}` + "\n" },
		"a deadline beyond":      func(r *rig) string { return renewed(r.now() + ttl + time.Second) },
		"a deadline that sinks":  func(r *rig) string { return renewed(r.now() + ttl/2) },
		"granted twice":          func(r *rig) string { return r.grants(6).Line() },
		"binary":                 func(*rig) string { return "\x00\x01\xff\n" },
		"version 1":              func(*rig) string { return "renewed 5\n" },
		"an endless line":        func(*rig) string { return strings.Repeat("x", 2*longest) },
		"a negative deadline":    func(*rig) string { return renewed(-5) },
		"a quote without an end": func(*rig) string { return `{"verb":"say","text":"what` + "\n" },
	} {
		t.Run(name, func(t *testing.T) {
			rigged(t, func(r *rig) {
				r.held(5)
				got := r.write(line(r))
				if len(got) != 1 || !strings.HasPrefix(got[0], "stop lifeline-remote is given up") {
					t.Fatalf("it gives %q", got)
				}
				if r.kills != 1 || r.l.Held() {
					t.Fatal("what talks nonsense is still believed")
				}
			})
		})
	}
}

// TestLeaseFenceFalls checks that a fence that doesn't rise is refused, because two
// workers could then use a resource.
func TestLeaseFenceFalls(t *testing.T) {
	rigged(t, func(r *rig) {
		r.held(5)
		r.l.Release()
		r.l.Want()
		r.expect(r.say(r.grants(5)))
		if r.l.Held() || r.kills != 1 {
			t.Fatal("the same fence is granted twice")
		}
	})
}

// TestLeaseReleaseCrosses checks that messages about a lease that was given back don't
// count for the next lease.
func TestLeaseReleaseCrosses(t *testing.T) {
	rigged(t, func(r *rig) {
		r.held(1)
		r.l.Release()
		r.l.Want()
		r.expect(r.say(r.renews(), Message{Verb: "yield", Text: "x"}, lost(), Message{Verb: "tick", Label: "T"}))
		if r.l.Held() {
			t.Fatal("a renewal has brought a released lease back")
		}
		r.held(2)
	})
}

// TestLeaseSilentWhileStandingBy checks that a lifeline that stands by pings a silent
// lifeline-remote, then replaces it.
func TestLeaseSilentWhileStandingBy(t *testing.T) {
	rigged(t, func(r *rig) {
		r.l.Want()
		r.ready()
		r.sleep(patience + time.Second)
		r.heard("ping")
		r.say("pong")
		r.sleep(patience - time.Second)
		if r.kills != 0 {
			t.Fatal("one that answers was killed")
		}
		r.sleep(2 * patience)
		if r.kills != 1 {
			t.Fatal("one that is silent was kept")
		}
		r.sleep(3 * time.Second)
		if r.starts != 2 {
			t.Fatalf("it was started %d times", r.starts)
		}
	})
}

func TestLeaseRefusal(t *testing.T) {
	rigged(t, func(r *rig) {
		r.l.Want()
		r.write(FromRemote.Banner())
		r.expect(r.say(refuses("no such table")), "refused 125")
	})
	rigged(t, func(r *rig) { // later on, it may get better
		r.l.Want()
		r.ready()
		r.expect(r.say(refuses("wrong password")))
		r.sleep(3 * time.Second)
		if r.starts != 2 {
			t.Fatal("it isn't tried again")
		}
	})
}

// TestLeaseOtherVersion checks that lifeline reports a lifeline-remote of another
// version once, and ends. The next tick starts the installed lifeline.
func TestLeaseOtherVersion(t *testing.T) {
	for _, banner := range []string{"remote 1\nrefused 125 x\n", "remote 3\n", "remote 3 and more\n"} {
		rigged(t, func(r *rig) {
			r.l.Want()
			r.expect(r.write(banner), "refused 125")
			r.expect(r.sleep(time.Minute))
			if r.starts != 1 || len(r.warned) > 0 {
				t.Errorf("started %d times, and warned of %q", r.starts, r.warned)
			}
		})
	}
}

// TestLeaseUnread checks that a lifeline-remote that stops reading is replaced, and
// that the next one gets the message.
func TestLeaseUnread(t *testing.T) {
	rigged(t, func(r *rig) {
		r.l.Want()
		r.ready()
		r.l.peer.conn = full{r.l.peer.conn}
		r.l.Want()
		r.events()
		r.sleep(3 * time.Second)
		if r.kills != 1 || r.starts != 2 {
			t.Fatalf("killed %d, started %d", r.kills, r.starts)
		}
		r.ready()
		r.held(1)
	})
}

type full struct{ io.ReadWriteCloser }

func (full) Write([]byte) (int, error) { return 0, ErrFull }

// TestLeaseCannotStart checks that a lifeline-remote that can't be started is tried
// again with growing pauses.
func TestLeaseCannotStart(t *testing.T) {
	rigged(t, func(r *rig) {
		r.fails = true
		r.l.Want()
		r.sleep(5 * time.Minute)
		if n := len(r.warned); n < 5 || n > 20 {
			t.Fatalf("tried %d times in five minutes", n)
		}
		r.fails = false
		r.sleep(time.Minute)
		if r.starts == 0 {
			t.Fatal("it isn't started any more")
		}
	})
}
