package doctor

import (
	"testing"
	"time"

	"lifeline/install"
	"lifeline/internal/journal"
)

func TestStuck(t *testing.T) {
	run := func(length time.Duration, outcome string) journal.Run {
		return journal.Run{Start: time.Unix(0, 0), End: time.Unix(0, 0).Add(length), Outcome: outcome}
	}
	usual := []journal.Run{run(10*time.Second, "ok"), run(time.Hour, "failed"), run(12*time.Second, "ok"),
		run(11*time.Second, "ok")}
	for _, tt := range []struct {
		runs []journal.Run
		now  time.Duration
		want bool
	}{
		{usual, 5 * time.Minute, true},
		{usual, 100 * time.Second, false},   // under ten times
		{usual[:3], 5 * time.Minute, false}, // two good runs tell nothing
		{[]journal.Run{run(0, "ok"), run(0, "ok"), run(0, "ok")}, 59 * time.Second, false},
		{[]journal.Run{run(0, "ok"), run(0, "ok"), run(0, "ok")}, time.Minute, true},
	} {
		if _, stuck := IsStuck(tt.runs, tt.now); stuck != tt.want {
			t.Errorf("after %s: %v", tt.now, stuck)
		}
	}
}

func TestMissed(t *testing.T) {
	daily, err := install.ParseTimes("0 3 * * *")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2024, 5, 5, 9, 0, 0, 0, time.UTC)
	for hours, want := range map[int]bool{30: true, 6: false, 5: false, 24: true} { // age of the last trace
		due, seen, is := missed(daily, now,
			[]time.Time{{}, now.Add(-time.Duration(hours) * time.Hour), now.Add(-31 * time.Hour)})
		if is != want || due.Hour() != 3 || due.Day() != 5 || now.Sub(seen) != time.Duration(hours)*time.Hour {
			t.Errorf("%d hours: due %s, seen %s, %v", hours, due, seen, is)
		}
	}
}
