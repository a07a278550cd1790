// Package report draws the status of names as a page: an HTML file that works without
// other files, a server or scripts.
//
//	p := report.Page{Host: "web1", Written: time.Now(), Names: []report.Name{…}}
//	html := p.HTML() // at most MaxSize bytes
//
// All that is shown comes in the Page. The package escapes every text of it, because
// workers and other machines have written them.
package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"lifeline/internal/human"
	"lifeline/internal/journal"
)

// MaxSize is the largest size of a page, in bytes.
const MaxSize = 1 << 20

// Page is what is shown.
type Page struct {
	Host     string // the machine of the names; "" for a fleet or a cluster
	Written  time.Time
	Every    time.Duration // how often the page is written
	Facts    []Fact        // about the machine
	Wrong    []Wrong
	Names    []Name
	Nodes    []Node // of a cluster; nil for a machine or a fleet
	NoOutput bool
}

// Fact is a line about the machine.
type Fact struct{ Name, Value string }

// Wrong is something that an operator must mend.
type Wrong struct {
	Machine, Name string // Name is "" for the machine's own
	What          string // in a word: failing, paused, cron
	Text          string
	Advice        string
}

// Name is the status of a name. A nil time is unknown.
type Name struct {
	Machine    string // in a fleet
	Name       string
	Kind       Kind
	State      string
	Since      *time.Time
	Command    string
	Schedule   string
	Next       *time.Time
	Last       *journal.Run
	LastOK     *time.Time
	Failing    *time.Time
	Status     string // the worker's STATUS=
	Problem    string
	Processes  int
	Memory     uint64  // bytes, of the whole tree
	CPU        float64 // seconds
	Supervised bool    // Restarts and Reloads are known
	Restarts   int
	Reloads    int
	Node       string
	Totals     journal.Totals
	History    *History // nil if it is unknown
	Output     *journal.Output

	wrong   bool     // Page.Wrong has something about the name
	trouble []string // the words for what is wrong that State doesn't say
}

// History is what the page shows of a name's runs.
type History struct {
	Day, Week Timeline
	Lengths   Lengths
}

// The resolution of a page's drawings.
const (
	daySlots  = 288 // five minutes
	weekSlots = 168 // an hour
	bars      = 40
)

// NewHistory returns what the page shows of runs; see [NewTimeline].
func NewHistory(runs []journal.Run, up *time.Time, at time.Time, complete bool) *History {
	const day = 24 * time.Hour
	return &History{
		Day:     NewTimeline(runs, up, at, day, daySlots, complete),
		Week:    NewTimeline(runs, up, at, 7*day, weekSlots, complete),
		Lengths: NewLengths(runs, bars),
	}
}

// Kind is what a state means for an operator.
type Kind uint8

const (
	KindBad    Kind = iota // an operator must mend something
	KindPaused             // kept down
	KindBusy               // on its way: starting, backing off, standing by
	KindUp                 // runs
	KindIdle               // doesn't run, as it should be
)

// limits say how much of each name is shown.
type limits struct {
	day, week    int // the number of slots that are drawn as one; 0 for no drawings
	bars         int
	lines, width int // of output
	text         int // characters of a command, a status, a reason
	details      bool
	names        int // 0 for all
}

// levels are tried in turn until the page is small enough.
var levels = []limits{
	{day: 1, week: 1, bars: bars, lines: 20, width: 400, text: 1000, details: true},
	{day: 2, week: 1, bars: bars, lines: 20, width: 160, text: 300, details: true},
	{day: 3, week: 2, bars: bars, lines: 10, width: 120, text: 200, details: true},
	{day: 4, week: 3, bars: bars / 2, lines: 5, width: 100, text: 150, details: true},
	{day: 6, week: 4, bars: bars / 2, text: 120, details: true},
	{text: 100, details: true},
	{text: 80},
	{text: 80, names: 1000},
	{text: 40, names: 500},
}

// HTML returns the page. If it is larger than MaxSize, HTML draws charts coarser, then
// leaves out parts; the page says so.
func (p *Page) HTML() []byte {
	var text []byte
	for _, l := range levels {
		w := &writer{page: p, limits: l}
		w.all()
		if text = w.Bytes(); len(text) <= MaxSize {
			break
		}
	}
	return text
}

