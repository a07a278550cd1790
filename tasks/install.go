package tasks

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"lifeline/install"
	"lifeline/internal/doctor"
	"lifeline/internal/human"
)

func installCommand(argv []string) *cli.Command {
	var k cronOptions
	var o options
	passed := o.table()
	own := append(k.table(), []*option{
		{name: "schedule", value: "FIELDS", to: textOr(&k.entry.Schedule, install.EveryMinute),
			usage: "when to tick: five fields or an @word"},
		{name: "reboot", to: toggle(&k.reboot), usage: "with --schedule: start it at boot, too"},
		{name: "no-reboot", to: toggle(&k.noReboot), usage: "without --schedule: don't start it at boot"},
		{name: "print", to: toggle(&k.print), noEnv: true,
			usage: "print the bare lines, for a web form that takes them; change nothing"},
		{name: "report", value: "FILE", to: text(&k.report), noEnv: true,
			usage: "in the place of NAME and COMMAND: have lifeline report write FILE"},
		{name: "no-output", to: toggle(&k.noOutput), noEnv: true,
			usage: "with --report: leave out what failed runs printed"}}...)
	return &cli.Command{
		Name:  "install",
		Usage: "put it into the crontab",
		UsageText: "lifeline install [options] NAME -- COMMAND [ARG...]\nlifeline install --report FILE [--schedule " +
			"FIELDS] [--no-output]\n\nOptions of lifeline itself are written into the crontab's line.",
		Flags: flags(own, passed),
		Action: func(c *cli.Context) error {
			if k.print && (k.dryRun || k.cronD || k.file != "") {
				return usage("--print is for a place that lifeline can't reach: leave out --dry-run, " +
					"--cron-d and --crontab")
			}
			if c.IsSet("report") {
				return k.installReport(c, &o)
			}
			if k.noOutput {
				return usage("--no-output has no effect without --report; leave it out")
			}
			o.own = optionsOf(c.Command.Flags)
			command, err := o.command(argv, c.Args().Slice(), false)
			if err != nil {
				return err
			}
			o.crontab = k.file
			e := &k.entry
			e.Name = o.name
			passed := passed
			if k.cronD { // there cron itself takes on the user
				e.User = o.user
				passed = slices.DeleteFunc(slices.Clone(passed), func(p *option) bool { return p.name == "user" })
			} else if err := o.checkUser(); err != nil {
				return err
			}
			typed := words(argv[2:len(argv)-c.NArg()], optionsOf(c.Command.Flags))
			e.Options = append(fromEnviron(typed, passed), pick(typed, passed)...)
			if err := k.atBoot(); err != nil {
				return err
			}
			if err := o.installCluster(c, e); err != nil {
				return err
			}
			warnOfSecret(&o, e.Options)
			if e.Binary, err = binary(); err != nil {
				return err
			}
			path, err := k.path(c.Context, command)
			if err != nil {
				return err
			}
			cwd, err := os.Getwd()
			if err != nil {
				return fmt.Errorf("cannot tell the current directory: %w", err)
			}
			if o.replace {
				return usage("%s: --replace in the crontab would end what runs at every tick: leave it out", o.name)
			}
			e.Options = absolute(e.Options, passed, cwd)
			if len(command) == 1 && strings.Contains(command[0], " ") && !isExecutable(command[0]) {
				return usage("%s: %q is one word, and no such program is there: lifeline starts no shell; "+
					"give it as: -- sh -c %s",
					o.name, command[0], human.ShellWord(command[0]))
			}
			if at := slices.IndexFunc(command, isShellWord); at > 0 {
				o.warn("%s is a word for %s like any other, because lifeline starts no shell; if one "+
					"is meant: -- sh -c %s",
					command[at], command[0], human.ShellWord(strings.Join(command, " ")))
			}
			full, changed, err := install.CommandPath(command[0], path, os.Getenv("PATH"), cwd)
			if err != nil {
				return usage("%s: %v", o.name, err)
			}
			if changed {
				o.warn("written as %s, because cron's PATH is %s and it starts in the home directory", full, path)
			}
			e.Command = append([]string{full}, command[1:]...)
			return k.install(c.Context, &o)
		},
	}
}

