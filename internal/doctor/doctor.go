// Package doctor finds what keeps a name from running, or will: cron, the
// crontab, the command as cron would find it, the state directory, the record,
// the locks and the last runs.
//
//	d := doctor.Doctor{Guard: g, Understand: …, Found: print}
//	d.Examine(ctx, []string{"web"}) // calls print for each finding
//
// It changes nothing, unless Simulate is set.
package doctor

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"lifeline/install"
	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/journal"
	"lifeline/internal/process"
	"lifeline/internal/statedir"
)

// Finding is one thing that was looked at.
type Finding struct {
	Name   string // of the instance, "" for what is the machine's
	What   string // was looked at: cron, crontab, command
	Word   string // for what is wrong, where What is not one: hanging, overdue
	Text   string // one line
	Wrong  bool   // it keeps something from running, or will
	Advice string // what a person does about it; "" where Text says so
}

// Start is what a crontab line asks lifeline to do.
type Start struct {
	Guard          guard.Guard
	Command        []string
	Env            []string
	EnvFile        string
	Chdir          string
	ReloadOnChange string
	Conditions     process.Conditions // --user, --limit and their like
	Log            string
	Cluster        string
	ClusterPrefix  string
	PingURL        string
	Jitter         time.Duration
}

// Doctor looks, and says what it finds.
type Doctor struct {
	Guard    guard.Guard
	Crontab  string // a file that supercronic reads; "" for the crontabs of cron
	Simulate bool
	For      time.Duration // Simulate ends what it started after this time
	Follows  bool          // a line with a directory of its own is looked at there, and nothing is wrong with that

	// What the command line knows: how a line's options are read, how the
	// file of --env-file is, and how an instance is ended.
	Understand  func(install.Line) (Start, error)
	ReadEnvFile func(path string) ([]string, error)
	Terminate   func(ctx context.Context, g guard.Guard, name string) error

	// Unseen are names that nothing is wrong with, and that nothing shows cron to
	// have started. Examine fills it in.
	Unseen []string

	// Rest are words on who sees what this user can't, and the command to ask.
	// Examine fills it in.
	Rest []string

	// History reads the runs of a file; nil is journal.ReadHistory. A caller that
	// shows them reads each file once.
	History func(path string) ([]journal.Run, error)

	NoOutput bool // what failed runs printed is left out

	Found func(Finding) // is called for each finding, as soon as there is one

	name    string // that is examined
	wrongs  int
	machine int // of wrongs, those that concern every name
	last    Finding

	cronds []Crond // that run
	super  supercronic
	tables []crontab // where this user's lines may stand
	dirs   []string  // that were looked at
	exams  guard.Examiner
	names  []string // of everybody, once it was asked

	closed bool // the file that cron reads of this user is closed to that user
}

// fine is a finding that all is as it should be.
func (d *Doctor) fine(what, format string, args ...any) {
	d.Found(Finding{Name: d.name, What: what, Text: oneLine(format, args...)})
}

// wrong is one that keeps something from running, or will.
func (d *Doctor) wrong(what, advice, format string, args ...any) {
	d.wrongAs("", what, advice, format, args...)
}

// wrongAs is wrong with a word for it.
func (d *Doctor) wrongAs(word, what, advice, format string, args ...any) {
	f := Finding{Name: d.name, What: what, Word: word, Text: oneLine(format, args...), Wrong: true, Advice: advice}
	if f == d.last { // the @reboot line beside the other one
		return
	}
	d.last = f
	d.wrongs++
	d.Found(f)
}

// failed is wrong with an error, which says itself what to do, behind a
// semicolon or colon.
func (d *Doctor) failed(what string, err error) { d.wrong(what, "", "%v", err) }

func oneLine(format string, args ...any) string {
	return human.Printable(strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " "))
}

