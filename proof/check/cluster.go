//go:build linux

package check

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"lifeline/proof/pid"
)

// still is how long a witness must have been silent to count as stopped.
const still = 10 * time.Millisecond

// Run is the life of a witness in a cluster, and the times in which it really ran.
// A stopped witness does nothing. If it is killed before it runs again, the time
// since its stop overlaps with no other run.
type Run struct {
	Life
	Fence uint64
	Tick  string
	// Spans are the times in which the witness ran, by its own beats.
	Spans []Span
	last  int64
}

// Span is a stretch of CLOCK_MONOTONIC.
type Span struct{ From, To int64 }

// Overlap is a time in which too many witnesses ran.
type Overlap struct {
	Span
	Why string
	who []*Run
}

// Cluster is what a log shows of instances on many nodes.
type Cluster struct {
	Runs     []Run
	Overlaps []Overlap
	Fences   []string // fences that didn't rise
	Gaps     []Gap    // times in which fewer witnesses than slots lived
	Faults   int
	Length   time.Duration
}

// Beats adds to the log when each witness ran last, from the files of the witness's
// option -beats. Call Beats after all witnesses have ended, before [Watch.Close].
func (w *Watch) Beats(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err == nil && len(text) == 0 {
			continue // killed before its first beat
		}
		if err != nil || len(text) != 8 {
			return fmt.Errorf("cannot read the beats %s: %v", e.Name(), err)
		}
		w.say(fmt.Sprintf("last %s %d", strings.Replace(e.Name(), "-", " ", 1), *(*int64)(unsafe.Pointer(&text[0]))))
	}
	return nil
}

// JudgeCluster judges the text of a log, when slots instances may run.
func JudgeCluster(text []byte, slots int) (*Cluster, error) {
	var c Cluster
	runs := map[pid.ID]*Run{}
	pauses := map[pid.ID][]Span{}
	var facts []event
	var changes []int64 // faults and their ends
	var begin, end int64
	for e, err := range events(text) {
		if err != nil {
			return nil, err
		}
		r := runs[e.id]
		if r == nil && (e.what == "stop" || e.what == "dead" || e.what == "last" || e.what == "pause") {
			return nil, fmt.Errorf("line %d of the log: %q of a witness that never started", e.line, e.text)
		}
		switch e.what {
		case "begin":
			begin = e.at
		case "end":
			end = e.at
		case "fault":
			changes = append(changes, e.at)
			if !strings.Contains(e.text, " end of ") {
				c.Faults++
			}
		case "start":
			runs[e.id] = newRun(e)
		case "stop":
			r.Stop = e.at
		case "dead":
			r.Dead = e.at
		case "last":
			r.last = e.at
		case "pause":
			pauses[e.id] = append(pauses[e.id], Span{e.since, e.at})
		case "overlap", "both":
			facts = append(facts, e)
		}
	}
	for id, r := range runs {
		r.span(pauses[id], max(end, begin))
		c.Runs = append(c.Runs, *r)
	}
	slices.SortFunc(c.Runs, func(a, b Run) int { return cmp.Compare(a.Start, b.Start) })
	slices.Sort(changes)
	c.Length = time.Duration(end - begin)
	c.sweep(slots)
	c.gaps(slots, begin, end, changes)
	c.facts(slots, runs, facts)
	if slots == 1 {
		c.fences()
	}
	return &c, nil
}

func newRun(e event) *Run {
	r := &Run{Life: Life{ID: e.id, Start: e.at, How: e.how}}
	for _, word := range e.how {
		name, value, _ := strings.Cut(word, "=")
		switch name {
		case "tick":
			r.Tick = value
		case "fence":
			r.Fence, _ = strconv.ParseUint(value, 10, 64)
		}
	}
	return r
}

// span makes the spans between the pauses. The run ends with the witness's own word
// or, if it was killed, with its last beat.
func (r *Run) span(pauses []Span, end int64) {
	switch {
	case r.Stop != 0:
		end = r.Stop
	case r.last != 0:
		end = max(r.last, r.Start)
	case r.Dead != 0:
		end = r.Dead
	}
	from := r.Start
	slices.SortFunc(pauses, func(a, b Span) int { return cmp.Compare(a.From, b.From) })
	add := func(to int64) {
		if to > from { // a witness may be stopped between its last word and its end
			r.Spans = append(r.Spans, Span{from, to})
		}
	}
	for _, p := range pauses {
		add(min(p.From, end))
		from = max(p.To, from)
	}
	add(end)
	if len(r.Spans) == 0 { // the witness ended right after its start
		r.Spans = []Span{{r.Start, r.Start + 1}}
	}
}

// stopped reports whether the witness was stopped at that time, as far as its beats
// show.
func (r *Run) stopped(at int64) bool {
	for i, s := range r.Spans {
		if at >= s.From && at <= s.To {
			return false
		}
		if at > s.To && (i == len(r.Spans)-1 || at < r.Spans[i+1].From) {
			return at-s.To > int64(still)
		}
	}
	return false
}

func (r *Run) String() string { return fmt.Sprintf("%s (node %s, fence %d)", r.ID, r.Node(), r.Fence) }

