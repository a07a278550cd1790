package worker

import (
	"context"
	"errors"
	"net"
	"os"
	"regexp"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"lifeline/proof/need"
)

func TestMessages(t *testing.T) {
	conn, path := notifySocket(t)
	t.Setenv("NOTIFY_SOCKET", path)
	for _, step := range []struct {
		err  error
		want string
	}{
		{Ready(), `^READY=1$`},
		{Stopping(), `^STOPPING=1$`},
		{Heartbeat(), `^WATCHDOG=1$`},
		{Status("%d of %d\nREADY=1\xff", 1, 2), `^STATUS=1 of 2 READY=1\?$`},
		{Reloading(), `^RELOADING=1\nMONOTONIC_USEC=[1-9][0-9]*$`},
		{Notify("MAINPID=42", "READY=1"), `^MAINPID=42\nREADY=1$`},
	} {
		if step.err != nil {
			t.Error(step.err)
		} else if got := message(t, conn); !regexp.MustCompile(step.want).MatchString(got) {
			t.Errorf("sent %q, want %s", got, step.want)
		}
	}
}

func TestNotifyErrors(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := Ready(); err != nil {
		t.Errorf("without NOTIFY_SOCKET: %v", err)
	}
	t.Setenv("NOTIFY_SOCKET", t.TempDir()+"/gone")
	if err := Ready(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no receiver there: %v", err)
	}
	t.Setenv("NOTIFY_SOCKET", "vsock:2:1")
	if err := Ready(); err == nil {
		t.Error("an address that isn't understood gives no error")
	}
}

func TestAbstractSocket(t *testing.T) {
	need.That(t, runtime.GOOS == "linux", "Linux's abstract sockets")
	name := "@" + t.TempDir()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	t.Setenv("NOTIFY_SOCKET", name)
	if err := Ready(); err != nil {
		t.Fatal(err)
	}
	if got := message(t, conn); got != "READY=1" {
		t.Errorf("sent %q", got)
	}
}

func TestParseWatchdog(t *testing.T) {
	for _, c := range []struct {
		usec, pid string
		want      time.Duration
		bad       bool
	}{
		{"", "", 0, false},
		{"20000000", "", 20 * time.Second, false},
		{"20000000", "42", 20 * time.Second, false},
		{"20000000", "43", 0, false},
		{"0", "", 0, true},
		{"-1", "", 0, true},
		{"1s", "", 0, true},
		{"9223372036854775807", "", 0, true},
	} {
		got, err := parseWatchdog(c.usec, c.pid, 42)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("WATCHDOG_USEC=%q WATCHDOG_PID=%q: %v, %v", c.usec, c.pid, got, err)
		}
	}
}

// beats runs a watchdog of 20 s in virtual time and returns when, after the
// start, each heartbeat was sent.
func beats(t *testing.T, runFor time.Duration, healthy func(context.Context) error) (at []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), runFor)
		defer cancel()
		started := time.Now()
		err := watchdog(ctx, 20*time.Second, healthy, func() error {
			at = append(at, time.Since(started))
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	})
	return at
}

func equal(t *testing.T, got []time.Duration, want ...time.Duration) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("heartbeats at %v, want %v", got, want)
	}
	for i := range got {
		if got[i] != want[i] {
			t.Fatalf("heartbeats at %v, want %v", got, want)
		}
	}
}

func TestWatchdogBeatsAtHalfThePeriod(t *testing.T) {
	const s = time.Second
	equal(t, beats(t, 35*s, nil), 0, 10*s, 20*s, 30*s)
	slow := func(context.Context) error { <-time.After(3 * s); return nil } // a check that takes 3 s
	equal(t, beats(t, 35*s, slow), 3*s, 13*s, 23*s, 33*s)
}

func TestWatchdogFailedCheck(t *testing.T) {
	const s = time.Second
	n := 0
	once := func(context.Context) error {
		if n++; n == 2 {
			return errors.New("a bad moment")
		}
		return nil
	}
	equal(t, beats(t, 25*s, once), 0, 12500*time.Millisecond, 22500*time.Millisecond)
	equal(t, beats(t, 60*s, func(context.Context) error { return errors.New("broken") }))
}

func TestWatchdogHungCheck(t *testing.T) {
	n := 0
	hangs := func(ctx context.Context) error {
		if n++; n == 2 {
			<-ctx.Done()              // a check that heeds its context may report
			<-time.After(time.Minute) // and what it asks doesn't answer in time
		}
		return nil
	}
	equal(t, beats(t, 50*time.Second, hangs), 0)
}

func TestWatchdogUnsent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		broken := errors.New("no receiver")
		if err := watchdog(ctx, 20*time.Second, nil, func() error { return broken }); err != broken {
			t.Errorf("%v, want %v", err, broken)
		}
	})
}