// Examine looks at the names, at all that are known here when there are none,
// and returns the number of things that are wrong.
func (d *Doctor) Examine(ctx context.Context, names []string) int {
	if d.History == nil {
		d.History = journal.ReadHistory
	}
	if d.Crontab != "" {
		d.supercronic()
		d.tables = []crontab{d.supercronicTable()}
	} else {
		d.cron()
		d.outputPlace()
		d.tables = d.crontabs(ctx)
		d.people(names)
	}
	asked := names
	if names == nil {
		d.directory(d.Guard)
		names = d.everybody()
		if len(names) == 0 && len(d.Rest) > 0 {
			d.fine("crontab", "nothing in yours is started by lifeline, and nothing of yours has ever been here")
		} else if len(names) == 0 {
			d.wrong("crontab", "lifeline install NAME -- COMMAND", "nothing in it is started by lifeline, and nothing has "+
				"ever been here")
		}
	}
	d.machine = d.wrongs
	for _, d.name = range names {
		d.one(ctx, d.name)
	}
	if d.closed {
		d.Rest = append(d.Rest, "root sees more: "+strings.Join(append([]string{"sudo lifeline doctor"}, asked...), " "))
	}
	return d.wrongs
}

// people looks at whether cron may start what it has of this user, and, for root, of
// the other users whose lines start one of the names, or any where there are none.
func (d *Doctor) people(names []string) {
	seen := map[string]bool{}
	look := func(user string, isSystem bool) {
		if p, is := findPerson(user); is && !seen[user] {
			p.isSystem = isSystem
			d.account(p)
		}
		seen[user] = true
	}
	if os.Geteuid() != 0 {
		look(userName(), false)
		return
	}
	for _, t := range d.tables {
		for _, l := range t.lines() {
			user := t.userOf(l)
			if names != nil && !slices.Contains(names, l.Name) {
				continue
			}
			if names == nil && !t.isMine(l) && !seen[user] {
				d.Rest = append(d.Rest, fmt.Sprintf("%s sees the rest: sudo -u %s lifeline doctor", user, user))
			}
			look(user, t.user == "")
			if t.skip != "" && !t.isMine(l) && !seen[t.title] {
				seen[t.title] = true
				d.wrong("crontab", t.advice, "%s: %s", t.title, t.skip)
			}
		}
	}
}

// everybody are the names in the crontabs and in the state directory.
func (d *Doctor) everybody() []string {
	if d.names != nil {
		return d.names
	}
	names, _ := d.Guard.Names()
	for _, t := range d.tables {
		for _, l := range t.lines() {
			if guard.CheckName(l.Name) == nil && t.isMine(l) {
				names = append(names, l.Name)
			}
		}
	}
	slices.Sort(names)
	d.names = slices.Compact(names)
	return d.names
}

// one examines a name, step by step as a start goes.
func (d *Doctor) one(ctx context.Context, name string) {
	before := d.wrongs
	c := candidate{name: name, guard: d.Guard}
	c.line, c.scheduled = d.line(name)
	if c.scheduled {
		if c.start, c.scheduled = d.start(name, c.line); c.scheduled {
			d.directory(c.start.Guard)
		}
		c.guard = c.start.Guard
	} else {
		d.directory(c.guard)
	}
	c.blocked = d.machine+d.wrongs > before
	d.state(c)
	if _, there, err := c.guard.Directory(); err == nil && c.scheduled && d.wrongs == before && !(there && d.isSeen(c)) {
		d.Unseen = append(d.Unseen, name)
	}
	if d.Simulate && c.scheduled {
		d.run(ctx, c)
	}
}

// candidate is a name with what starts it.
type candidate struct {
	name      string
	guard     guard.Guard
	line      tabled
	start     Start
	scheduled bool // line and start are known, and sound as far as reading goes
	blocked   bool // what was found wrong may keep it from starting
}

// where is the title of the crontab that a line stands in, with its number.
func where(t crontab, l install.Line) string { return fmt.Sprintf("line %d of %s", l.Number, t.title) }

func userName() string {
	if name := statedir.UserName(os.Geteuid()); name != "" {
		return name
	}
	return "root"
}