// sweep goes through the beginnings and ends of all spans in order, and notes the
// overlaps.
func (c *Cluster) sweep(slots int) {
	type step struct {
		at    int64
		by    int
		which *Run
	}
	var steps []step
	for i := range c.Runs {
		for _, s := range c.Runs[i].Spans {
			steps = append(steps, step{s.From, 1, &c.Runs[i]}, step{s.To, -1, &c.Runs[i]})
		}
	}
	slices.SortStableFunc(steps,
		func(a, b step) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by)) })
	var running []*Run
	for _, s := range steps {
		if s.by > 0 {
			running = append(running, s.which)
			if len(running) > slots {
				c.Overlaps = append(c.Overlaps, Overlap{Span{s.at, 0}, describe(running), slices.Clone(running)})
			}
			continue
		}
		i := slices.Index(running, s.which)
		running = slices.Delete(running, i, i+1)
		if len(running) >= slots {
			for j := range c.Overlaps {
				if o := &c.Overlaps[j]; o.To == 0 && slices.Contains(o.who, s.which) {
					o.To = s.at
				}
			}
		}
	}
}

// gaps notes the times in which fewer than slots witnesses lived, running or
// stopped.
func (c *Cluster) gaps(slots int, begin, end int64, changes []int64) {
	type step struct {
		at int64
		by int
	}
	var steps []step
	for _, r := range c.Runs {
		steps = append(steps, step{r.Start, 1}, step{r.Spans[len(r.Spans)-1].To, -1})
	}
	slices.SortStableFunc(steps,
		func(a, b step) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by)) })
	living := 0
	from := begin // since when fewer live; -1: all live
	for _, s := range steps {
		living += s.by
		switch {
		case living == slots && s.by > 0:
			c.gap(from, s.at, changes, false)
			from = -1
		case living == slots-1 && s.by < 0:
			from = s.at
		}
	}
	if from >= 0 {
		c.gap(from, end, changes, true)
	}
}

func (c *Cluster) gap(from, to int64, changes []int64, open bool) {
	if from < 0 || to <= from {
		return
	}
	calm := max(from, between(changes, from, to))
	c.Gaps = append(c.Gaps, Gap{From: from, To: to, Calm: time.Duration(to - calm), Open: open})
}

func describe(running []*Run) string {
	var list []string
	for _, r := range running {
		list = append(list, r.String())
	}
	return strings.Join(list, " beside ")
}

// facts adds the overlaps that the witnesses' lock and the watch have seen at the
// moment of a start. They are exact, while beats are a millisecond apart. A witness
// that was stopped at that moment doesn't count.
func (c *Cluster) facts(slots int, runs map[pid.ID]*Run, facts []event) {
	beside := map[pid.ID][]string{}
	excused := map[pid.ID]bool{}
	locked := map[pid.ID]bool{}
	for _, e := range facts {
		b := runs[e.id]
		if e.what == "overlap" {
			locked[e.id] = true
			continue
		}
		a := runs[e.other]
		if a == nil || b == nil {
			continue
		}
		if a.Start > b.Start {
			a, b = b, a
		}
		if a.stopped(b.Start) {
			excused[b.ID] = true
		} else {
			beside[b.ID] = append(beside[b.ID], a.String())
		}
	}
	if slots == 1 {
		for id := range locked {
			if len(beside[id]) == 0 && !excused[id] && !c.excused(runs[id]) {
				beside[id] = append(beside[id], "a witness that had the lock")
			}
		}
	}
	for id, others := range beside {
		b := runs[id]
		if len(others)+1 <= slots || b == nil || slices.ContainsFunc(c.Overlaps,
			func(o Overlap) bool { return o.From == b.Start }) {
			continue
		}
		c.Overlaps = append(c.Overlaps, Overlap{Span{b.Start, b.Start}, fmt.Sprintf("%s started beside %s", b,
			strings.Join(others, ", ")), nil})
	}
	slices.SortFunc(c.Overlaps, func(a, b Overlap) int { return cmp.Compare(a.From, b.From) })
}

// excused reports whether a stopped witness held the lock when b started, and was
// killed before the watch could examine it.
func (c *Cluster) excused(b *Run) bool {
	if b == nil {
		return false // b ended before its first line
	}
	for i := range c.Runs {
		a := &c.Runs[i]
		if a.Start < b.Start && (a.Dead == 0 || a.Dead > b.Start) && a.Stop == 0 && a.stopped(b.Start) {
			return true
		}
	}
	return false
}

// fences notes each fence that didn't rise from one grant to the next. A worker that
// was started again under the same grant has the same fence.
func (c *Cluster) fences() {
	var top Run
	for _, r := range c.Runs {
		if r.Fence < top.Fence || r.Fence == top.Fence && r.Fence != 0 && r.Node() != top.Node() {
			c.Fences = append(c.Fences, fmt.Sprintf("%s after %s", &r, &top))
		}
		if r.Fence >= top.Fence {
			top = r
		}
	}
}

// Longest returns the longest of the overlaps.
func (c *Cluster) Longest() time.Duration {
	var longest int64
	for _, o := range c.Overlaps {
		longest = max(longest, o.To-o.From)
	}
	return time.Duration(longest)
}

// Lengths returns the lengths of the gaps. With calm it returns only their parts
// after the last change.
func (c *Cluster) Lengths(calm bool) []time.Duration {
	var list []time.Duration
	for _, g := range c.Gaps {
		if calm {
			list = append(list, g.Calm)
		} else {
			list = append(list, g.Length())
		}
	}
	slices.Sort(list)
	return list
}
