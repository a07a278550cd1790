//go:build linux

package check

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lifeline/proof/pid"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		name, log                     string
		overlaps, gaps                int
		median, longest, longestCalm  time.Duration
		wantLives, wantFaults, openAt int
	}{
		{name: "one life", log: "begin 100\nstart 1 1 110\nend 200\n",
			gaps: 1, median: 10, longest: 10, longestCalm: 10, wantLives: 1},
		{name: "stop, then the next",
			log:  "begin 100\nstart 1 1 100\nstop 1 1 150\ndead 1 1 155\nstart 2 2 170\nend 200\n",
			gaps: 1, median: 20, longest: 20, longestCalm: 20, wantLives: 2},
		{name: "killed, seen dead", log: "begin 100\nstart 1 1 100\nfault 149 KILL\ndead 1 1 " +
			"155\nstart 2 2 170\nend 200\n",
			gaps: 1, median: 15, longest: 15, longestCalm: 15, wantLives: 2, wantFaults: 1},
		{name: "a death seen late is no overlap",
			log:       "begin 100\nstart 1 1 100\ndead 1 1 175\nstart 2 2 170\nend 200\n",
			wantLives: 2},
		{name: "a stop after the next start is one",
			log:      "begin 100\nstart 1 1 100\nstart 2 2 170\nstop 1 1 175\nend 200\n",
			overlaps: 1, wantLives: 2},
		{name: "the lock says so", log: "begin 100\nstart 1 1 100\noverlap 2 2 120\nstart 2 2 " +
			"120\ndead 1 1 130\nend 200\n",
			overlaps: 1, wantLives: 2},
		{name: "seen alive after the next start",
			log:      "begin 100\nstart 1 1 100\nstart 2 2 120\nboth 2 2 121 1 1\ndead 1 1 130\nend 200\n",
			overlaps: 1, wantLives: 2},
		{name: "counted once, in either order of the lines",
			log:      "begin 100\noverlap 2 2 101\nstart 2 2 101\nstart 1 1 102\nboth 1 1 103 2 2\nend 200\n",
			overlaps: 1, gaps: 1, median: 1, longest: 1, longestCalm: 1, wantLives: 2},
		{name: "killed between overlap and start", log: "begin 100\nstart 1 1 100\noverlap 2 2 120\nend 200\n",
			overlaps: 1, wantLives: 1},
		{name: "calm after the last fault", log: "begin 100\nstart 1 1 100\nfault 110 a\ndead 1 1 111\nfault 150 " +
			"b\nstart 2 2 170\nend 200\n",
			gaps: 1, median: 59, longest: 59, longestCalm: 20, wantLives: 2, wantFaults: 2},
		{name: "no instance until the end", log: "begin 100\nstart 1 1 100\ndead 1 1 111\nend 200\n",
			gaps: 1, median: 89, longest: 89, longestCalm: 89, wantLives: 1, openAt: 1},
		{name: "swept by the driver",
			log:       "begin 100\nstart 1 1 100\ndead 1 1 111\nreset 120\nstart 2 2 170\nend 200\n",
			wantLives: 2},
		{name: "an overlap ends, the other lives on", log: "begin 100\nstart 1 1 100\noverlap 2 2 110\nstart 2 2 " +
			"110\nstop 2 2 120\nstart 3 3 130\noverlap 3 3 130\ndead 3 3 140\ndead 1 1 150\nend 160\n",
			overlaps: 2, gaps: 1, median: 10, longest: 10, longestCalm: 10, wantLives: 3, openAt: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := Judge([]byte(c.log))
			if err != nil {
				t.Fatal(err)
			}
			open := 0
			for _, g := range r.Gaps {
				if g.Open {
					open++
				}
			}
			got := fmt.Sprintln(r.Overlaps, len(r.Gaps), r.Median(), r.Longest().Length(),
				r.LongestCalm().Calm, len(r.Lives),
				r.Faults, open)
			want := fmt.Sprintln(c.overlaps, c.gaps, c.median, c.longest, c.longestCalm, c.wantLives,
				c.wantFaults, c.openAt)
			if got != want {
				t.Errorf("overlaps, gaps, median, longest, calm, lives, faults, open\n got %s\nwant %s", got, want)
			}
		})
	}
}

func TestJudgeRefuses(t *testing.T) {
	for _, log := range []string{"start 1 2\n", "what 1\n", "begin x\n", "stop 1 1 5\n", "both 1 1 5 2\n"} {
		if _, err := Judge([]byte(log)); err == nil {
			t.Errorf("%q was understood", log)
		}
	}
}

func TestQuantile(t *testing.T) {
	var list []time.Duration
	for n := range 100 {
		list = append(list, time.Duration(100-n))
	}
	if got := []time.Duration{Quantile(list, 0.5), Quantile(list, 0.99), Quantile(list, 1),
		Quantile(nil, 0.5)}; fmt.Sprint(got) != "[51ns 100ns 100ns 0s]" {
		t.Error(got)
	}
}

// TestWatch lets two shells play witnesses that overlap. One is killed, so it can't
// log its end.
func TestWatch(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	w, err := Follow(path)
	if err != nil {
		t.Fatal(err)
	}
	w.Note("begin", "")
	var cmds []*exec.Cmd
	for range 2 {
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		defer cmd.Process.Kill()
		s, err := pid.Look(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		changed := w.Changed()
		w.say(fmt.Sprintf("start %s %d", s.ID, pid.Now()))
		<-changed
		cmds = append(cmds, cmd)
	}
	if n := len(w.Living()); n != 2 || w.Started() != 2 {
		t.Errorf("%d of 2 seen alive, %d starts", n, w.Started())
	}
	// A process with the same pid and another start time isn't the witness.
	w.say(fmt.Sprintf("start %d %d %d", os.Getpid(), 1, pid.Now()))
	for _, cmd := range cmds {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	w.Note("end", "")
	r, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	text, _ := os.ReadFile(path)
	if len(r.Lives) != 3 || r.Overlaps < 1 || r.Lives[0].Dead == 0 || r.Lives[1].Dead == 0 || r.Lives[2].Dead == 0 {
		t.Errorf("%s\n%s", r, text)
	}
	if !strings.Contains(string(text), "both ") {
		t.Errorf("no line says that both lived:\n%s", text)
	}
}
