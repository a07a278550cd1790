package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

func TestFits(t *testing.T) {
	for _, test := range []struct {
		ttl, grace time.Duration
		ok         bool
	}{
		{5 * time.Second, DefaultGrace(5 * time.Second), true},
		{300 * time.Millisecond, DefaultGrace(300 * time.Millisecond), true},
		{500 * time.Millisecond, DefaultGrace(500 * time.Millisecond), true},
		{300 * time.Millisecond, 0, true},
		{299 * time.Millisecond, 0, false},
		{5 * time.Second, 2400 * time.Millisecond, true},
		{5 * time.Second, 2401 * time.Millisecond, false},
		{60 * time.Second, 28800 * time.Millisecond, true}, // 2 % are more than 100 ms here
		{60 * time.Second, 28801 * time.Millisecond, false},
	} {
		err := Fits(test.ttl, test.grace)
		if (err == nil) != test.ok {
			t.Errorf("a grace of %s in a TTL of %s: %v", test.grace, test.ttl, err)
		}
	}
	for _, grace := range []time.Duration{0, time.Second, 10 * time.Second, time.Hour} {
		if err := Fits(need(grace), grace); err != nil {
			t.Errorf("the TTL it advises doesn't do: %v", err)
		}
	}
}

func FuzzRead(f *testing.F) {
	hello := Hello{URL: "etcd://a:1,b:2", Name: "n", Node: "ü x", TTL: 1, Slots: 1, Memory: "/\xff"}
	for _, m := range []Message{{Verb: "want"}, {Verb: "hello", Hello: &hello}, {Verb: "say", Text: "a \"<b>\u2028\n"},
		{Verb: "starting", Generation: "g", Cgroup: "/a%b"}, {Verb: "started", Generation: "g",
			PID: 1, Start: 1<<64 - 1},
		{Verb: "granted", Fence: 1<<64 - 1, Deadline: 1<<63 - 1}} {
		f.Add(m.Line())
	}
	f.Add(`{"Verb":"want","VERB":"bye"}`)
	f.Add(`null`)
	f.Fuzz(func(t *testing.T, line string) {
		for _, side := range []Side{FromLifeline, FromRemote} {
			m, err := side.Read([]byte(line))
			if err != nil {
				continue
			}
			again := m.Line()
			if strings.Count(again, "\n") != 1 {
				t.Fatalf("%q is written as %q", line, again)
			}
			if got, err := side.Read([]byte(again)); err != nil || !reflect.DeepEqual(got, m) {
				t.Errorf("%q comes back as %+v, %v", again, got, err)
			}
		}
	})
}

// helloOf returns h as the other side reads it.
func helloOf(t *testing.T, h Hello) Hello {
	t.Helper()
	line := FromLifeline.Banner() + Message{Verb: "hello", Hello: &h}.Line()
	m, err := NewReader(strings.NewReader(line), FromLifeline).Next()
	if err != nil {
		t.Fatal(err)
	}
	return *m.Hello
}

func TestHello(t *testing.T) {
	h := Hello{URL: "postgres://h/db?a=b<c>", Name: "a@b:1", Node: "Knoten 1", TTL: 5 * time.Second, Grace: time.Second,
		Slots: 3, Prefer: "x", FailAfter: 2, Tick: "CRON_TZ=Europe/Berlin */5 * * * *", AtLeastOnce: true,
		MaxClockSkew: time.Minute, ForceOptions: true, Memory: "/home/m\xfcller/%41", Fence: 1 << 60,
		Supervisor: procscan.ID{PID: 12, Start: 34}}
	if got := helloOf(t, h); got != h {
		t.Fatalf("%+v comes back as %+v", h, got)
	}
	for _, line := range []string{`{"verb":"hello"}`, `{"verb":"hello","hello":null}`, `{"verb":"hello","hello":{}}`} {
		if m, err := FromLifeline.Read([]byte(line)); err == nil {
			t.Errorf("%s is taken for %+v", line, m.Hello)
		}
	}
}

