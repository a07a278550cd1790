//go:build linux

package check

import (
	"strings"
	"testing"
	"time"
)

// TestJudgeCluster judges logs whose times are in milliseconds.
func TestJudgeCluster(t *testing.T) {
	for _, c := range []struct {
		name, log               string
		slots, overlaps, fences int
		longest                 time.Duration
		gaps, short             int // short: of the last gap, in ms after the last change
	}{
		{name: "one after the other", slots: 1, gaps: 2, short: 30,
			log: "begin 0\nstart 1 1 10 node=a fence=1\nfault 45 KILL\ndead 1 1 60\nlast 1 1 49\nstart 2 2 79 node=b " +
				"fence=2\nlast 2 2 100\nend 100"},
		{name: "both ran", slots: 1, overlaps: 1, longest: 20, gaps: 1,
			log: "begin 0\nstart 1 1 10\nstart 2 2 70\nlast 1 1 90\nlast 2 2 100\nend 100"},
		{name: "a death seen late is no overlap", slots: 1, gaps: 2,
			log: "begin 0\nstart 1 1 10\nstart 2 2 70\ndead 1 1 90\nlast 1 1 65\nlast 2 2 100\nend 100"},
		{name: "stopped, and killed before it ran again", slots: 1, gaps: 2,
			log: "begin 0\nstart 1 1 10\noverlap 2 2 70\nstart 2 2 70\nboth 2 2 71 1 1\ndead 1 1 90\nlast 1 1 " +
				"30\nlast 2 2 100\nend 100"},
		{name: "the same, dead before the watch looked", slots: 1, gaps: 2,
			log: "begin 0\nstart 1 1 10\noverlap 2 2 70\nstart 2 2 70\ndead 1 1 71\nlast 1 1 " +
				"30\nlast 2 2 100\nend 100"},
		{name: "stopped, and ran again for a moment", slots: 1, overlaps: 1, longest: 2, gaps: 1,
			log: "begin 0\nstart 1 1 10\noverlap 2 2 70\nstart 2 2 70\nboth 2 2 71 1 1\npause 1 1 88 30\ndead 1 1 " +
				"91\nlast 1 1 90\nlast 2 2 100\nend 100"},
		{name: "between two beats", slots: 1, overlaps: 1, gaps: 2,
			log: "begin 0\nstart 1 1 10\nstart 2 2 70\nboth 2 2 70 1 1\ndead 1 1 71\nlast 1 1 " +
				"69\nlast 2 2 100\nend 100"},
		{name: "only the lock knows", slots: 1, overlaps: 1, gaps: 2,
			log: "begin 0\nstart 1 1 10\noverlap 2 2 70\nstart 2 2 70\ndead 1 1 70\nlast 1 1 " +
				"69\nlast 2 2 100\nend 100"},
		{name: "a fence that falls", slots: 1, fences: 1, gaps: 2,
			log: "begin 0\nstart 1 1 10 node=a fence=5\nstop 1 1 20\nstart 2 2 30 node=b " +
				"fence=4\nlast 2 2 100\nend 100"},
		{name: "a fence that two nodes have", slots: 1, fences: 1, gaps: 2,
			log: "begin 0\nstart 1 1 10 node=a fence=5\nstop 1 1 20\nstart 2 2 30 node=b " +
				"fence=5\nlast 2 2 100\nend 100"},
		{name: "respawned under one grant", slots: 1, gaps: 2,
			log: "begin 0\nstart 1 1 10 node=a fence=5\nstop 1 1 20\nstart 2 2 30 node=a " +
				"fence=5\nlast 2 2 100\nend 100"},
		{name: "slow to end after its last word", slots: 1, gaps: 2,
			log: "begin 0\nstart 1 1 10\nstop 1 1 60\npause 1 1 75 61\ndead 1 1 76\nlast 1 1 75\nstart 2 2 80\nlast " +
				"2 2 100\nend 100"},
		{name: "two of two", slots: 2, gaps: 1,
			log: "begin 0\nstart 1 1 10\nstart 2 2 20\nlast 1 1 100\nlast 2 2 100\nend 100"},
		{name: "three of two", slots: 2, overlaps: 1, longest: 10, gaps: 2,
			log: "begin 0\nstart 1 1 10\nstart 2 2 20\nstart 3 3 30\nstop 2 2 40\nstop 3 3 50\nlast 1 1 100\nend 100"},
		{name: "no instance came", slots: 1, gaps: 2, short: 60,
			log: "begin 0\nstart 1 1 10\nstop 1 1 20\nfault 40 end of partition\nend 100"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var log strings.Builder
			for line := range strings.Lines(c.log) { // the times to nanoseconds
				words := strings.Fields(line)
				for i := range words {
					at := map[string]int{"begin": 1, "end": 1, "fault": 1}[words[0]]
					if at == 0 {
						at = 3
					}
					if i == at || words[0] == "pause" && i == 4 {
						words[i] += "000000"
					}
				}
				log.WriteString(strings.Join(words, " ") + "\n")
			}
			got, err := JudgeCluster([]byte(log.String()), c.slots)
			if err != nil {
				t.Fatal(err)
			}
			if len(got.Overlaps) != c.overlaps || got.Longest() != c.longest*time.Millisecond {
				t.Errorf("overlaps %+v, want %d, the longest %d ms", got.Overlaps, c.overlaps, c.longest)
			}
			if len(got.Fences) != c.fences {
				t.Errorf("fences %q, want %d", got.Fences, c.fences)
			}
			if len(got.Gaps) != c.gaps {
				t.Errorf("gaps %+v, want %d", got.Gaps, c.gaps)
			} else if last := got.Gaps[len(got.Gaps)-1]; c.short > 0 &&
				last.Calm != time.Duration(c.short)*time.Millisecond {
				t.Errorf("the last gap %+v, want %d ms of calm", last, c.short)
			}
		})
	}
}
