package tasks

import (
	"bytes"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"lifeline/internal/journal"
)

// TestStatusFitsTheTerminal checks that the table fits a narrow terminal. Before, every
// narrower terminal wrapped it, and nothing could be told from it. Only what is too
// long for a line may be cut.
func TestStatusFitsTheTerminal(t *testing.T) {
	since, ago := time.Now().Add(-50*time.Hour), time.Now().Add(-99*time.Hour)
	list := []instanceStatus{
		{Name: "web", State: "running", Running: true, PID: 1234567, UpSince: &since, Processes: 3, Memory: 123 << 20,
			Status: "serving 12 requests a second", Restarts: 3, Node: "a-node", Fence: 77},
		{Name: "nightly-report-of-everything", State: stateDown, InCrontab: true, NextTick: &since,
			Failing: &since, LastSuccess: &ago,
			Last: &journal.Run{Start: since, End: since, Outcome: "failed", Code: 3}},
		{Name: strings.Repeat("n", 128), State: "ready", Running: true, PID: 7, Status: strings.Repeat("long ", 50)},
	}
	for _, width := range []int{0, 40, 80, 120, 500} {
		var out bytes.Buffer
		writeTable(&out, list, false, width)
		for line := range strings.Lines(out.String()) {
			if n := utf8.RuneCountInString(line) - 1; width > 0 && n > width {
				t.Errorf("%d columns of %d: %q", n, width, line)
			}
		}
		for _, want := range []string{"web ", "1234567", "serving 12", "failing since", "nightly"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("%d columns: %q isn't there:\n%s", width, want, out.String())
			}
		}
	}
}

func TestWatchKeepsItsHeader(t *testing.T) {
	text := "NAME\na\nb\nc\nd\n"
	for lines, want := range map[int]string{0: text, 5: text, 9: text, 4: "NAME\na\nb\n… and 2 lines more\n"} {
		if got := upTo(text, lines); got != want {
			t.Errorf("%d lines: %q", lines, got)
		}
	}
}
