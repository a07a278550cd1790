package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

var day = time.Date(2026, 3, 29, 1, 30, 0, 0, time.UTC)

func at(n int) time.Time { return day.Add(time.Duration(n) * time.Second) }

func files(t *testing.T) (state, history string) {
	dir := t.TempDir()
	return filepath.Join(dir, "a.state"), filepath.Join(dir, "a.history")
}

func open(t *testing.T, state, history string, s State) *Writer {
	t.Helper()
	return Open(state, history, s, at(0), func(format string, args ...any) { t.Errorf(format, args...) })
}

func TestRoundTrip(t *testing.T) {
	state, history := files(t)
	w := open(t, state, history, State{Name: "a", Command: []string{"x", strings.Repeat("y", 5000), "z"}, Boot: "b"})
	w.State(func(s *State) { s.State = "running" })
	for n := range 3 {
		w.Run(Run{Start: at(n), End: at(n + 1), Outcome: []string{"ok", "failed", "stopped"}[n], Skipped: n})
	}
	w.Close()
	s, err := ReadState(state)
	if err != nil {
		t.Fatal(err)
	}
	if s.Version != Version || s.State != "running" || s.Totals != (Totals{3, 1, 1, 1, 3}) || s.Last == nil ||
		s.Last.Outcome != "stopped" || !s.LastSuccess.Equal(at(1)) {
		t.Errorf("%+v", s)
	}
	if n := len(strings.Join(s.Command, " ")); n > 4200 {
		t.Errorf("the command takes %d bytes", n)
	}
	runs, err := ReadHistory(history)
	if err != nil || len(runs) != 3 || runs[1].Outcome != "failed" {
		t.Errorf("%+v, %v", runs, err)
	}
	for _, path := range []string{state, history} {
		if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", path, st.Mode(), err)
		}
	}
	if left, _ := filepath.Glob(filepath.Dir(state) + "/.*"); len(left) > 0 {
		t.Errorf("left behind: %q", left)
	}
}

