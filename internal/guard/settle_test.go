package guard

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"unicode/utf8"

	"lifeline/procscan"
)

func TestParseYield(t *testing.T) {
	for _, want := range []Yield{
		{To: procscan.ID{PID: 12, Start: 34}, Orphan: true, Generation: "00ff"},
		{To: procscan.ID{PID: 12, Start: 34}},
		{To: procscan.ID{PID: 4194304, Start: 1<<64 - 1}, Generation: "x"},
	} {
		got, ok := ParseYield(want.Error())
		if !ok || *got != want {
			t.Errorf("%q gives %+v, %t", want.Error(), got, ok)
		}
	}
	for _, bad := range []string{"", "yield", "yield 1", "yield 1 2 maybe g", "yield 1 2 true", "yield x 2 true g", "error 125 yield 1 2 true g", "Yield 1 2 true g"} {
		if y, ok := ParseYield(bad); ok {
			t.Errorf("%q gives %+v", bad, y)
		}
	}
}

func FuzzParseYield(f *testing.F) {
	f.Add("yield 1 2 true g", 1, uint64(2), true, "g")
	f.Add("yield 1 2 false -", 0, uint64(0), false, "")
	f.Fuzz(func(t *testing.T, text string, pid int, start uint64, orphan bool, generation string) {
		if y, ok := ParseYield(text); ok {
			if again, ok := ParseYield(y.Error()); !ok || *again != *y {
				t.Errorf("%q: %+v became %+v", text, y, again)
			}
		}
		if !utf8.ValidString(generation) || len(strings.Fields(generation)) > 1 || strings.TrimSpace(generation) != generation || generation == "-" || strings.ContainsAny(generation, "\r\n") {
			return
		}
		y := Yield{To: procscan.ID{PID: pid, Start: start}, Orphan: orphan, Generation: generation}
		if again, ok := ParseYield(y.Error()); !ok || *again != y {
			t.Errorf("%+v became %+v, %t", y, again, ok)
		}
	})
}

// as is a process with a marker of its own.
func as(pid, ppid, uid int, env ...string) procscan.Process {
	p := procscan.Process{Stat: procscan.Stat{ID: procscan.ID{PID: pid, Start: 100}, PPID: ppid}, UID: uid, Env: map[string]string{}}
	for _, kv := range env {
		k, v, _ := strings.Cut(kv, "=")
		p.Env[k] = v
	}
	return p
}

func TestPrimary(t *testing.T) {
	for name, tt := range map[string]struct {
		p    procscan.Process
		want bool
	}{
		"the worker":              {as(7, 1, 0, EnvPID+"=7", EnvStart+"=100"), true},
		"a stub":                  {as(7, 1, 0, EnvStub+"=1"), false},
		"a stub of a stub":        {as(7, 1, 0, EnvStub+"=1", EnvPID+"=7", EnvStart+"=100"), false},
		"a descendant":            {as(8, 7, 0, EnvPID+"=7", EnvStart+"=100"), false},
		"the pid reused below it": {as(7, 1, 0, EnvPID+"=7", EnvStart+"=99"), false},
		"nothing but the name":    {as(7, 1, 0), false},
		"padded":                  {as(7, 1, 0, EnvPID+"=07", EnvStart+"=100"), false},
	} {
		if got := primary(tt.p); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// Anybody can write our marker into the environment of a process of his own.
func TestTrusted(t *testing.T) {
	me, other := os.Geteuid(), os.Geteuid()+1000
	sup := []procscan.ID{{PID: 50, Start: 1}}
	for name, tt := range map[string]struct {
		p          procscan.Process
		generation string
		want       bool
	}{
		"our own":                         {as(7, 1, me), "", true},
		"forged":                          {as(7, 1, other, EnvID+"=g"), "", false},
		"forged, no generation":           {as(7, 1, other, EnvID+"="), "", false},
		"another generation":              {as(7, 1, other, EnvID+"=g"), "h", false},
		"dropped its privileges":          {as(7, 1, other, EnvID+"=g"), "g", me == 0},
		"a child of a supervisor of ours": {as(7, 50, other, EnvID+"=g"), "", me == 0},
		"a child of another":              {as(7, 51, other, EnvID+"=g"), "", false},
	} {
		if got := trusted(tt.p, tt.generation, sup); got != tt.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestSupervisorMarker(t *testing.T) {
	if id, ok := supervisor(as(7, 1, 0, EnvSupervisor+"=12:34")); !ok || id != (procscan.ID{PID: 12, Start: 34}) {
		t.Errorf("%+v %t", id, ok)
	}
	for _, bad := range []string{"", "12", "12:", ":34", "x:y", "12:-1"} {
		if id, ok := supervisor(as(7, 1, 0, EnvSupervisor+"="+bad)); ok {
			t.Errorf("%q gives %+v", bad, id)
		}
	}
}

// TestInPlace: a stub that need not look makes sure that K.run is the file that
// it was when that was decided.
func TestInPlace(t *testing.T) {
	d, err := openDir(t.TempDir()+"/state", false)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := lockPath(d.lock("web"), false)
	if err != nil {
		t.Fatal(err)
	}
	run, err := openRun(d.run("web"), false)
	if err != nil {
		t.Fatal(err)
	}
	h := &Hold{Name: "web", dir: d, lock: lock}
	h.useRun(run, true)
	defer h.Release()
	if note, sure := h.Note(true, false); sure || !strings.HasPrefix(note, noteScan) {
		t.Errorf("the first start: %q, %t", note, sure)
	}
	note, sure := h.Note(false, false)
	how, place, _ := strings.Cut(note, " ")
	if !sure || how != noteVouch || !inPlace(d.run("web"), place) {
		t.Errorf("a later one: %q, %t", note, sure)
	}
	path, dev, ino := h.Place()
	if path != d.run("web") || place != fmt.Sprintf("%d:%d", dev, ino) {
		t.Errorf("it is to be at %s, %d:%d; the note says %q", path, dev, ino, note)
	}
	// Another one in its place, as a tick makes it that finds none.
	if err := errors.Join(os.Remove(d.run("web")), os.WriteFile(d.run("web"), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if inPlace(d.run("web"), place) {
		t.Error("another file passes for it")
	}
	if note, sure := h.Note(false, false); sure || !strings.HasPrefix(note, noteScan) {
		t.Errorf("with the file gone: %q, %t", note, sure)
	}
	if openRecord(run, d.run("web")) != nil {
		t.Error("the record would be written into another's file")
	}
	if inPlace(d.run("none"), place) {
		t.Error("no file passes for it")
	}
}
