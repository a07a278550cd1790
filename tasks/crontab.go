package tasks

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lifeline/install"
	"lifeline/internal/doctor"
	"lifeline/internal/human"
	"lifeline/internal/statedir"
)

// cronOptions holds the options of install, uninstall, disable and enable.
type cronOptions struct {
	entry  install.Entry
	dryRun bool
	print  bool // the lines alone: see bare
	cronD  bool
	file   string // the file of --crontab

	reboot, noReboot bool

	report   string // the page's file; then no NAME and COMMAND is given
	noOutput bool
}

func (k *cronOptions) table() []*option {
	return []*option{
		{name: "dry-run", short: "n", to: toggle(&k.dryRun), usage: "print the change, make none"},
		{name: "cron-d", to: toggle(&k.cronD),
			usage: "use a file in /etc/cron.d instead of your crontab, with --user as its user"},
		crontabOption(&k.file),
	}
}

// path returns the PATH that cron will give to the new line: the last PATH= above
// the line, else cron's own.
func (k *cronOptions) path(ctx context.Context, command []string) (string, error) {
	text, err := k.read(ctx, k.entry.Name)
	if err != nil {
		return "", err
	}
	e := k.entry
	e.Command = command
	add := install.Add
	if k.cronD {
		add = install.AddSystem
		e.User = cmp.Or(e.User, userName())
	}
	if text, err = add(text, e); err != nil {
		return install.CronPath, nil // the edit will report the error
	}
	line, _, _ := install.Find(text, e.Name, k.kind())
	return cmp.Or(line.Environment["PATH"], install.CronPath), nil
}

// read returns the text of the crontab, or of name's file in /etc/cron.d.
func (k *cronOptions) read(ctx context.Context, name string) (string, error) {
	if k.print {
		return "", nil // the lines are for another place
	}
	if k.cronD {
		return install.CronD{}.Read(name)
	}
	return install.Crontab{File: k.file}.Read(ctx)
}

// kind returns the format of the crontab's lines.
func (k *cronOptions) kind() install.Kind {
	switch {
	case k.cronD:
		return install.SystemTable
	case k.file != "":
		return install.Supercronic
	}
	return install.UserTable
}

// nextStart returns when cron starts a line next; zero for @reboot. CRON_TZ counts
// where the cron daemon knows it.
func nextStart(l install.Line) time.Time {
	times, err := install.ParseTimes(l.Schedule)
	if err != nil {
		return time.Time{}
	}
	now := time.Now()
	if zone := l.Environment["CRON_TZ"]; zone != "" && doctor.KnowsZones() {
		if loc, err := time.LoadLocation(zone); err == nil {
			now = now.In(loc)
		}
	}
	return times.Next(now)
}

// absolute makes the paths among the options absolute from cwd, because cron starts
// in the home directory.
func absolute(options []string, table []*option, cwd string) []string {
	var out []string
	for _, w := range words(options, table) {
		if slices.Contains([]string{"log", "env-file", "chdir", "dir", "state-dir", "reload-on-change", "cluster"},
			w.option) {
			name, value, joined := strings.Cut(w.text[0], "=")
			if !joined && len(w.text) == 2 {
				value = w.text[1]
			}
			at := ""
			if file, ok := strings.CutPrefix(value, "@"); ok && w.option == "cluster" {
				at, value = "@", file
			}
			if value != "" && !filepath.IsAbs(value) && (at != "" || w.option != "cluster") {
				value = filepath.Join(cwd, value)
			}
			if at != "" || w.option != "cluster" {
				w.text = []string{name + "=" + at + value}
			}
		}
		out = append(out, w.text...)
	}
	return out
}

// edit changes the crontab, or name's file in /etc/cron.d, and returns the
// text before and after. With --dry-run and --print it writes nothing.
func (k *cronOptions) edit(ctx context.Context, name string, change func(string) (string, error)) (before, after string,
	err error) {
	table, files := install.Crontab{File: k.file}, install.CronD{}
	if k.dryRun || k.print {
		if before, err = k.read(ctx, name); err != nil {
			return "", "", err
		}
		after, err = change(before)
		return before, after, err
	}
	lock, err := crontabLock()
	if err != nil {
		return "", "", err
	}
	table.Lock, files.Lock = lock, lock
	if k.cronD {
		return files.Edit(ctx, name, change)
	}
	return table.Edit(ctx, change)
}

