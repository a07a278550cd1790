package sdnotify

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// rawSend sends any bytes and descriptors, also malformed ones.
func rawSend(t *testing.T, addr string, data []byte, fds ...int) {
	t.Helper()
	fd, err := newSocket()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if err := unix.Sendmsg(fd, data, oob, &unix.SockaddrUnix{Name: addr}, 0); err != nil {
		t.Fatal(err)
	}
}

func send(t *testing.T, r *Receiver, state string, fds ...int) {
	t.Helper()
	if err := (Client{Addr: r.Addr()}).Send(state, fds...); err != nil {
		t.Fatal(err)
	}
}

// inQueue waits until n messages are in the queue, without a Drain.
func inQueue(t *testing.T, r *Receiver, n int) {
	t.Helper()
	eventually(t, fmt.Sprint(n, " messages read"), func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.queue) == n
	})
}

func TestOwnUserWithoutMember(t *testing.T) {
	r := listen(t, nil)
	send(t, r, "READY=1")
	wantSaid(t, serve(t, r, atLeast(1)), "ready")
	wantNoWarnings(t, r)
}

func TestRefusedMessages(t *testing.T) {
	r := listen(t, nil)
	before := openFds(t)
	big := []byte("STATUS=" + strings.Repeat("x", MaxMessage-7))
	rawSend(t, r.Addr(), big) // just fits
	rawSend(t, r.Addr(), append(big, 'x'), 0)
	rawSend(t, r.Addr(), []byte("READY=1\x00STATUS=x"), 0)
	rawSend(t, r.Addr(), []byte("BARRIER=1"))
	rawSend(t, r.Addr(), []byte("BARRIER=1"), 0, 1)
	rawSend(t, r.Addr(), []byte("BARRIER=1\nREADY=1"), 0)
	rawSend(t, r.Addr(), nil)
	rawSend(t, r.Addr(), []byte("X_MINE=1"), 0)
	rawSend(t, r.Addr(), []byte("READY=1"), 0, 1, 2) // descriptors that were not asked for
	all := serve(t, r, atLeast(2))
	wantSaid(t, all, "status="+strings.Repeat("x", MaxStatus)+" | ready")
	if d := r.Dropped(); d != (Dropped{Truncated: 1, Malformed: 4}) {
		t.Errorf("dropped %+v: %q", d, r.Warnings())
	}
	if w := r.Warnings(); len(w) != 2 {
		t.Errorf("warnings %q", w)
	}
	if now := openFds(t); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}

func TestMostDescriptors(t *testing.T) {
	r := listen(t, nil)
	before := openFds(t)
	send(t, r, "FDSTORE=1", make([]int, MaxFds)...)
	all := serve(t, r, atLeast(1))
	if len(all[0].Fds) != MaxFds {
		t.Errorf("%d descriptors came", len(all[0].Fds))
	}
	for _, fd := range all[0].Fds {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Fatalf("descriptor %d: %#x %v", fd, flags, err)
		}
	}
	all[0].Close()
	all[0].Close()
	if now := openFds(t); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
	if err := (Client{Addr: r.Addr()}).Send("FDSTORE=1", make([]int, MaxFds+1)...); err == nil {
		t.Error("too many descriptors were sent")
	}
}

// TestUndrained shows that the receiver keeps reading while its owner is busy, and
// that many heartbeats take no more room than a few.
func TestUndrained(t *testing.T) {
	r := listen(t, nil)
	for i := range 200 {
		send(t, r, "READY=1\nSTATUS="+strconv.Itoa(i))
	}
	inQueue(t, r, 200)
	for i := range 1000 {
		send(t, r, "STATUS="+strconv.Itoa(i))
		send(t, r, "WATCHDOG=1")
	}
	send(t, r, "STOPPING=1")
	inQueue(t, r, 202)
	all := r.Drain()
	for i, m := range all[:200] {
		if !m.Ready || m.Status != strconv.Itoa(i) {
			t.Fatalf("message %d is %s", i, said(all[i:i+1]))
		}
	}
	wantSaid(t, all[200:], "watchdog status=999 | stopping")
	if rest := r.Drain(); len(rest) != 0 {
		t.Errorf("again: %s", said(rest))
	}
}

// TestFloodWithoutDrain shows that a worker that floods waits: every message is kept, and
// the queue stays bounded.
func TestFloodWithoutDrain(t *testing.T) {
	const n = 3 * maxQueued
	r := listen(t, ours())
	cmd := child(t, "count", r.Addr(), "COUNT="+strconv.Itoa(n))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	inQueue(t, r, maxQueued)
	all := serve(t, r, atLeast(n+1))
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	for i, m := range all[:n] {
		if m.Status != strconv.Itoa(i) {
			t.Fatalf("message %d is %s", i, said(all[i:i+1]))
		}
	}
	if !all[n].Barrier {
		t.Errorf("at the end %s", said(all[n:]))
	}
}

func TestFloodOfHeartbeats(t *testing.T) {
	r := listen(t, ours())
	all := runServed(t, r, child(t, "flood", r.Addr()))
	last := all[len(all)-3]
	if !all[0].Ready || !last.Watchdog || last.Status != "4999" || !all[len(all)-2].Stopping ||
		!all[len(all)-1].Barrier {
		t.Errorf("%d messages: %.200s", len(all), said(all))
	}
	wantNoWarnings(t, r)
}