// TestTorn checks that a line cut short by a crash costs that line alone.
func TestTorn(t *testing.T) {
	_, history := files(t)
	for n := range 2 {
		if err := appendRun(history, Run{Start: at(n), End: at(n), Outcome: "ok"}); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(history)
	if err != nil {
		t.Fatal(err)
	}
	for cut := range len(text) + 1 {
		if err := os.WriteFile(history, text[:cut], 0o600); err != nil {
			t.Fatal(err)
		}
		if err := appendRun(history, Run{Start: at(9), End: at(9), Outcome: "hung"}); err != nil {
			t.Fatal(err)
		}
		runs, err := ReadHistory(history)
		whole := strings.Count(string(text[:cut]), "}\n")
		if cut > 0 && text[cut-1] == '}' { // only its line feed is missing
			whole++
		}
		if err != nil || len(runs) != whole+1 || runs[whole].Outcome != "hung" {
			t.Fatalf("cut at %d: %d runs, not %d, %v", cut, len(runs), whole+1, err)
		}
	}
}

// TestBounded writes ten thousand runs: the file stays small and has the newest,
// and the totals count every run.
func TestBounded(t *testing.T) {
	state, history := files(t)
	const runs = 10000
	w := open(t, state, history, State{Name: "a"})
	for n := range runs {
		w.Run(Run{Start: at(n), End: at(n + 1), Outcome: "ok", Generation: fmt.Sprintf("%016x", n), PID: n + 1,
			Why: "a reason of some length"})
		if n%500 == 499 { // let the writer catch up
			w.Close()
			w = open(t, state, history, State{Name: "a"})
		}
	}
	w.Close()
	st, err := os.Stat(history)
	if err != nil || st.Size() > maxHistory {
		t.Fatalf("%d bytes, %v", st.Size(), err)
	}
	kept, err := ReadHistory(history)
	if err != nil || len(kept) < 500 {
		t.Fatalf("%d runs, %v", len(kept), err)
	}
	for i, r := range kept {
		if want := runs - len(kept) + i + 1; r.PID != want {
			t.Fatalf("run %d of %d is number %d, not %d", i, len(kept), r.PID, want)
		}
	}
	s, err := ReadState(state)
	if err != nil || s.Totals.Runs != runs {
		t.Errorf("%+v, %v", s.Totals, err)
	}
}

// TestLost checks that the next supervisor writes the end of a run whose
// supervisor was killed.
func TestLost(t *testing.T) {
	for name, c := range map[string]struct {
		old, next State
		why       string // "" where every run ended
	}{
		"killed": {State{State: "running", Boot: "b", Generation: "g"}, State{Boot: "b"},
			"its supervisor was killed"},
		"the machine went down": {State{State: "running", Boot: "b", Generation: "g"}, State{Boot: "c"},
			"the machine went down"},
		"ended well": {State{State: Ended, Boot: "b", Generation: "g"}, State{Boot: "b"}, ""},
		"adopted":    {State{State: "running", Boot: "b", Generation: "g"}, State{Boot: "b", Generation: "g"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			state, history := files(t)
			start := at(-100)
			c.old.Started, c.old.Worker = &start, &Process{PID: 7}
			if err := writeState(state, c.old); err != nil {
				t.Fatal(err)
			}
			open(t, state, history, c.next).Close()
			runs, err := ReadHistory(history)
			switch {
			case err != nil:
				t.Fatal(err)
			case c.why == "" && len(runs) > 0:
				t.Errorf("%+v", runs)
			case c.why != "" && (len(runs) != 1 || runs[0].Outcome != Lost || runs[0].Why != c.why || runs[0].PID != 7):
				t.Errorf("%+v", runs)
			case c.why == "the machine went down" && !runs[0].End.Equal(at(0)):
				t.Errorf("it ended at %s", runs[0].End)
			}
		})
	}
}

func TestTrouble(t *testing.T) {
	state, history := files(t)
	if err := os.Mkdir(history, 0o700); err != nil { // can't be opened for writing
		t.Fatal(err)
	}
	var said []string
	w := Open(state, history, State{}, time.Time{}, func(format string, args ...any) {
		said = append(said,
			fmt.Sprintf(format, args...))
	})
	w.Run(Run{Outcome: "ok"})
	w.Run(Run{Outcome: "ok"})
	w.Close()
	if len(said) != 1 || !strings.Contains(said[0], "history") {
		t.Errorf("said %q", said)
	}
	if s, err := ReadState(state); err != nil || s.Totals.Runs != 2 {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestReadState(t *testing.T) {
	state, _ := files(t)
	if _, err := ReadState(state); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	for _, text := range []string{"", "{", "[]", `{"version":99}`} {
		if err := os.WriteFile(state, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadState(state); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
}

// FuzzRun compares parseWritten with encoding/json.
func FuzzRun(f *testing.F) {
	ready := at(1)
	line, err := json.Marshal(Run{Start: at(0), End: at(2), Ready: &ready, PID: 7, Generation: "g", Outcome: "failed",
		Code: -1, Signal: "SIGHUP",
		Why: "it ended", MaxRSS: 1 << 40, CPU: 0.25, Skipped: 3, Supervisor: 9})
	if err != nil {
		f.Fatal(err)
	}
	if !new(Run).parseWritten(line) {
		f.Fatalf("%s isn't read by hand", line)
	}
	f.Add(line)
	for _, text := range []string{`{}`, `{"outcome":"a\"b"}`, `{"code":01}`, `{"code":-0}`, `{"code":-}`,
		`{"cpu_seconds":1e3}`, `{"cpu_seconds":1.}`,
		`{"cpu_seconds":-.5}`, `{"code":1,}`, `{"pid":99999999999999999999}`, `{"start":"2026-03-29T01:30:00+02:00","outcome":"ok"}`, `{"ready":null}`, `{"code":0}x`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var byHand, want Run
		if !byHand.parseWritten(text) {
			return
		}
		if err := json.Unmarshal(text, &want); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if a, b := fmt.Sprintf("%+v %v", byHand, byHand.Ready), fmt.Sprintf("%+v %v", want,
			want.Ready); byHand.Ready == nil && a != b {
			t.Errorf("%s\n%s\n%s", text, a, b)
		}
		if byHand.Ready != nil && (want.Ready == nil || !byHand.Ready.Equal(*want.Ready)) {
			t.Errorf("%s: ready at %v, not %v", text, byHand.Ready, want.Ready)
		}
	})
}

// TestFailingSince checks that FailingSince reads from the end as far as it must, over
// lines that are torn.
func TestFailingSince(t *testing.T) {
	line := func(n int, outcome string) string {
		text, err := json.Marshal(Run{Start: at(n), End: at(n + 1), Outcome: outcome})
		if err != nil {
			t.Fatal(err)
		}
		return string(text) + "\n"
	}
	for text, want := range map[string]time.Time{
		"":                                  {},
		"\n":                                {},
		line(1, OK):                         {},
		line(1, Failed):                     at(1),
		line(1, OK) + line(2, Failed):       at(2),
		line(1, Failed) + line(2, Stopped):  {},
		line(1, Failed) + line(2, OK) + "{": {},
		line(1, OK) + line(2, Killed) + "{torn\n\n" + line(3, Lost) + `{"start":`: at(2),
		line(1, OK) + strings.TrimSuffix(line(2, Failed), "\n"):                   at(2),
	} {
		path := filepath.Join(t.TempDir(), "history")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if have := FailingSince(path); !have.Equal(want) {
			t.Errorf("%q: %v, not %v", text, have, want)
		}
	}
	if have := FailingSince(filepath.Join(t.TempDir(), "none")); !have.IsZero() {
		t.Errorf("without a file: %v", have)
	}
}

func BenchmarkRun(b *testing.B) {
	line, err := json.Marshal(Run{Start: day, End: day.Add(3456789), PID: 123456, Generation: "0123456789abcdef",
		Outcome: "ok", MaxRSS: 1 << 24, CPU: 0.123, Supervisor: 9})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(line)))
	var r Run
	for b.Loop() {
		if r = (Run{}); !parseRun(line, &r) {
			b.Fatal("not read")
		}
	}
}

func FuzzHistory(f *testing.F) {
	line, err := json.Marshal(Run{Start: at(0), End: at(1), Outcome: "ok"})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(append(line, '\n'))
	f.Add([]byte("{\"outcome\":\"ok\"}\n{\n\n"))
	f.Add(slices.Concat(line, []byte("\n"), line[:20], []byte("\n"), line))
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, r := range parseHistory(text) {
			if r.Length() < 0 || r.Outcome == "" {
				t.Errorf("%+v", r)
			}
		}
	})
}

// TestNoFile checks that another user's file may be anything. Before, root waited for
// the writer of a FIFO.
func TestNoFile(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{unix.Mkfifo(path("fifo"), 0o600), os.Symlink("/dev/zero", path("link")),
		os.Mkdir(path("directory"), 0o700), os.WriteFile(path("huge"), nil, 0o600), os.Truncate(path("huge"), 1<<40)} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"fifo", "link", "directory", "huge"} {
		if _, err := ReadState(path(name)); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the state in a %s: %v", name, err)
		}
		if _, err := ReadHistory(path(name)); err == nil {
			t.Errorf("the history in a %s is read", name)
		}
		if _, err := ReadOutput(path(name)); err == nil {
			t.Errorf("the output in a %s is read", name)
		}
		if since := FailingSince(path(name)); !since.IsZero() {
			t.Errorf("a %s fails since %v", name, since)
		}
	}
}