// crontabLock returns the lock file by which the caller's lifelines take turns at changing
// the crontab. The crontab is the same for every --dir, so the file stands beside the
// default state directory, which need not exist.
func crontabLock() (string, error) {
	path := statedir.Default() + ".crontab"
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return "", fmt.Errorf("cannot make a place for the crontab's lock: %w", err)
	}
	return path, nil
}

// tell prints what an edit did.
func (k *cronOptions) tell(name, before, after, done string) {
	title := "crontab"
	if k.cronD {
		title, _ = install.CronD{}.Path(name)
	} else if k.file != "" {
		title = k.file
	}
	switch {
	case k.print:
		fmt.Print(bare(after))
	case k.dryRun:
		fmt.Print(install.Diff(before, after, title))
	case before == after:
		fmt.Printf("%s: nothing to change\n", name)
	default:
		fmt.Printf("%s: %s\n", name, done)
	}
}

// bare returns a crontab's lines without comments, for the web form of a hoster
// without crontab(1) (cPanel), or for a file that another program writes.
func bare(crontab string) string {
	lines := slices.Collect(strings.Lines(crontab))
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.HasPrefix(l, "#") }), "")
}

// crontabLine returns NAME's line in the caller's crontab, else in NAME's file in
// /etc/cron.d.
func (o *options) crontabLine(ctx context.Context, name string) (install.Line, error) {
	text, err := o.crontabFile().Read(ctx)
	if err == nil {
		line, found, findErr := install.Find(text, name, o.kind())
		if found || findErr != nil {
			return line, findErr
		}
	}
	if o.crontab != "" && err == nil {
		return install.Line{}, usage("%s is not in %s: lifeline install --crontab %s %s -- COMMAND puts it there", name,
			o.crontab, o.crontab, name)
	}
	if text, cronDErr := (install.CronD{}).Read(name); cronDErr == nil {
		line, found, findErr := install.Find(text, name, install.SystemTable)
		if found || findErr != nil {
			return line, findErr
		}
	}
	if err != nil {
		return install.Line{}, err
	}
	near := ""
	var names []string
	for _, l := range o.scheduled(ctx) {
		names = append(names, l.Name)
	}
	if meant := human.Nearest(name, names); meant != "" {
		near = "; or is " + meant + " meant?"
	}
	return install.Line{}, usage("%s is not in the crontab: lifeline install %s -- COMMAND puts it there%s", name, name,
		near)
}

// fromCrontab returns the whole command line of `lifeline run NAME`: the worker's
// options in the crontab line, the typed options, NAME and the line's command.
func (o *options) fromCrontab(ctx context.Context, name string, typed []word, table []*option) ([]string, error) {
	line, err := o.crontabLine(ctx, name)
	if err != nil {
		return nil, err
	}
	if line.Problem != "" || len(line.Command) == 0 {
		return nil, usage("%s: line %d of the crontab can't be used (%s): give the command, lifeline run %s -- COMMAND",
			name,
			line.Number, line.Problem, name)
	}
	instead := fmt.Sprintf("lifeline start %s starts it as cron does", name)
	switch {
	case line.User != "" && line.User != userName():
		return nil, usage("%s: cannot run line %d of the crontab: cron starts it as the user %s; sudo "+
			"-u %s lifeline run %s",
			name, line.Number, line.User, line.User, name)
	case line.Before != "":
		return nil, usage("%s: cannot run line %d of the crontab: run leaves out what stands before lifeline "+
			"there, `%s`; %s", name, line.Number, line.Before, instead)
	case line.Fed:
		return nil, usage("%s: cannot run line %d of the crontab: cron gives it the text behind the %% "+
			"as standard input; %s",
			name, line.Number, instead)
	}
	argv := []string{"lifeline", "run"}
	if o.crontab != "" {
		argv = append(argv, "--crontab", o.crontab)
	}
	for _, k := range slices.Sorted(maps.Keys(line.Environment)) {
		argv = append(argv, "--env", k+"="+line.Environment[k])
	}
	if line.Dir != "" {
		argv = append(argv, "--chdir", line.Dir)
	}
	var all options
	argv = append(argv, pick(words(line.Options, all.table()), table)...)
	argv = append(argv, pick(typed, table)...)
	return append(append(argv, name, "--"), line.Command...), nil
}

func userName() string {
	if name := statedir.UserName(os.Geteuid()); name != "" {
		return name
	}
	return "root"
}