// TestFloodOfDescriptors shows that a flood of descriptors leaves enough for the
// supervisor.
func TestFloodOfDescriptors(t *testing.T) {
	r := listen(t, nil)
	before := openFds(t)
	const n = 20
	var wg sync.WaitGroup
	wg.Go(func() {
		for range n {
			c := Client{Addr: r.Addr(), Timeout: patience}
			if err := c.Send("FDSTORE=1", make([]int, 100)...); err != nil {
				t.Error(err)
			}
		}
	})
	got, most := 0, 0
	s := Store{Max: 10}
	defer s.Close()
	deadline := time.After(patience)
	for got < n {
		select {
		case <-r.C():
		case <-deadline:
			t.Fatalf("%d of %d came", got, n)
		}
		all := r.Drain()
		most = max(most, openFds(t))
		got += len(all)
		for i := range all {
			_ = s.Apply(&all[i]) // one open file many times: kept once
			all[i].Close()
		}
	}
	wg.Wait()
	if len(s.List()) != 1 {
		t.Errorf("stored %v", s.List())
	}
	if most > before+2*(maxQueuedFds+MaxFds) {
		t.Errorf("%d descriptors at once", most-before)
	}
	if now := openFds(t); now != before+1 {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}

// TestDrainOrder shows that Drain returns all messages sent before its call, in order,
// under both readers.
func TestDrainOrder(t *testing.T) {
	const senders, each = 3, 300
	r := listen(t, ours())
	var mu sync.Mutex
	next := make(map[string]int)
	check := func(all []Message) {
		for _, m := range all {
			who, number, _ := strings.Cut(m.Status, " ")
			if strconv.Itoa(next[who]) != number {
				t.Errorf("sender %s: %s came when %d was next", who, number, next[who])
			}
			next[who]++
		}
	}
	drain := func() {
		mu.Lock() // one reader at a time can see the order
		defer mu.Unlock()
		check(r.Drain())
	}
	stop := make(chan struct{})
	var loop, wg sync.WaitGroup
	loop.Go(func() {
		for {
			select {
			case <-r.C():
				drain()
			case <-stop:
				return
			}
		}
	})
	for s := range senders {
		wg.Go(func() {
			who := strconv.Itoa(s)
			for i := range each {
				send(t, r, "RELOADING=1\nSTATUS="+who+" "+strconv.Itoa(i))
				if i%10 != 0 {
					continue
				}
				mu.Lock()
				check(r.Drain())
				if next[who] != i+1 {
					t.Errorf("sender %s has sent %d, Drain gave %d", who, i+1, next[who])
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	drain()
	close(stop)
	loop.Wait()
	for s := range senders {
		if n := next[strconv.Itoa(s)]; n != each {
			t.Errorf("sender %d: %d of %d", s, n, each)
		}
	}
}

func TestListenReplacesOnlySockets(t *testing.T) {
	path := filepath.Join(t.TempDir(), "notify")
	old, err := Listen(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Listen(path, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := old.Close(); err != nil { // must leave the new receiver's file
		t.Error(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|0o666 {
		t.Errorf("socket %v %v", info, err)
	}
	send(t, r, "READY=1")
	wantSaid(t, serve(t, r, atLeast(1)), "ready")
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, "relative", "", filepath.Join(path, "none", "such")} {
		if r, err := Listen(p, Options{}); err == nil {
			r.Close()
			t.Errorf("a socket at %q", p)
		}
	}
}

func TestDetachAndAdopt(t *testing.T) {
	before := openFds(t)
	r := listen(t, nil)
	addr := r.Addr()
	send(t, r, "READY=1")
	inQueue(t, r, 1)
	fd, rest, err := r.Detach()
	if err != nil {
		t.Fatal(err)
	}
	wantSaid(t, rest, "ready")
	if err := (Client{Addr: addr}).Send("STATUS=between"); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetNonblock(fd, false); err != nil { // as another owner of the socket may
		t.Fatal(err)
	}
	r, err = Adopt(fd, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if r.Addr() != addr {
		t.Errorf("address %q, was %q", r.Addr(), addr)
	}
	wantSaid(t, serve(t, r, atLeast(1)), "status=between")
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	if all := r.Drain(); len(all) != 0 {
		t.Errorf("after Close: %s", said(all))
	}
	if _, err := os.Lstat(addr); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left behind: %v", err)
	}
	if now := openFds(t); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	dup, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Adopt(dup, Options{}); err == nil {
		t.Error("took /dev/null for a notify socket")
	}
}

// TestCloseUnderFlood shows that Close returns while a worker floods, and frees the queue.
func TestCloseUnderFlood(t *testing.T) {
	before := openFds(t)
	r := listen(t, nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				_ = Client{Addr: r.Addr(), Timeout: time.Millisecond}.Watchdog()
			}
		})
	}
	send(t, r, "FDSTORE=1", 0, 0)
	<-r.C()
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	close(stop)
	wg.Wait()
	if now := openFds(t); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}
