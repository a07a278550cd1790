package tasks

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/journal"
	"lifeline/internal/report"
	"lifeline/internal/supervisor"
)

// TestMetrics checks that what is printed is testdata/metrics.prom, which package
// scripts has the official parser of the format read.
func TestMetrics(t *testing.T) {
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	list := []instanceStatus{
		{Name: "web", State: supervisor.StateReady, Running: true, UpSince: &at, Memory: 1 << 33, Restarts: 3,
			Last: &journal.Run{Start: at, End: at, Outcome: "killed", Code: 137}},
		{Name: "a.b:c@d+e", State: stateDown, LastSuccess: &at, Totals: journal.Totals{Runs: 3, OK: 2, Failed: 1,
			Skipped: 9}},
	}
	var got bytes.Buffer
	writeMetrics(&got, list)
	want, err := os.ReadFile("testdata/metrics.prom")
	printed := regexp.MustCompile(`(?m)^(lifeline_look_time_seconds) .*`).ReplaceAll(got.Bytes(),
		[]byte("$1 1.7672688e+09"))
	if err != nil || !bytes.Equal(printed, want) {
		t.Errorf("testdata/metrics.prom (%v) isn't what is printed:\n%s", err, got.String())
	}
	for _, m := range metricList {
		if head := "# HELP " + m.name + " " + m.help + "\n# TYPE " + m.name + " " + m.kind +
			"\n"; !strings.Contains(got.String(), head) {
			t.Errorf("no %q in\n%s", head, got.String())
		}
	}
}

// TestHistoryView checks that the view fits 80 columns, and has colour only where there
// are colours.
func TestHistoryView(t *testing.T) {
	at := func(m int) time.Time { return time.Date(2026, 1, 1, 0, m, 0, 0, time.UTC) }
	run := func(from, to int, outcome string) journal.Run {
		return journal.Run{Start: at(from), End: at(to), Outcome: outcome}
	}
	up := at(50)
	runs := []journal.Run{run(0, 10, "ok"), run(20, 21, "failed"), run(30, 32, "stopped")}
	line := report.NewTimeline(runs, &up, at(60), time.Hour, timelineWidth, true)
	h := historyView{}
	want := strings.Repeat("█", 10) + "▌" + strings.Repeat("·", 9) + "█!" + strings.Repeat("·", 8) + "██-" +
		strings.Repeat("·", 17) + strings.Repeat("█", 10)
	if got := h.bars(line); got != want {
		t.Errorf("\n%s, not\n%s", got, want)
	}
	lengths := report.NewLengths(runs, 60)
	if got := h.sparkline(lengths); got != "█▂" {
		t.Errorf("lengths: %s", got)
	}
	h.colour = true
	if got := h.sparkline(lengths); got != "█\x1b[31m▂\x1b[0m" {
		t.Errorf("lengths: %q", got)
	}
	if got := h.bars(line); !strings.HasPrefix(got, "\x1b[32m"+strings.Repeat("█", 10)+"\x1b[0m\x1b[32m▌\x1b[0m·") ||
		!strings.Contains(got, "\x1b[31m!\x1b[0m") {
		t.Errorf("%q", got)
	}
}

// TestJSONIsDocumented checks that every field stands in docs/json.md, and that every
// field that stands there exists.
func TestJSONIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]bool{}
	for _, of := range []any{instanceStatus{}, journal.Run{}, journal.Totals{}, cluster.Node{}} {
		for f := range reflect.TypeOf(of).Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if !f.IsExported() {
				continue
			}
			fields[name] = true
			if !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("docs/json.md doesn't tell of %q", name)
			}
		}
	}
	for line := range strings.Lines(string(text)) {
		first, _, ok := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		if !ok || !strings.HasPrefix(line, "| `") {
			continue
		}
		for _, name := range strings.Split(first, ", ") {
			if !fields[strings.Trim(name, "`")] {
				t.Errorf("docs/json.md tells of %s, which nothing prints", name)
			}
		}
	}
}
