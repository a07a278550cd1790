// Package doctor finds what keeps a name from running, now or later. It examines cron,
// the crontab, the command as cron would find it, the state directory, the record, the
// locks and the last runs.
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

// Finding is the result of one examination.
type Finding struct {
	Name   string // of the instance; "" for the machine
	What   string // what was examined: cron, crontab, command
	Word   string // the kind of fault, where What doesn't name it: hanging, overdue
	Text   string // one line
	Wrong  bool   // the fault keeps something from running, now or later
	Advice string // what the operator can do; "" where Text says so
}

// Start is what a crontab line has lifeline do.
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

// Other is another user, and a name of theirs; "" for all.
type Other struct{ User, Name string }

// Doctor examines names and reports its findings.
type Doctor struct {
	Guard    guard.Guard
	Crontab  string // a file that supercronic reads; "" for the crontabs of cron
	Simulate bool
	For      time.Duration // Simulate ends what it started after this time
	Follows  bool          // a line with a state directory of its own is no fault

	// These functions come from the command line: they read a line's options, read the
	// file of --env-file, and end an instance.
	Understand  func(install.Line) (Start, error)
	ReadEnvFile func(path string) ([]string, error)
	Terminate   func(ctx context.Context, g guard.Guard, name string) error

	// Unseen has the faultless names of which nothing shows that cron ever started them.
	// Examine fills it in.
	Unseen []string

	// Rest says which user sees what this user can't, and with which command. Examine
	// fills it in.
	Rest []string

	// Others are the users whose names these are, and who see the rest of them. Examine
	// fills it in.
	Others []Other

	// History reads the runs of a file; nil means journal.ReadHistory. A caller that
	// also shows the runs passes a function that reads each file once.
	History func(path string) ([]journal.Run, error)

	NoOutput bool // leaves out what failed runs printed

	Found func(Finding) // is called with each finding at once

	name    string // the name under examination
	wrongs  int
	machine int // the part of wrongs that concerns every name
	last    Finding

	cronds []Crond // the running daemons
	super  supercronic
	tables []crontab // may have this user's lines
	dirs   []string  // the state directories already examined
	exams  guard.Examiner
	names  []string // allNames' result; nil before its first call

	closed bool // this user can't read the file of their own crontab
}

// fine reports a finding without a fault.
func (d *Doctor) fine(what, format string, args ...any) {
	d.Found(Finding{Name: d.name, What: what, Text: oneLine(format, args...)})
}

// wrong reports a fault that keeps something from running, now or later.
func (d *Doctor) wrong(what, advice, format string, args ...any) {
	d.wrongAs("", what, advice, format, args...)
}

// wrongAs reports a fault with a word for its kind.
func (d *Doctor) wrongAs(word, what, advice, format string, args ...any) {
	f := Finding{Name: d.name, What: what, Word: word, Text: oneLine(format, args...), Wrong: true, Advice: advice}
	if f == d.last { // the same fault of the @reboot line and of the line beside it
		return
	}
	d.last = f
	d.wrongs++
	d.Found(f)
}

// failed reports an error as a fault. The error's own text says what to do.
func (d *Doctor) failed(what string, err error) { d.wrong(what, "", "%v", err) }

func oneLine(format string, args ...any) string {
	return human.Printable(strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " "))
}

// Examine examines the names, or all known names when names is nil, and returns the
// number of faults.
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
		d.daemon()
		d.tables = d.crontabs(ctx)
		d.people(names)
	}
	asked := names
	if names == nil {
		d.directory(d.Guard)
		names = d.allNames()
		if len(names) == 0 && len(d.Rest)+len(d.Others) > 0 {
			d.fine("crontab", "nothing in yours is started by lifeline, and nothing of yours has ever been here")
		} else if len(names) == 0 {
			d.wrong("crontab", "lifeline install "+d.crontabOption()+"NAME -- COMMAND",
				"nothing in it is started by lifeline, and nothing has ever been here")
		}
	}
	d.machine = d.wrongs
	for _, d.name = range names {
		d.one(ctx, d.name)
	}
	if d.closed {
		d.Rest = append(d.Rest, "root sees more: "+strings.Join(append([]string{"sudo lifeline doctor"}, asked...),
			" "))
	}
	return d.wrongs
}

// crontabOption returns the option for Crontab with a blank behind it; "" for cron's own.
func (d *Doctor) crontabOption() string {
	if d.Crontab == "" {
		return ""
	}
	return "--crontab " + d.Crontab + " "
}

// people checks whether cron may start this user's jobs. For root it checks all users
// whose lines start one of the names; any name counts when names is nil.
func (d *Doctor) people(names []string) {
	seen := map[string]bool{}
	look := func(user string, isSystem bool) {
		if p, is := findPerson(user); is && !seen[user] {
			p.isSystem = isSystem
			d.capable(p)
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
				d.Others = append(d.Others, Other{user, ""})
			}
			look(user, t.user == "")
			if t.skip != "" && !t.isMine(l) && !seen[t.title] {
				seen[t.title] = true
				d.wrong("crontab", t.advice, "%s: %s", t.title, t.skip)
			}
		}
	}
}

// allNames returns this user's names in the crontabs and in the state directory.
func (d *Doctor) allNames() []string {
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

// one examines a name in the order of a start's steps.
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
	if _, there, err := c.guard.Directory(); err == nil && c.scheduled && d.wrongs == before &&
		!(there && d.isSeen(c)) {
		d.Unseen = append(d.Unseen, name)
	}
	if d.Simulate && c.scheduled {
		d.run(ctx, c)
	}
}

// candidate is a name and the line that starts it.
type candidate struct {
	name      string
	guard     guard.Guard
	line      tabled
	start     Start
	scheduled bool // line and start are known and could be read
	blocked   bool // a fault was found that may prevent the start
}

// where returns a line's number and its crontab's title.
func where(t crontab, l install.Line) string { return fmt.Sprintf("line %d of %s", l.Number, t.title) }

func userName() string {
	if name := statedir.UserName(os.Geteuid()); name != "" {
		return name
	}
	return "root"
}
