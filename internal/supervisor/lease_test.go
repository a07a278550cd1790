package supervisor

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// fakeLease does what a test says, and notes what it is told.
type fakeLease struct {
	c     chan struct{}
	queue [][2]string
	held  bool
	ticks bool
	fence uint64
	log   []string
}

func (f *fakeLease) C() <-chan struct{} { return f.c }
func (f *fakeLease) Next() (string, string, uint64, bool) {
	if len(f.queue) == 0 {
		return "", "", 0, false
	}
	e := f.queue[0]
	f.queue = f.queue[1:]
	n := f.fence
	if e[0] == "refused" {
		n = 125
	}
	return e[0], e[1], n, true
}
func (f *fakeLease) Want()                       { f.log = append(f.log, "want") }
func (f *fakeLease) Release()                    { f.log = append(f.log, "release"); f.held = false }
func (f *fakeLease) Held() bool                  { return f.held }
func (f *fakeLease) Ticks() bool                 { return f.ticks }
func (f *fakeLease) Until() int64                { return 1 }
func (f *fakeLease) Trouble() string             { return "" }
func (f *fakeLease) Fence() uint64               { return f.fence }
func (f *fakeLease) Starting(g, _ string)        { f.log = append(f.log, "starting") }
func (f *fakeLease) Started(string, procscan.ID) { f.log = append(f.log, "started") }
func (f *fakeLease) Done(label string, code int) {
	f.log = append(f.log, fmt.Sprintf("done %s %d", label, code))
}
func (f *fakeLease) Helpers() []procscan.ID { return nil }
func (f *fakeLease) Ended(_ string, _ time.Duration, code int, _ bool) {
	f.log = append(f.log, fmt.Sprintf("ended %d", code))
}

// leased runs a loop that needs a lease.
func leased(t *testing.T, o Options, ticks bool, test func(*fake, *fakeLease)) {
	t.Helper()
	lease := &fakeLease{c: make(chan struct{}, 1), ticks: ticks}
	supervised(t, o, func(f *fake) { lease.c = make(chan struct{}, 1); f.lease = lease },
		func(f *fake) { test(f, lease) })
}

func (f *fake) tell(l *fakeLease, verb, text string) {
	f.handOver()
	l.queue = append(l.queue, [2]string{verb, text})
	l.c <- struct{}{}
	synctest.Wait()
	f.handOver()
}

func (f *fake) grant(l *fakeLease) {
	f.handOver()
	l.held = true
	l.fence++
	f.tell(l, "granted", "")
}

func (f *fake) want(l *fakeLease, what string) {
	f.t.Helper()
	f.handOver()
	got := strings.Join(l.log, ", ")
	l.log = nil
	if got != what {
		f.t.Errorf("the lease was told %q, not %q", got, what)
	}
	f.handOver()
}

func TestLeaseStandsByUntilGranted(t *testing.T) {
	leased(t, Options{KillAfter: time.Second}, false, func(f *fake, l *fakeLease) {
		f.sleep(time.Hour)
		if s := f.state(); s != "down" || len(f.took()) != 0 {
			t.Fatalf("without a grant it is %s", s)
		}
		f.want(l, "release, want")
		f.grant(l)
		if s := f.state(); s != "up" {
			t.Fatalf("granted, it is %s", s)
		}
		f.want(l, "starting, started")
	})
}

// TestLeaseTooLate grants a lease whose deadline has passed: nothing is started.
func TestLeaseTooLate(t *testing.T) {
	leased(t, Options{KillAfter: time.Second}, false, func(f *fake, l *fakeLease) {
		f.want(l, "release, want")
		f.tell(l, "granted", "") // held stays false
		if s := f.state(); s != "down" || len(f.took()) != 0 {
			t.Fatalf("with a dead lease it is %s", s)
		}
		f.want(l, "release, want")
	})
}

func TestLeaseStop(t *testing.T) {
	leased(t, Options{KillAfter: time.Second, Respawn: true, RespawnDelay: time.Minute}, false,
		func(f *fake, l *fakeLease) {
			f.grant(l)
			f.took()
			l.log = nil
			f.deaf[1001] = true
			f.tell(l, "stop", "a hand-over")
			f.want(l, "") // nothing is given back while anything lives
			f.sleep(time.Second)
			if got := f.took(); !slices.Equal(got, []string{"SIGTERM", "kill"}) {
				t.Fatalf("it did %q", got)
			}
			f.want(l, "ended 137, release, release, want")
			f.grant(l)
			if s := f.state(); s != "up" {
				t.Fatalf("granted again, it is %s", s)
			}
		})
}

func TestLeaseKillsAtOnce(t *testing.T) {
	leased(t, Options{KillAfter: time.Hour}, false, func(f *fake, l *fakeLease) {
		f.grant(l)
		f.took()
		l.log = nil
		f.deaf[1001] = true
		f.tell(l, "stop", "due")
		f.tell(l, "kill", "over")
		if got := f.took(); !slices.Equal(got, []string{"SIGTERM", "kill"}) {
			t.Fatalf("it did %q", got)
		}
		f.want(l, "ended 137, release, release, want")
	})
}

// TestLeaseTerm shows that a lifeline asked to end gives the lease back first of all.
func TestLeaseTerm(t *testing.T) {
	leased(t, Options{KillAfter: time.Hour}, false, func(f *fake, l *fakeLease) {
		f.grant(l)
		l.log = nil
		f.signals <- unix.SIGTERM
		f.sleep(0)
		f.want(l, "ended 143, release")
	})
}

// TestLeaseEndsBetweenTwoWorkers ends the lease in the pause before a respawn.
func TestLeaseEndsBetweenTwoWorkers(t *testing.T) {
	leased(t, Options{KillAfter: time.Second, Respawn: true, RespawnDelay: time.Minute}, false,
		func(f *fake, l *fakeLease) {
			f.grant(l)
			f.sleep(0)
			f.exit(1)
			f.sleep(0)
			l.log = nil
			f.tell(l, "stop", "lost")
			f.want(l, "release, want")
			f.took()
			f.sleep(time.Hour)
			if got := f.took(); len(got) != 0 {
				t.Fatalf("without the lease it did %q", got)
			}
		})
}

func TestLeaseRefused(t *testing.T) {
	leased(t, Options{}, false, func(f *fake, l *fakeLease) {
		f.tell(l, "refused", "wrong password")
		if s := f.state(); s != "finished" {
			t.Fatalf("refused, it is %s", s)
		}
		if err := <-f.result; err == nil || err.Error() != "wrong password" {
			t.Fatalf("it says %v", err)
		}
	})
}

// TestLeaseTicks shows that the grant starts nothing, each tick starts one run, and
// lifeline goes on after a run.
func TestLeaseTicks(t *testing.T) {
	leased(t, Options{KillAfter: time.Second}, true, func(f *fake, l *fakeLease) {
		f.grant(l)
		if s := f.state(); s != "down" {
			t.Fatalf("granted, before any tick, it is %s", s)
		}
		f.tell(l, "tick", "T1")
		if s := f.state(); s != "up" {
			t.Fatalf("at a tick it is %s", s)
		}
		l.log = nil
		f.exit(3)
		f.want(l, "ended 3, done T1 3")
		f.tell(l, "tick", "T2")
		f.exit(0)
		f.want(l, "starting, started, ended 0, done T2 0")
		if s := f.state(); s != "down" {
			t.Fatalf("after a run it is %s", s)
		}
	})
}
