package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
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

func FuzzSplit(f *testing.F) {
	for _, s := range []string{"", "want", `say "a b" c`, `say "`, "say  x", "x y \x00",
		Hello{URL: "etcd://a:1,b:2", Name: "n", Node: "ü x", TTL: 1, Slots: 1}.Line()} {
		f.Add(strings.TrimSuffix(s, "\n"))
	}
	f.Fuzz(func(t *testing.T, line string) {
		verb, fields, err := Split(line)
		if err != nil {
			return
		}
		args := make([]any, len(fields))
		for i, s := range fields {
			args[i] = s
		}
		line = strings.TrimSuffix(Line(verb, args...), "\n")
		if len(line) >= longest {
			return // bytes that aren't letters are escaped, and four times as long then
		}
		v, again, err := Split(line)
		if err != nil || v != verb || !slices.Equal(again, fields) {
			t.Errorf("%q comes back as %q %q, %v", line, v, again, err)
		}
	})
}

func TestHello(t *testing.T) {
	h := Hello{URL: "postgres://h/db?a=b c", Name: "a@b:1", Node: "Knoten 1", TTL: 5 * time.Second, Grace: time.Second,
		Slots:  3,
		Prefer: "x", FailAfter: 2, Tick: "CRON_TZ=Europe/Berlin */5 * * * *", AtLeastOnce: true, Supervisor: "12:34"}
	verb, fields, err := Split(strings.TrimSuffix(h.Line(), "\n"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseHello(Message{verb, fields})
	if err != nil || got != h {
		t.Fatalf("%+v comes back as %+v, %v", h, got, err)
	}
	fields[0] = "2"
	if _, err := ParseHello(Message{verb, fields}); err == nil || !strings.Contains(err.Error(), "version") {
		t.Errorf("another version: %v", err)
	}
	if _, err := ParseHello(Message{verb, fields[:1]}); err == nil {
		t.Error("an empty hello is taken")
	}
}

// The real alarm on the real clock.
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

// lifeline-remote is looked for beside this program, then on PATH.
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
	// One that belongs to the present directory isn't trusted.
	t.Chdir(dir)
	t.Setenv("PATH", ".")
	if path, err := Find(); err == nil {
		t.Fatalf("found %q", path)
	}
}

// The longest address that is taken fits into the hello, whatever is in it.
func TestLongestHello(t *testing.T) {
	o := Options{URL: "postgres://h/" + strings.Repeat("\xff", longestAddress-13), Node: strings.Repeat("ö", 127),
		Slots: 1, TTL: time.Second,
		Tick: strings.Repeat("ö", 512), Prefer: strings.Repeat("ö", 127)}
	if err := o.Check(0); err != nil && strings.Contains(err.Error(), "bytes") {
		t.Error(err)
	}
	h := Hello{URL: o.URL, Name: strings.Repeat("a", 128), Node: o.Node, TTL: o.TTL, Slots: 1, Tick: o.Tick,
		Prefer: o.Prefer,
		Memory: strings.Repeat("\xff", 4096)}
	m, err := NewReader(strings.NewReader(h.Line()), FromLifeline()).Next()
	if err != nil {
		t.Fatal(err)
	}
	if got, err := ParseHello(m); err != nil || got != h {
		t.Errorf("%v: %v", err, got)
	}
	o.URL += "x"
	if err := o.Check(0); err == nil || !strings.Contains(err.Error(), "at most 8192 fit") {
		t.Error(err)
	}
}
