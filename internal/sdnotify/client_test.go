package sdnotify

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestClient(t *testing.T) {
	before := openFds(t)
	r := listen(t, nil)
	c := Client{Addr: r.Addr()}
	for _, err := range []error{
		c.Ready(), c.Status("line one\nSTOPPING=1\r2"), c.MainPID(12), c.Watchdog(), c.Stopping(),
		c.Status(strings.Repeat("é", MaxMessage)), c.Send("EXTEND_TIMEOUT_USEC=5"),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := c.Send(strings.Repeat("x", MaxMessage+1)); err == nil {
		t.Error("sent more than a receiver takes")
	}
	all := serve(t, r, atLeast(7))
	wantSaid(t, all, "ready | status=line one STOPPING=1 2 | mainpid | watchdog | stopping | "+
		"status="+
		strings.Repeat("é", MaxStatus/2)+" | 5µs")
	wantNoWarnings(t, r)
	r.Close()
	if now := openFds(t); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}

func TestClientWithoutReceiver(t *testing.T) {
	var none Client
	if err := errors.Join(none.Ready(), none.Status("x"), none.Barrier(context.Background())); err != nil {
		t.Error("sent without a receiver, and:", err)
	}
	gone := filepath.Join(t.TempDir(), "gone")
	for addr, want := range map[string]string{
		gone:                           "no process listens",
		gone + strings.Repeat("x", 99): "no process listens",
		"vsock:2:1234":                 "not supported",
		"relative/path":                "absolute path",
		"@":                            "absolute path",
		"@lifeline/no/such/receiver":   "no process listens",
	} {
		if err := (Client{Addr: addr}).Ready(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", addr, err)
		}
	}
}

// TestClientReceiverIsFull shows that a hung manager doesn't hang its clients.
func TestClientReceiverIsFull(t *testing.T) {
	r := listen(t, nil)
	fd, _, err := r.Detach() // no receiver reads
	if err != nil {
		t.Fatal(err)
	}
	c := Client{Addr: r.Addr(), Timeout: -1}
	for i := 0; ; i++ {
		start := time.Now()
		if err := c.Watchdog(); err != nil {
			if !strings.Contains(err.Error(), "hang") || time.Since(start) > patience/2 {
				t.Errorf("after %d messages and %v: %v", i, time.Since(start), err)
			}
			break
		}
		if i > 100_000 {
			t.Fatal("the receiver never gets full")
		}
	}
	c.Timeout = 50 * time.Millisecond
	start := time.Now()
	if err := c.Watchdog(); err == nil || time.Since(start) < c.Timeout {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	// Room made meanwhile lets the message through.
	c.Timeout = patience
	sent := make(chan error, 1)
	go func() { sent <- c.Ready() }()
	r, err = Adopt(fd, Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if all := serve(t, r, func(all []Message) bool { return len(all) > 0 && all[len(all)-1].Ready }); len(all) < 2 {
		t.Errorf("came: %s", said(all))
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}

func TestClientBarrier(t *testing.T) {
	r := listen(t, nil)
	before := openFds(t)
	c := Client{Addr: r.Addr()}
	if err := c.Ready(); err != nil {
		t.Fatal(err)
	}
	answered := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		answered <- c.Barrier(ctx)
	}()
	all := serve(t, r, func(all []Message) bool {
		for i := range all {
			if all[i].Barrier && all[i].Fds == nil { // serve has closed it
				return true
			}
		}
		select {
		case err := <-answered:
			t.Fatalf("answered before it was handled: %v", err)
		default:
		}
		return false
	})
	wantSaid(t, all, "ready | barrier")
	if err := <-answered; err != nil {
		t.Error(err)
	}
	// A barrier without an answer ends with its context.
	ctx, cancel := context.WithCancelCause(context.Background())
	done := make(chan error, 1)
	go func() { done <- c.Barrier(ctx) }()
	inQueue(t, r, 1)
	why := errors.New("told to stop")
	cancel(why)
	if err := <-done; !errors.Is(err, why) {
		t.Error(err)
	}
	for _, m := range r.Drain() {
		m.Close()
	}
	if now := openFds(t); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}

func TestEnvironment(t *testing.T) {
	own, other := strconv.Itoa(os.Getpid()), strconv.Itoa(os.Getppid())
	for _, tt := range []struct {
		addr, usec, pid string
		want            Client
		err             string
	}{
		{},
		{addr: "/run/x", usec: "3000000", pid: own, want: Client{Addr: "/run/x", WatchdogPeriod: 3 * time.Second}},
		{addr: "@x", usec: "1", want: Client{Addr: "@x", WatchdogPeriod: time.Microsecond}},
		{addr: "/run/x", usec: "3000000", pid: other, want: Client{Addr: "/run/x"}},
		{addr: "/run/x", usec: "junk", pid: other, want: Client{Addr: "/run/x"}},
		{addr: "/run/x", usec: "0", want: Client{Addr: "/run/x"}, err: EnvWatchdogUSec},
		{addr: "/run/x", usec: "-5", want: Client{Addr: "/run/x"}, err: EnvWatchdogUSec},
		{addr: "/run/x", usec: "18446744073709551615", want: Client{Addr: "/run/x"}, err: EnvWatchdogUSec},
		{addr: "vsock:2:1", usec: "5", want: Client{WatchdogPeriod: 5 * time.Microsecond}, err: "vsock"},
	} {
		t.Setenv(EnvSocket, tt.addr)
		t.Setenv(EnvWatchdogUSec, tt.usec)
		t.Setenv(EnvWatchdogPID, tt.pid)
		got, err := FromEnviron()
		if got != tt.want || (err != nil) != (tt.err != "") || err != nil && !strings.Contains(err.Error(), tt.err) {
			t.Errorf("%+v gave %+v, %v", tt, got, err)
		}
	}
	in := []string{"A=1", EnvSocket + "=/old", EnvWatchdogPID + "=1", EnvWatchdogUSec + "=5", "B=" + EnvSocket,
		EnvSocket + "X=3"}
	if got, want := Environ(in, "", 0), []string{"A=1", "B=NOTIFY_SOCKET",
		"NOTIFY_SOCKETX=3"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if got, want := Environ(in[:2], "/new", 1500*time.Millisecond), []string{"A=1", "NOTIFY_SOCKET=/new",
		"WATCHDOG_USEC=1500000"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if in[1] != "NOTIFY_SOCKET=/old" {
		t.Error("the environment given was changed")
	}
}
