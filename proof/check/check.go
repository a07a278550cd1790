//go:build linux

// Package check judges a run by its log. The witnesses write into it when they
// start and stop (see the program witness). A [Watch] adds what is seen only
// from outside:
//
//	dead PID TICKS NS               the witness was seen dead, by pidfd
//	both PID TICKS NS PID TICKS     the first had started while the second was alive at NS
//	begin NS   end NS               the run begins, ends
//	reset NS                        the driver itself ended every process
//	tick NS                         a tick starts
//	fault NS TEXT                   a fault begins or ends
//	still NS                        a fault goes on
//
// So the log alone is the evidence, and can be judged again later:
//
//	report, err := check.Read("run.log")
//	fmt.Println(report)
package check

import (
	"bytes"
	"cmp"
	"fmt"
	"iter"
	"os"
	"slices"
	"strings"
	"time"

	"lifeline/proof/pid"
)

// Life is the life of one witness.
type Life struct {
	pid.ID
	Start int64 // CLOCK_MONOTONIC
	Stop  int64 // as the witness said; 0 when it couldn't
	Dead  int64 // when the death was seen, at or after the death; 0: alive at the end of the log
	// Overlap says that another witness lived when this witness started.
	Overlap bool
	How     []string // the witness's words at its start
}

// Node returns the node that the witness said it is on.
func (l Life) Node() string {
	for _, word := range l.How {
		if node, ok := strings.CutPrefix(word, "node="); ok {
			return node
		}
	}
	return ""
}

// End returns when the life ended, as exactly as is known; 0 for a living witness.
func (l Life) End() int64 {
	if l.Stop != 0 {
		return l.Stop
	}
	return l.Dead
}

// Gap is a time without an instance.
type Gap struct {
	From, To int64
	// Calm is the part of the gap after the last fault.
	Calm time.Duration
	// Ticks came within Calm. The first of them should have ended the gap,
	// however slow the machine.
	Ticks int
	Open  bool // no instance had come by the end of the run
}

// Length returns how long the gap was.
func (g Gap) Length() time.Duration { return time.Duration(g.To - g.From) }

// Report is what a log shows.
type Report struct {
	Lives    []Life
	Overlaps int // starts beside a living witness
	Evidence []string
	Gaps     []Gap
	Faults   int
	Length   time.Duration
}

// Read judges the log at path.
func Read(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the log: %w", err)
	}
	return Judge(text)
}

// Judge judges the text of a log.
func Judge(text []byte) (*Report, error) {
	var (
		r          Report
		lives      = map[pid.ID]*Life{}
		over       = map[pid.ID]bool{}
		both       []event
		faults     []int64
		resets     []int64
		ticks      []int64
		begin, end int64
	)
	for e, err := range events(text) {
		if err != nil {
			return nil, err
		}
		switch e.what {
		case "begin":
			begin = e.at
		case "end":
			end = e.at
		case "reset":
			resets = append(resets, e.at)
		case "tick":
			ticks = append(ticks, e.at)
		case "still": // a fault goes on
			faults = append(faults, e.at)
		case "fault":
			r.Faults++
			faults = append(faults, e.at)
		case "start":
			lives[e.id] = &Life{ID: e.id, Start: e.at}
		case "overlap":
			over[e.id] = true
			r.Evidence = append(r.Evidence, e.text)
		case "both":
			both = append(both, e)
			r.Evidence = append(r.Evidence, e.text)
		case "stop", "dead":
			l := lives[e.id]
			if l == nil {
				return nil, fmt.Errorf("line %d of the log: %q of a witness that never started", e.line, e.text)
			}
			if e.what == "stop" {
				l.Stop = e.at
			} else {
				l.Dead = e.at
			}
		}
	}
	for _, l := range lives {
		r.Lives = append(r.Lives, *l)
	}
	slices.SortFunc(r.Lives, func(a, b Life) int { return cmp.Compare(a.Start, b.Start) })
	for _, e := range both {
		// Of two overlapping witnesses one counts. Mostly an "overlap" line has
		// counted one already, either of the two.
		if !over[e.id] && !over[e.other] {
			over[e.id] = true
		}
	}
	r.overlaps(over)
	for _, list := range [][]int64{faults, resets, ticks} {
		slices.Sort(list) // lines of two threads may be out of order
	}
	r.gaps(begin, end, faults, resets)
	for i := range r.Gaps {
		g := &r.Gaps[i]
		g.Ticks = count(ticks, g.To-int64(g.Calm), g.To)
	}
	r.Length = time.Duration(end - begin)
	return &r, nil
}