// atBoot decides about the @reboot line. A name that ticks every minute runs from the
// boot on; a job with a schedule does so only with --reboot.
func (k *cronOptions) atBoot() error {
	always := strings.Join(strings.Fields(k.entry.Schedule), " ") == install.EveryMinute
	k.entry.Reboot = always && !k.noReboot && k.file == "" || k.reboot
	k.entry.File = k.file
	switch {
	case k.file != "" && k.cronD:
		return usage("--crontab and --cron-d name two places: leave one out")
	case k.file != "" && (k.reboot || k.noReboot || strings.TrimSpace(k.entry.Schedule) == "@reboot"):
		return usage("--crontab: supercronic takes no @reboot line, and ends at one: leave out --reboot, --no-reboot " +
			"and @reboot")
	case k.reboot && k.noReboot:
		return usage("--reboot and --no-reboot can't be had together: leave one out")
	case k.reboot && always:
		return usage("--reboot goes with --schedule: what ticks every minute has its @reboot line " +
			"already; leave it out")
	case k.reboot && strings.TrimSpace(k.entry.Schedule) == "@reboot":
		return usage("--reboot goes with another schedule than @reboot: leave it out")
	}
	return nil
}

// fromEnviron returns the options that LIFELINE_ variables have set, because cron
// won't have these variables.
func fromEnviron(typed []word, table []*option) []string {
	var out []string
	for _, o := range table {
		given := slices.ContainsFunc(typed, func(w word) bool { return slices.Contains(o.Names(), w.option) })
		if value := os.Getenv(o.env()); value != "" && !given && !o.noEnv {
			out = append(out, "--"+o.name+"="+value)
		}
	}
	return out
}

// binary returns the path of lifeline for the crontab: the path it was called by.
// Links stay unresolved, so that cron follows an upgrade that moves a link.
func binary() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("cannot tell where this program is: %w", err)
	}
	typed, err := exec.LookPath(os.Args[0])
	if err == nil {
		typed, err = filepath.Abs(typed)
	}
	if err != nil || !sameFile(typed, self) {
		return filepath.Clean(self), nil
	}
	return typed, nil
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

// isShellWord reports whether word is an operator of the shell.
func isShellWord(word string) bool {
	return slices.Contains(strings.Fields("| || && & ; > >> < 1> 1>> 2> 2>> 2>&1 >&2 &> &>>"), word)
}

func sameFile(a, b string) bool {
	x, errX := os.Stat(a)
	y, errY := os.Stat(b)
	return errX == nil && errY == nil && os.SameFile(x, y)
}

func (k *cronOptions) install(ctx context.Context, o *options) error {
	if err := k.suitCrond(o); err != nil {
		return err
	}
	if k.cronD && k.entry.User == "" {
		k.entry.User = userName()
	}
	if k.cronD && !doctor.IsUser(k.entry.User) {
		return usage("%s: --user %s: this machine has no such user, and cron would ignore the whole file", o.name,
			k.entry.User)
	}
	before, after, err := k.edit(ctx, o.name, func(text string) (string, error) {
		add := install.Add
		if k.cronD {
			add = install.AddSystem
		}
		text, err := add(text, k.entry)
		if err != nil {
			return "", usage("%s: %v", o.name, err)
		}
		return text, nil
	})
	if err != nil {
		return err
	}
	for _, line := range install.Entries(before, k.kind()) {
		if line.Name == o.name && !line.Block {
			o.warn("line %d of the crontab starts it as well: take that out with crontab -e", line.Number)
		}
	}
	done := "installed" + k.firstStart(after, o.name)
	if len(linesOf(install.Disabled(after, k.kind()), o.name)) > 0 && len(linesOf(install.Entries(after, k.kind()),
		o.name)) == 0 {
		done = "changed, and commented out as it was: lifeline enable " + o.name
	}
	if old, found, _ := install.Find(before, o.name, k.kind()); found && old.Block {
		done = "replaced; it was: " + strings.Join(old.Command, " ")
		if list, _ := o.guard.Look(o.name); len(list) == 1 && list[0].Alive() && !slices.Equal(old.Argv, newArgv(after,
			o.name, k.kind())) {
			done += fmt.Sprintf("\n%s: the old one still runs: lifeline restart %s takes the new one", o.name, o.name)
		}
	}
	k.tell(o.name, before, after, done)
	if !k.dryRun && !k.print {
		o.warnOfLine(ctx)
	}
	return nil
}

