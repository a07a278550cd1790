// Package report draws one page of how names stand: a file that needs no
// server, no script and no other file.
//
//	p := report.Page{Host: "web1", Written: time.Now(), Names: []report.Name{…}}
//	html := p.HTML() // at most MaxSize bytes
//
// The package reads nothing and asks nothing: what is shown comes in the Page.
// Every text of it is foreign, whether a worker printed it or another machine
// sent it, and is shown as text.
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

// MaxSize is how large a page becomes at most, in bytes.
const MaxSize = 1 << 20

// Page is what is shown.
type Page struct {
	Host     string // whose names they are; "" for those of a fleet
	Written  time.Time
	Every    time.Duration // the page is old when it wasn't renewed for longer
	Facts    []Fact        // about the machine
	Wrong    []Wrong
	Names    []Name
	Nodes    []Node // of a cluster; nil for a machine or a fleet
	NoOutput bool
}

// Fact is one line about the machine.
type Fact struct{ Name, Value string }

// Wrong is one thing to be mended.
type Wrong struct {
	Machine, Name string // Name is "" for what is the machine's
	What          string // in a word: failing, paused, cron
	Text          string
	Advice        string
}

// Name is how one name stands. A nil time is one that isn't known.
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
	History    *History // nil where it isn't known
	Output     *journal.Output

	wrong   bool     // something in Page.Wrong is about it
	trouble []string // in words, of what is wrong, where the state doesn't say it
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

// NewHistory takes from runs what the page shows of them; see [NewTimeline].
func NewHistory(runs []journal.Run, up *time.Time, at time.Time, complete bool) *History {
	const day = 24 * time.Hour
	return &History{
		Day:     NewTimeline(runs, up, at, day, daySlots, complete),
		Week:    NewTimeline(runs, up, at, 7*day, weekSlots, complete),
		Lengths: NewLengths(runs, bars),
	}
}

// Kind is what a state means for who looks.
type Kind uint8

const (
	KindBad    Kind = iota // something is to be mended
	KindPaused             // kept down
	KindBusy               // on its way: starting, backing off, standing by
	KindUp                 // runs
	KindIdle               // doesn't run, and that is as it should be
)

// limits are how much of each name is shown.
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

// HTML draws the page. What doesn't fit into MaxSize is drawn coarser, and then
// left out, which the page says.
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

// verdict says in a line how all stands.
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

// counted is a number with its noun.
func counted(n int, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "s"):
		noun += "e"
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// facts says in a line how a span went.
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

// short is facts for a narrow column.
func (t Timeline) short() string {
	text := fmt.Sprintf("up %.1f %%", 100*t.Share())
	if t.Failed > 0 {
		text += fmt.Sprintf(", %d failed", t.Failed)
	}
	return text
}

// facts says in a line how long the runs took.
func (l Lengths) facts() string {
	return fmt.Sprintf("half within %s, longest %s, of %s", human.Length(l.Median), human.Length(l.Longest),
		counted(l.Runs, "run"))
}

// Sort puts what is wrong first: the machine's before the names', what fails
// before what is paused. A name about which something is wrong is a bad one.
func (p *Page) Sort() {
	type id struct{ machine, name string }
	worst := map[id]int{}
	for _, w := range p.Wrong {
		key := id{w.Machine, w.Name}
		if least, known := worst[key]; !known || w.rank() < least {
			worst[key] = w.rank()
		}
	}
	slices.SortStableFunc(p.Wrong, func(a, b Wrong) int {
		return cmp.Or(cmp.Compare(worst[id{a.Machine, a.Name}], worst[id{b.Machine, b.Name}]), cmp.Compare(a.Machine,
			b.Machine), cmp.Compare(a.Name, b.Name), cmp.Compare(a.rank(), b.rank()))
	})
	wrong := map[id][]string{}
	for _, w := range p.Wrong {
		if key := (id{w.Machine, w.Name}); !slices.Contains(wrong[key], w.What) {
			wrong[key] = append(wrong[key], w.What)
		}
	}
	for i := range p.Names {
		n := &p.Names[i]
		n.trouble = wrong[id{n.Machine, n.Name}]
		n.wrong = len(n.trouble) > 0
		if n.Kind == KindPaused { // its state says so
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

// rank is the order of what is wrong.
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
