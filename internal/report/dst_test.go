package report

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // zones on a machine that has none

	"lifeline/internal/journal"
)

// TestDaylight checks a day on which the clock is put forward or back. The last 24 hours
// are 24 hours, a run of an hour is twelve slots, and times are the wall clock's.
func TestDaylight(t *testing.T) {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	for _, day := range []time.Time{time.Date(2026, 3, 29, 0, 0, 0, 0, zone),
		time.Date(2026, 10, 25, 0, 0, 0, 0, zone)} {
		at := day.Add(12 * time.Hour)
		start := day.Add(90 * time.Minute) // over the change
		runs := []journal.Run{{Start: start, End: start.Add(time.Hour), Outcome: journal.Failed}}
		h := NewHistory(runs, nil, at, true)
		up := 0
		for _, s := range h.Day.Slots {
			if s == Up || s == Part || s == Failed {
				up++
			}
		}
		if h.Day.Up != time.Hour || h.Week.Up != time.Hour || up != 12 && up != 13 || h.Day.Failed != 1 {
			t.Errorf("%s: up %s, %d slots, %d failed", day.Format(time.DateOnly), h.Day.Up, up, h.Day.Failed)
		}
		p := &Page{Host: "h", Written: at, Names: []Name{{Name: "a", History: h, Last: &runs[0]}}}
		p.Sort()
		if text := string(p.HTML()); !strings.Contains(text, runs[0].End.Format("2006-01-02 15:04")) ||
			!strings.Contains(text, at.Format("MST (UTC-07:00)")) {
			t.Errorf("%s: the page hasn't the time %s", day.Format(time.DateOnly), runs[0].End)
		}
	}
}

// TestOrder checks that runs keep their places after a clock was put back for a while.
func TestOrder(t *testing.T) {
	runs := []journal.Run{run(5*time.Hour, time.Minute, "ok"),
		{Start: time.Unix(0, 0), End: time.Unix(60, 0), Outcome: "ok"},
		{Start: noon.AddDate(10, 0, 0), End: noon.AddDate(10, 0, 1),
			Outcome: "failed"}, run(time.Hour, time.Minute, "ok")}
	if h := NewHistory(runs, nil, noon, true); h.Day.Runs != 2 || h.Day.Failed != 0 {
		t.Errorf("%d runs, %d failed", h.Day.Runs, h.Day.Failed)
	}
}
