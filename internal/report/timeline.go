package report

import (
	"slices"
	"time"

	"lifeline/internal/journal"
)

// Slot is the worst that happened in a piece of a timeline.
type Slot uint8

const (
	None    Slot = iota // the worker didn't run
	Part                // the worker ran for a part of the slot
	Up                  // the worker ran for the whole slot
	Stopped             // a run was stopped
	Unknown             // a run whose end is not known, or there is no record
	Failed              // a run ended in any other way
)

// Timeline is a span of time in slots of equal length, with its runs in numbers.
type Timeline struct {
	From, To time.Time
	Slots    []Slot
	Skipped  []bool // a run that ended in the slot kept ticks from starting another
	Up       time.Duration

	// Runs counts the runs that ended in the span.
	Runs, OK, Failed, Stopped, Unknown int
	LastFailed                         time.Time
}

// whole is the least share of a slot that counts as the whole slot.
const whole = 0.99

// NewTimeline returns the time d before at in n slots. runs are in the order of their
// ends. up is the start of the present run, nil for none. complete says that runs begins
// with the first run of all. Time in which runs overlap, as in a reload, counts once.
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
			how = Part // even a very short run is shown
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

// Coarser returns the timeline with each by slots as one slot: the worst of them, and Up
// only if all are Up.
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

// slots returns how many slots t.Coarser(by) has.
func slots(t Timeline, by int) int { return (len(t.Slots) + by - 1) / by }

// Share returns the up time's share of the span, from 0 to 1.
func (t Timeline) Share() float64 { return t.Up.Seconds() / t.To.Sub(t.From).Seconds() }

// Lengths are how long the last runs took.
type Lengths struct {
	Bars            []Bar // the oldest first
	Median, Longest time.Duration
	Runs            int // the runs that Median and Longest are of
}

// last returns l with only the last n bars.
func (l Lengths) last(n int) Lengths {
	l.Bars = l.Bars[max(0, len(l.Bars)-n):]
	return l
}

// Bar is the length of a run.
type Bar struct {
	Length time.Duration
	Failed bool
}

// NewLengths returns the last n runs as bars, with the figures of all runs. It leaves out
// runs that were stopped or whose end is unknown.
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
