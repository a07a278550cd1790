package node

import (
	"testing"
	"time"
)

func TestScheduleRefuses(t *testing.T) {
	for _, text := range []string{"", "x", "* * * *", "61 * * * *", "* * * * * * * *", "CRON_TZ=Nowhere/Land * * * * *",
		"TZ=Europe/Berlin", "0 0 30 2 *"} {
		if s, err := parseSchedule(text); err == nil {
			t.Errorf("%q is taken for %+v", text, s)
		}
	}
	for _, text := range []string{"* * * * *", "@hourly", "*/5 8-18 * * 1-5", "CRON_TZ=Asia/Kolkata 30 2 * * *",
		"TZ=UTC @daily", "0 0 29 2 *"} {
		if _, err := parseSchedule(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// ticksOf lists the ticks after from, up to to.
func ticksOf(t *testing.T, text, from, to string) (out []string) {
	t.Helper()
	s, err := parseSchedule(text)
	if err != nil {
		t.Fatal(err)
	}
	at, err1 := time.Parse(time.RFC3339, from)
	end, err2 := time.Parse(time.RFC3339, to)
	if err1 != nil || err2 != nil {
		t.Fatal(err1, err2)
	}
	for {
		next := s.next(at)
		if !next.After(at) {
			t.Fatalf("%s: after %s comes %s", text, at, next)
		}
		if next.After(end) {
			return out
		}
		out = append(out, next.Format(time.RFC3339))
		at = next
	}
}

func TestScheduleTicks(t *testing.T) {
	for _, test := range []struct {
		name, text, from, to string
		want                 []string
	}{
		{"minutes", "*/20 * * * *", "2026-01-01T00:00:00Z", "2026-01-01T01:00:00Z",
			[]string{"2026-01-01T00:20:00Z", "2026-01-01T00:40:00Z", "2026-01-01T01:00:00Z"}},
		{"a zone", "CRON_TZ=Asia/Kolkata 30 2 * * *", "2026-01-01T00:00:00Z", "2026-01-02T23:00:00Z",
			[]string{"2026-01-01T21:00:00Z", "2026-01-02T21:00:00Z"}},
		// Berlin puts its clocks from 02:00 to 03:00 on 2026-03-29 at 01:00 UTC.
		{"left out: right after the jump", "CRON_TZ=Europe/Berlin 30 2 * * *", "2026-03-28T00:00:00Z",
			"2026-03-30T12:00:00Z",
			[]string{"2026-03-28T01:30:00Z", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"}},
		{"left out, every hour", "CRON_TZ=Europe/Berlin 30 * * * *", "2026-03-28T23:45:00Z", "2026-03-29T02:45:00Z",
			[]string{"2026-03-29T00:30:00Z", "2026-03-29T01:30:00Z", "2026-03-29T02:30:00Z"}},
		// And from 03:00 back to 02:00 on 2026-10-25 at 01:00 UTC.
		{"twice: once", "CRON_TZ=Europe/Berlin 30 2 * * *", "2026-10-24T12:00:00Z", "2026-10-26T12:00:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"}},
		{"twice, every hour: each", "CRON_TZ=Europe/Berlin 30 * * * *", "2026-10-24T23:45:00Z", "2026-10-25T02:45:00Z",
			[]string{"2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z", "2026-10-25T02:30:00Z"}},
		{"several hours over the jump back", "CRON_TZ=Europe/Berlin 0 1-4 * * *", "2026-10-24T12:00:00Z",
			"2026-10-25T12:00:00Z",
			[]string{"2026-10-24T23:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z", "2026-10-25T03:00:00Z"}},
		{"weekday or day", "0 0 13 * 5", "2026-02-01T00:00:00Z", "2026-02-21T00:00:00Z",
			[]string{"2026-02-06T00:00:00Z", "2026-02-13T00:00:00Z", "2026-02-20T00:00:00Z"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Setenv("TZ", "UTC")
			old := time.Local
			time.Local = time.UTC
			defer func() { time.Local = old }()
			got := ticksOf(t, test.text, test.from, test.to)
			if len(got) != len(test.want) {
				t.Fatalf("%s gives\n%q, not\n%q", test.text, got, test.want)
			}
			for i := range got {
				if got[i] != test.want[i] {
					t.Fatalf("%s gives\n%q, not\n%q", test.text, got, test.want)
				}
			}
		})
	}
}

// TestScheduleAgrees checks that all nodes give a tick the same label, from any
// starting time.
func TestScheduleAgrees(t *testing.T) {
	for _, text := range []string{"CRON_TZ=America/New_York 15 1,2,3 * * *", "CRON_TZ=Australia/Lord_Howe 45 1 * * *",
		"CRON_TZ=Europe/Berlin */7 * * * *"} {
		s, err := parseSchedule(text)
		if err != nil {
			t.Fatal(err)
		}
		at := time.Date(2026, 3, 7, 0, 0, 0, 0, time.UTC)
		for range 300 {
			next := s.next(at)
			for _, d := range []time.Duration{next.Sub(at) / 3, next.Sub(at) / 2, next.Sub(at) - time.Second} {
				if got := s.next(at.Add(d)); !got.Equal(next) {
					t.Fatalf("%s: after %s comes %s, but after %s %s", text, at, next, at.Add(d), got)
				}
			}
			if last, err := s.last(next.Add(time.Second)); err != nil || !last.Equal(next) {
				t.Fatalf("%s: the last before %s+1s is %s, %v", text, next, last, err)
			}
			at = next
		}
	}
}