// overlaps counts each start beside a living witness once. A witness's own "stop"
// is proof. A death may be seen late from outside, so it proves nothing here.
func (r *Report) overlaps(over map[pid.ID]bool) {
	var last Life // the witness that stops last so far
	for i := range r.Lives {
		l := &r.Lives[i]
		if last.Stop > l.Start && !over[l.ID] && !over[last.ID] {
			r.Evidence = append(r.Evidence,
				fmt.Sprintf("%s started at %d, before %s stopped at %d", l.ID, l.Start, last.ID, last.Stop))
			over[l.ID] = true
		}
		if l.Stop > last.Stop {
			last = *l
		}
		l.Overlap = over[l.ID]
	}
	r.Overlaps = len(over) // a witness that died between "overlap" and "start" counts too
}

func (r *Report) gaps(begin, end int64, faults, resets []int64) {
	from := begin
	add := func(to int64, open bool) {
		if from == 0 || to <= from || between(resets, from, to) != 0 {
			return
		}
		calm := max(from, between(faults, from, to))
		r.Gaps = append(r.Gaps, Gap{From: from, To: to, Calm: time.Duration(to - calm), Open: open})
	}
	for _, l := range r.Lives {
		if from >= 0 {
			add(l.Start, false)
		}
		switch {
		case l.End() == 0:
			from = -1 // this witness lives to the end: no gap any more
		case from >= 0:
			from = max(from, l.End())
		}
	}
	if end != 0 && from >= 0 {
		add(end, true)
	}
}

// between returns the last time of the sorted list that lies in the interval.
func between(times []int64, from, to int64) int64 {
	i, _ := slices.BinarySearch(times, to)
	if i > 0 && times[i-1] >= from {
		return times[i-1]
	}
	return 0
}

// count returns how many times of the sorted list lie in the interval.
func count(times []int64, from, to int64) int {
	i, _ := slices.BinarySearch(times, from)
	j, _ := slices.BinarySearch(times, to)
	return j - i
}

type event struct {
	what  string
	id    pid.ID
	other pid.ID // of "both"
	at    int64
	since int64    // of "pause"
	how   []string // of "start"
	line  int      // its number in the log
	text  string
}

// events parses the lines of a log.
func events(text []byte) iter.Seq2[event, error] {
	return func(yield func(event, error) bool) {
		for n, line := range bytes.Split(text, []byte("\n")) {
			if len(line) == 0 {
				continue
			}
			e, err := parse(string(line))
			e.line, e.text = n+1, string(line)
			if err != nil {
				err = fmt.Errorf("line %d of the log: %w", e.line, err)
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

func parse(line string) (e event, err error) {
	e.what, _, _ = strings.Cut(line, " ")
	n, want := 0, 4
	switch e.what {
	case "both":
		n, err = fmt.Sscanf(line, "both %d %d %d %d %d", &e.id.PID, &e.id.Ticks, &e.at, &e.other.PID, &e.other.Ticks)
		n, want = n+1, 6
	case "stop", "overlap", "dead":
		n, err = fmt.Sscanf(line, e.what+" %d %d %d", &e.id.PID, &e.id.Ticks, &e.at)
		n++
	case "pause": // see Cluster
		n, err = fmt.Sscanf(line, "pause %d %d %d %d", &e.id.PID, &e.id.Ticks, &e.at, &e.since)
		n, want = n+1, 5
	case "last":
		n, err = fmt.Sscanf(line, "last %d %d %d", &e.id.PID, &e.id.Ticks, &e.at)
		n++
	case "start":
		n, err = fmt.Sscanf(line, "start %d %d %d", &e.id.PID, &e.id.Ticks, &e.at)
		n++
		if words := strings.Fields(line); len(words) > 4 {
			e.how = words[4:]
		}
	case "begin", "end", "reset", "fault", "still", "tick", "closed":
		n, err = fmt.Sscanf(line, e.what+" %d", &e.at)
		n, want = n+1, 2
	default:
		err = fmt.Errorf("unknown")
	}
	if err != nil || n != want {
		return e, fmt.Errorf("cannot understand %q", line)
	}
	return e, nil
}