// TestBanner checks that the banner alone shows another version.
func TestBanner(t *testing.T) {
	for text, want := range map[string]string{
		"lifeline 1 url=etcd://x name=n\n": "1", "lifeline 3\n": "3", "lifeline 03\n": "03",
	} {
		_, err := NewReader(strings.NewReader(text), FromLifeline).Next()
		if other := new(VersionError); !errors.As(err, &other) || other.Version != want {
			t.Errorf("%q: %v", text, err)
		}
	}
	for _, text := range []string{"lifeline\n", "lifeline x\n", "remote 2\n", "{}\n", "\n", "lifeline 2 \x00\n\n"} {
		if m, err := NewReader(strings.NewReader(text), FromLifeline).Next(); !errors.Is(err, ErrNonsense) {
			t.Errorf("%q: %v, %v", text, m, err)
		}
	}
}

// TestAlarm checks the real alarm on the real clock.
func TestAlarm(t *testing.T) {
	a, err := NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	at := Now() + 30*time.Millisecond
	a.Set(at)
	select {
	case <-a.C:
		if early := at - Now(); early > 0 {
			t.Errorf("it went off %s early", early)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("it never went off")
	}
	a.Set(Now() - time.Second) // past already
	select {
	case <-a.C:
	case <-time.After(10 * time.Second):
		t.Fatal("an alarm for the past never goes off")
	}
}

// TestFind checks that Find looks beside this program, then on PATH.
func TestFind(t *testing.T) {
	t.Setenv("PATH", "/nowhere")
	var missing *MissingError
	if path, err := Find(); !errors.As(err, &missing) || !strings.Contains(err.Error(), "install it there") {
		t.Fatalf("found %q, %v", path, err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, Program), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", "/nowhere:"+dir)
	if path, err := Find(); err != nil || path != filepath.Join(dir, Program) {
		t.Fatalf("found %q, %v", path, err)
	}
	// A lifeline-remote in the current directory isn't trusted.
	t.Chdir(dir)
	t.Setenv("PATH", ".")
	if path, err := Find(); err == nil {
		t.Fatalf("found %q", path)
	}
}

// TestLongestHello checks that the longest valid address fits into the hello, with any
// characters.
func TestLongestHello(t *testing.T) {
	o := Options{URL: "postgres://h/" + strings.Repeat("\"", longestAddress-13), Node: strings.Repeat("ö", 127),
		Slots: 1, TTL: time.Second,
		Tick: strings.Repeat("ö", 512), Prefer: strings.Repeat("ö", 127)}
	if err := o.Check(0); err != nil && strings.Contains(err.Error(), "bytes") {
		t.Error(err)
	}
	h := Hello{URL: o.URL, Name: strings.Repeat("a", 128), Node: o.Node, TTL: o.TTL, Slots: 1, Tick: o.Tick,
		Prefer: o.Prefer,
		Memory: Bytes(strings.Repeat("\xff", 4096))}
	if got := helloOf(t, h); got != h {
		t.Error("another hello is read")
	}
	o.URL += "x"
	if err := o.Check(0); err == nil || !strings.Contains(err.Error(), "at most 8192 fit") {
		t.Error(err)
	}
}

// TestSend checks that Send fails at once when the other side doesn't read.
func TestSend(t *testing.T) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		_ = unix.SetNonblock(fd, true)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	sent := 0
	for err = nil; err == nil; sent++ {
		err = Send(ours, Message{Verb: "want"})
	}
	if !errors.Is(err, ErrFull) || sent < 100 {
		t.Errorf("after %d messages: %v", sent, err)
	}
	theirs.Close()
	if err := Send(ours, Message{Verb: "want"}); err == nil || errors.Is(err, ErrFull) {
		t.Errorf("the other side is gone: %v", err)
	}
}

// TestOnlyUTF8 checks that text other than UTF-8 is refused, because it would change on
// its way to lifeline-remote.
func TestOnlyUTF8(t *testing.T) {
	for _, o := range []Options{{URL: "etcd://a?cacert=/\xff"}, {URL: "etcd://a", Node: "m\xfcller"},
		{URL: "etcd://a", Prefer: "m\xfcller"}} {
		o.Slots, o.TTL = 1, time.Second
		if err := o.Check(0); err == nil || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("%+v: %v", o, err)
		}
	}
}
