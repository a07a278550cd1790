package tasks

import (
	"bytes"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"lifeline/internal/journal"
	"lifeline/internal/supervisor"
)

// TestMetrics: what is printed is testdata/metrics.prom, which package scripts
// has the official parser of the format read.
func TestMetrics(t *testing.T) {
	at := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	list := []instanceStatus{
		{Name: "web", State: supervisor.StateReady, Running: true, UpSince: &at, Memory: 1 << 33, Restarts: 3, Last: &journal.Run{Start: at, End: at, Outcome: "killed", Code: 137}},
		{Name: "a.b:c@d+e", State: stateDown, LastSuccess: &at, Totals: journal.Totals{Runs: 3, OK: 2, Failed: 1, Skipped: 9}},
	}
	var got bytes.Buffer
	writeMetrics(&got, list)
	want, err := os.ReadFile("testdata/metrics.prom")
	printed := regexp.MustCompile(`(?m)^(lifeline_look_time_seconds) .*`).ReplaceAll(got.Bytes(), []byte("$1 1.7672688e+09"))
	if err != nil || !bytes.Equal(printed, want) {
		t.Errorf("testdata/metrics.prom (%v) isn't what is printed:\n%s", err, got.String())
	}
	for _, m := range metricList {
		if head := "# HELP " + m.name + " " + m.help + "\n# TYPE " + m.name + " " + m.kind + "\n"; !strings.Contains(got.String(), head) {
			t.Errorf("no %q in\n%s", head, got.String())
		}
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
