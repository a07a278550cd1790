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

func TestUpTime(t *testing.T) {
	at := func(m int) time.Time { return time.Date(2026, 1, 1, 0, m, 0, 0, time.UTC) }
	run := func(from, to int) journal.Run { return journal.Run{Start: at(from), End: at(to), Outcome: "ok"} }
	up := at(50)
	for name, c := range map[string]struct {
		runs []journal.Run
		up   *time.Time
		want int
	}{
		"never":                {nil, nil, 0},
		"always":               {[]journal.Run{run(-10, 70)}, nil, 60},
		"before and after":     {[]journal.Run{run(-10, -5), run(65, 70)}, nil, 0},
		"across the beginning": {[]journal.Run{run(-10, 5)}, nil, 5},
		"a reload's overlap":   {[]journal.Run{run(0, 20), run(15, 30)}, nil, 30},
		"one within another":   {[]journal.Run{run(5, 10), run(0, 20)}, nil, 15}, // what began before the other's end is lost: a bar, not an account
		"up now":               {[]journal.Run{run(0, 10)}, &up, 20},
	} {
		if got := upTime(c.runs, c.up, at(0), at(60)); got != time.Duration(c.want)*time.Minute {
			t.Errorf("%s: %s, not %d minutes", name, got, c.want)
		}
	}
	if got, want := timeline([]journal.Run{run(0, 10), run(20, 21)}, &up, at(60), time.Hour), strings.Repeat("█", 10)+strings.Repeat("·", 10)+"█"+strings.Repeat("·", 29)+strings.Repeat("█", 10); got != want {
		t.Errorf("\n%s, not\n%s", got, want)
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
