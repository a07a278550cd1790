package tasks

import (
	"bytes"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt" // the official parser of the text format
	"github.com/prometheus/common/model"

	"lifeline/internal/journal"
	"lifeline/internal/report"
	"lifeline/internal/supervisor"
)

func TestMetricsParse(t *testing.T) {
	now := time.Now()
	list := []instanceStatus{
		{Name: "web", State: supervisor.StateReady, Running: true, UpSince: &now, Memory: 1 << 33, Restarts: 3, Last: &journal.Run{Start: now, End: now, Outcome: "killed", Code: 137}},
		{Name: "a.b:c@d+e", State: stateDown, LastSuccess: &now, Totals: journal.Totals{Runs: 3, OK: 2, Failed: 1, Skipped: 9}},
	}
	var b bytes.Buffer
	writeMetrics(&b, list)
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatalf("%v\n%s", err, b.String())
	}
	for _, m := range metricList {
		if f := families[m.name]; f == nil || strings.ToLower(f.GetType().String()) != m.kind || f.GetHelp() != m.help {
			t.Errorf("%s: %v", m.name, f)
		}
	}
	up := families["lifeline_up"].GetMetric()
	if len(up) != 2 || up[0].GetGauge().GetValue() != 1 || up[1].GetLabel()[0].GetValue() != "a.b:c@d+e" {
		t.Errorf("lifeline_up: %v", up)
	}
	if n := len(families["lifeline_last_run_exit_code"].GetMetric()); n != 1 {
		t.Errorf("%d names have an exit code, though one has run", n)
	}
	if n := len(families["lifeline_runs_total"].GetMetric()); n != 6 {
		t.Errorf("lifeline_runs_total has %d values", n)
	}
}

// TestHistoryView: 80 columns, and colour only where there are colours.
func TestHistoryView(t *testing.T) {
	at := func(m int) time.Time { return time.Date(2026, 1, 1, 0, m, 0, 0, time.UTC) }
	run := func(from, to int, outcome string) journal.Run {
		return journal.Run{Start: at(from), End: at(to), Outcome: outcome}
	}
	up := at(50)
	runs := []journal.Run{run(0, 10, "ok"), run(20, 21, "failed"), run(30, 32, "stopped")}
	line := report.NewTimeline(runs, &up, at(60), time.Hour, timelineWidth, true)
	h := historyView{}
	want := strings.Repeat("█", 10) + "▌" + strings.Repeat("·", 9) + "█!" + strings.Repeat("·", 8) + "██-" + strings.Repeat("·", 17) + strings.Repeat("█", 10)
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
	if got := h.bars(line); !strings.HasPrefix(got, "\x1b[32m"+strings.Repeat("█", 10)+"\x1b[0m\x1b[32m▌\x1b[0m·") || !strings.Contains(got, "\x1b[31m!\x1b[0m") {
		t.Errorf("%q", got)
	}
}

// TestJSONIsDocumented: every field stands in docs/json.md, and what stands
// there as a field exists.
func TestJSONIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../docs/json.md")
	if err != nil {
		t.Fatal(err)
	}
	fields := map[string]bool{}
	for _, of := range []any{instanceStatus{}, journal.Run{}, journal.Totals{}} {
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
