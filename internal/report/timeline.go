package report

import (
	"slices"
	"time"

	"lifeline/internal/journal"
)

// Slot is how one piece of a timeline went: the worst that was in it.
type Slot uint8

const (
	None    Slot = iota // it didn't run
	Part                // it ran for a part of the slot
	Up                  // it ran for the whole of it
	Stopped             // a run was ended because it was asked to
	Unknown             // a run whose end is not known, or there is no record
	Failed              // a run ended in any other way
)

// Timeline is a span of time in slots of equal length, with what a person wants
// to know of it in numbers.
type Timeline struct {
	From, To time.Time
	Slots    []Slot
	Skipped  []bool // a run that ended in the slot kept ticks from starting another
	Up       time.Duration

	// Runs counts those that ended in the span.
	Runs, OK, Failed, Stopped, Unknown int
	LastFailed                         time.Time
}

// whole is the share of a slot from which on it counts as whole.
const whole = 0.99

// NewTimeline draws the last d before at in n slots. runs are in the order of
// their ends; up is since when the present run goes on, nil for none; complete
// says that runs has the first run of all. Runs that overlap, as in a reload,
// count once.
func NewTimeline(runs []journal.Run, up *time.Time, at time.Time, d time.Duration, n int, complete bool) Timeline {
	t := Timeline{From: at.Add(-d), To: at, Slots: make([]Slot, n), Skipped: make([]bool, n)}
	ran := make([]time.Duration, n)
	step := d / time.Duration(n)
	slot := func(when time.Duration) int { return min(max(int(when/step), 0), n-1) }
	covered := time.Duration(0) // of the span, from its beginning
	add := func(start, end time.Duration) {
		start, end = max(start, covered), min(end, d)
		if end <= start {
			return
		}
		covered = end
		t.Up += end - start
		for i := slot(start); i < n && time.Duration(i)*step < end; i++ {
			ran[i] += min(time.Duration(i+1)*step, end) - max(time.Duration(i)*step, start)
		}
	}
	for i := range runs {
		r := &runs[i]
		if r.End.Before(t.From) {
			continue
		}
		end := r.End.Sub(t.From)
		add(r.Start.Sub(t.From), end)
		if end > d {
			continue
		}
		at, how := slot(end), None
		t.Runs++
		switch r.Outcome {
		case "ok":
			t.OK++
			how = Part // a run that is too short to be seen is seen
		case "stopped":
			t.Stopped++
			how = Stopped
		case "unknown", journal.Lost:
			t.Unknown++
			how = Unknown
		default:
			t.Failed++
			t.LastFailed = r.End
			how = Failed
		}
		t.Slots[at] = max(t.Slots[at], how)
		t.Skipped[at] = t.Skipped[at] || r.Skipped > 0
	}
	if up != nil {
		add(up.Sub(t.From), d)
	}
	for i, spent := range ran {
		switch {
		case t.Slots[i] > Up:
		case spent.Seconds() > whole*step.Seconds():
			t.Slots[i] = Up
		case spent > 0:
			t.Slots[i] = Part
		}
	}
	if len(runs) > 0 && !complete && runs[0].Start.After(t.From) {
		for i := range slot(runs[0].Start.Sub(t.From)) {
			t.Slots[i] = Unknown
		}
	}
	return t
}

// Coarser is the timeline with by slots in the place of one: the worst of them,
// and whole only where all are.
func (t Timeline) Coarser(by int) Timeline {
	slots, skipped := make([]Slot, 0, len(t.Slots)/by+1), make([]bool, 0, len(t.Slots)/by+1)
	for some := range slices.Chunk(t.Slots, by) {
		worst := slices.Max(some)
		if worst == Up && slices.Min(some) < Up {
			worst = Part
		}
		slots = append(slots, worst)
	}
	for some := range slices.Chunk(t.Skipped, by) {
		skipped = append(skipped, slices.Contains(some, true))
	}
	t.Slots, t.Skipped = slots, skipped
	return t
}

// slots is how many slots t has with by of them in the place of one.
func slots(t Timeline, by int) int { return (len(t.Slots) + by - 1) / by }

// Share is how much of the span it was up, from 0 to 1.
func (t Timeline) Share() float64 { return t.Up.Seconds() / t.To.Sub(t.From).Seconds() }

// Lengths are how long the last runs took.
type Lengths struct {
	Bars            []Bar // the oldest first
	Median, Longest time.Duration
	Runs            int // of which Median and Longest are taken
}

// last is l with the last n bars.
func (l Lengths) last(n int) Lengths {
	l.Bars = l.Bars[max(0, len(l.Bars)-n):]
	return l
}

// Bar is one run.
type Bar struct {
	Length time.Duration
	Failed bool
}

// NewLengths takes the last n runs as bars, and all of them for the rest. What
// was asked to end says nothing about how long it takes.
func NewLengths(runs []journal.Run, n int) Lengths {
	var l Lengths
	all := make([]time.Duration, 0, len(runs))
	for i := range runs {
		r := &runs[i]
		if r.Outcome == "stopped" || r.Outcome == journal.Lost || r.Outcome == "unknown" {
			continue
		}
		all = append(all, r.Length())
		if len(runs)-i <= n {
			l.Bars = append(l.Bars, Bar{r.Length(), !r.Good()})
		}
	}
	if len(all) == 0 {
		return l
	}
	slices.Sort(all)
	l.Runs, l.Median, l.Longest = len(all), all[len(all)/2], all[len(all)-1]
	return l
}