// verdict returns the summary of the page, and whether anything is wrong.
func (p *Page) verdict() (text string, bad bool) {
	type id struct{ machine, name string }
	names, others := map[id]bool{}, 0
	for _, w := range p.Wrong {
		if w.Name == "" {
			others++
		} else {
			names[id{w.Machine, w.Name}] = true
		}
	}
	var parts []string
	if len(names) > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s", len(names), counted(len(p.Names), "name")))
	}
	if others > 0 {
		parts = append(parts, counted(others, "thing")+" about the machine")
	}
	switch {
	case others > 0 && p.Nodes != nil:
		parts[len(parts)-1] = counted(others, "thing") + " about nodes"
	case others > 0 && p.Host == "":
		parts[len(parts)-1] = counted(others, "thing") + " about machines"
	}
	if len(parts) == 0 {
		return "All is well: " + counted(len(p.Names), "name"), false
	}
	return "To be looked at: " + strings.Join(parts, " and "), true
}

// counted returns a number with its noun.
func counted(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "s"):
		noun += "e"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// facts returns the timeline in numbers, as a line.
func (t Timeline) facts() string {
	parts := []string{fmt.Sprintf("up %.1f %%", 100*t.Share())}
	if t.Runs > 0 {
		parts = append(parts, counted(t.Runs, "run")+" ended")
	}
	for _, c := range []struct {
		n    int
		what string
	}{{t.Failed, "failed"}, {t.Stopped, "stopped"}, {t.Unknown, "with an unknown end"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	skipped := 0
	for _, s := range t.Skipped {
		if s {
			skipped++
		}
	}
	if skipped > 0 {
		parts = append(parts, "ticks skipped")
	}
	return strings.Join(parts, ", ")
}

// short returns facts for a narrow column.
func (t Timeline) short() string {
	text := fmt.Sprintf("up %.1f %%", 100*t.Share())
	if t.Failed > 0 {
		text += fmt.Sprintf(", %d failed", t.Failed)
	}
	return text
}

// facts returns the lengths in numbers, as a line.
func (l Lengths) facts() string {
	return fmt.Sprintf("half within %s, longest %s, of %s", human.Length(l.Median), human.Length(l.Longest),
		counted(l.Runs, "run"))
}

// Sort sorts what is wrong: the machine's before the names', failures before pauses. It
// also sorts the names, after it has made names with something wrong KindBad.
func (p *Page) Sort() {
	worst := map[subject]int{}
	for _, w := range p.Wrong {
		key := subject{w.Machine, w.Name}
		if least, known := worst[key]; !known || w.rank() < least {
			worst[key] = w.rank()
		}
	}
	slices.SortStableFunc(p.Wrong, func(a, b Wrong) int {
		return cmp.Or(cmp.Compare(worst[subject{a.Machine, a.Name}], worst[subject{b.Machine, b.Name}]),
			cmp.Compare(a.Machine, b.Machine), cmp.Compare(a.Name, b.Name), cmp.Compare(a.rank(), b.rank()))
	})
	wrong := map[subject][]string{}
	for _, w := range p.Wrong {
		if key := (subject{w.Machine, w.Name}); !slices.Contains(wrong[key], w.What) {
			wrong[key] = append(wrong[key], w.What)
		}
	}
	for i := range p.Names {
		n := &p.Names[i]
		n.trouble = wrong[subject{n.Machine, n.Name}]
		n.wrong = len(n.trouble) > 0
		if n.Kind == KindPaused { // State says so already
			n.trouble = slices.DeleteFunc(n.trouble, func(what string) bool { return what == "paused" })
		}
		if len(n.trouble) > 0 {
			n.Kind = KindBad
		}
	}
	slices.SortStableFunc(p.Names, func(a, b Name) int {
		return cmp.Or(cmp.Compare(min(a.Kind, KindPaused), min(b.Kind, KindPaused)), cmp.Compare(a.Machine, b.Machine),
			cmp.Compare(a.Name, b.Name))
	})
}

// rank returns the place of w in the order of what is wrong.
func (w Wrong) rank() int {
	switch {
	case w.Name == "":
		return 0
	case slices.Contains([]string{"failing", "hanging", "overdue", "frozen"}, w.What):
		return 1
	case w.What == "paused":
		return 3
	}
	return 2
}