// warnOfLine warns of what doctor finds wrong with the new line.
func (o *options) warnOfLine(ctx context.Context) {
	for _, text := range o.wrongOfLine(ctx) {
		o.warn("%s", text)
	}
}

// wrongOfLine returns what doctor finds wrong with o.name's line, without its past
// runs. kinds limits it to findings of these kinds.
func (o *options) wrongOfLine(ctx context.Context, kinds ...string) (texts []string) {
	d := doctor.Doctor{Guard: o.guard, Crontab: o.crontab, Understand: understand, ReadEnvFile: readEnvFile}
	d.Found = func(f doctor.Finding) {
		told := f.What == "last runs" || f.What == "state" || f.What == "supercronic"
		if !f.Wrong || told || len(kinds) > 0 && !slices.Contains(kinds, f.What) {
			return
		}
		text := f.What + ": " + f.Text
		if f.Advice != "" {
			text += "; " + f.Advice
		}
		texts = append(texts, text)
	}
	d.Examine(ctx, []string{o.name})
	return texts
}

// firstStart says when cron starts name next.
func (k *cronOptions) firstStart(text, name string) string {
	line, found, _ := install.Find(text, name, k.kind())
	if !found {
		return ""
	}
	if k.file != "" {
		if pid := doctor.SupercronicOf(k.file); pid > 0 {
			return fmt.Sprintf("; supercronic takes it when it reads the file again: kill -USR2 %d", pid)
		}
		return "; start what is to start it: supercronic " + human.ShellLine([]string{k.file})
	}
	if line.Schedule == install.EveryMinute {
		return "; cron starts it within a minute"
	}
	next := nextStart(line)
	if next.IsZero() {
		return "; cron starts it at the next boot"
	}
	return "; cron starts it first at " + human.ShortTime(next)
}

func newArgv(text, name string, kind install.Kind) []string {
	line, _, _ := install.Find(text, name, kind)
	return line.Argv
}

// suitCrond refuses, or leaves out with a warning, lines that the cron daemon here
// can't run.
func (k *cronOptions) suitCrond(o *options) error {
	d, lesser := doctor.LesserCrond()
	if !lesser || k.file != "" || k.print {
		return nil
	}
	if k.cronD && !d.ReadsCronD() {
		return usage("%s: the cron daemon here is busybox's, which doesn't read /etc/cron.d: leave out --cron-d",
			o.name)
	}
	e := &k.entry
	asked := install.Line{Schedule: e.Schedule}
	if problem := d.Problem(asked); problem != "" {
		return usage("%s: %s: %s", o.name, problem, doctor.Advice(asked))
	}
	if problem := d.Problem(install.Line{Schedule: "@reboot"}); problem != "" && e.Reboot {
		o.warn("left out the @reboot line, because %s; the next minute after a boot starts it", problem)
		e.Reboot = false
	}
	text, err := install.Add("", *e)
	if err != nil {
		return nil // the edit will report the error
	}
	for _, line := range install.Entries(text, install.UserTable) {
		if problem := d.Problem(line); problem != "" {
			return usage("%s: %s: %s", o.name, problem, doctor.Advice(line))
		}
	}
	return nil
}
