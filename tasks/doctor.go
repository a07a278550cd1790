package tasks

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/install"
	"lifeline/internal/guard"
)

func doctorCommand() *cli.Command {
	d := doctor{o: new(options)}
	return &cli.Command{
		Name:      "doctor",
		Usage:     "why did (or won't) it run?",
		UsageText: "lifeline doctor [options] [NAME]\n\nIt looks at cron, the crontab, the command as cron would find it, the state directory, the record, the locks and the last runs; without NAME at all names that are known here. Each finding says what to do. It exits with 0 only when all is well, else with 1.\n\nIt changes nothing, unless --simulate is given: then what stands in the crontab is really run, in the environment that cron gives, and ended after a while. An instance that runs is left alone.",
		Flags: append(d.o.dirFlags(),
			&cli.BoolFlag{Name: "simulate", Destination: &d.simulate, Usage: "start it as cron would, for a while"},
			&cli.DurationFlag{Name: "for", Value: 5 * time.Second, Destination: &d.lasting, Action: notNegative("for"), Usage: "with --simulate: end it after so `long`"}),
		Action: func(c *cli.Context) error {
			var names []string
			if c.NArg() > 0 {
				name, err := d.o.oneName(c)
				if err != nil {
					return err
				}
				names = []string{name}
			} else if d.simulate {
				return usage("NAME is missing: lifeline doctor --simulate NAME")
			}
			d.o.name = "" // what is said is for people, not in the name of one
			d.out, d.colour = c.App.Writer, colours(os.Stdout)
			if n := d.examine(c.Context, names); n > 0 {
				return &codeError{1, ""}
			}
			return nil
		},
	}
}

// doctor looks, and says what it finds.
type doctor struct {
	o        *options
	simulate bool
	lasting  time.Duration

	out    io.Writer
	colour bool
	wrongs int

	cronds []crond   // that run
	tables []crontab // where this user's lines may stand
	dirs   []string  // that were looked at
}

// fine is a finding that all is as it should be.
func (d *doctor) fine(what, format string, args ...any) {
	d.say("32", "ok", what, fmt.Sprintf(format, args...))
}

// wrong is one that keeps something from running, or will. advice is what a
// person does about it.
func (d *doctor) wrong(what, advice, format string, args ...any) {
	d.wrongs++
	d.say("31", "WRONG", what, fmt.Sprintf(format, args...))
	if advice != "" {
		fmt.Fprintf(d.out, "       -> %s\n", advice)
	}
}

// failed is wrong with an error, which says itself what to do, behind a
// semicolon or colon.
func (d *doctor) failed(what string, err error) { d.wrong(what, "", "%v", err) }

func (d *doctor) say(colour, how, what, text string) {
	mark := fmt.Sprintf("%-5s", how)
	if d.colour {
		mark = "\x1b[" + colour + "m" + mark + "\x1b[0m"
	}
	fmt.Fprintf(d.out, "%s  %s: %s\n", mark, what, printable(strings.ReplaceAll(text, "\n", " ")))
}

// examine gives the number of things that are wrong.
func (d *doctor) examine(ctx context.Context, names []string) int {
	d.cron()
	d.tables = d.crontabs(ctx)
	if names == nil {
		d.directory(d.o.guard)
		names = d.everybody()
		if len(names) == 0 {
			d.wrong("crontab", "lifeline install NAME -- COMMAND", "nothing in it is started by lifeline, and nothing has ever been here")
		}
	}
	for _, name := range names {
		fmt.Fprintf(d.out, "%s\n", name)
		d.one(ctx, name)
	}
	switch {
	case d.wrongs == 0:
		fmt.Fprintln(d.out, "all is well")
	case d.wrongs == 1:
		fmt.Fprintln(d.out, "one thing is wrong")
	default:
		fmt.Fprintf(d.out, "%d things are wrong\n", d.wrongs)
	}
	return d.wrongs
}

// everybody are the names in the crontabs and in the state directory.
func (d *doctor) everybody() []string {
	names, _ := d.o.guard.Names()
	for _, t := range d.tables {
		for _, l := range t.lines() {
			if guard.CheckName(l.Name) == nil && t.isMine(l) {
				names = append(names, l.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// one examines a name, step by step as a start goes.
func (d *doctor) one(ctx context.Context, name string) {
	line, found := d.line(name)
	guard := d.o.guard
	if found {
		var ok bool
		if guard, ok = d.start(name, line); !ok {
			d.state(name, guard)
			return
		}
	}
	d.directory(guard)
	d.state(name, guard)
	if d.simulate && found {
		d.run(ctx, name, guard, line)
	}
}

// where is the title of the crontab that a line stands in, with its number.
func where(t crontab, l install.Line) string { return fmt.Sprintf("line %d of %s", l.Number, t.title) }
