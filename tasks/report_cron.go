package tasks

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/install"
)

// reportName marks the page's block in a crontab. It is the name of a subcommand,
// so no instance has it.
const reportName = "report"

// installReport adds the crontab line that writes the page.
func (k *cronOptions) installReport(c *cli.Context, o *options) error {
	if c.NArg() > 0 {
		return usage("--report stands in the place of NAME and COMMAND, and %q was given: leave one out",
			c.Args().First())
	}
	places := o.dirOptions()
	for _, p := range optionsOf(c.Command.Flags) {
		may := find(append(k.table(), places...), p.name) != nil || slices.Contains([]string{"report", "no-output",
			"schedule", "print"}, p.name) || p.name == "user" && k.cronD
		if c.IsSet(p.name) && !p.given && !may {
			return usage("--%s has no effect with --report; leave it out", p.name)
		}
	}
	switch {
	case k.file != "" && k.cronD:
		return usage("--crontab and --cron-d name two places: leave one out")
	case strings.TrimSpace(k.entry.Schedule) == "@reboot":
		return usage("--report: a page of the last boot would only grow old: give --schedule times, or leave it out")
	}
	file, err := filepath.Abs(k.report)
	if err != nil {
		return fmt.Errorf("cannot tell the current directory: %w", err)
	}
	if k.report == "" {
		return usage("--report: give the file that the page is to be written to")
	}
	if err := replaceable(file, "the page"); err != nil {
		return err
	}
	e := &k.entry
	if e.Binary, err = binary(); err != nil {
		return err
	}
	e.Name, e.File, e.Task = reportName, k.file, []string{"report", "--out", file, "--every", everyText(e.Schedule)}
	if k.noOutput {
		e.Task = append(e.Task, "--no-output")
	}
	for _, place := range []struct{ option, path string }{{"dir", o.guard.Dir}, {"state-dir", o.guard.StateDir},
		{"crontab", k.file}} {
		if place.path != "" {
			path, err := filepath.Abs(place.path)
			if err != nil {
				return fmt.Errorf("cannot tell the current directory: %w", err)
			}
			e.Task = append(e.Task, "--"+place.option, path)
		}
	}
	if o.guard.AllowNFS {
		e.Task = append(e.Task, "--allow-nfs")
	}
	if k.cronD {
		e.User = or(o.user, userName())
	}
	before, after, err := k.edit(c.Context, reportName, func(text string) (string, error) {
		if _, found, _ := install.Find(text, reportName, k.kind()); found {
			return "", usage("the crontab starts an instance that is called %s, which is a subcommand's name now: "+
				"give it another name (crontab -e) first", reportName)
		}
		add := install.Add
		if k.cronD {
			add = install.AddSystem
		}
		text, err := add(text, *e)
		if err != nil {
			return "", usage("%v", err)
		}
		return text, nil
	})
	if err != nil {
		return err
	}
	k.tell(reportName, before, after, "installed; cron writes "+file+" at "+e.Schedule)
	return nil
}

// everyText returns the longest time between two starts of a schedule within a week,
// in minutes.
func everyText(schedule string) string {
	longest := time.Minute
	if times, err := install.ParseTimes(schedule); err == nil {
		from := times.Next(time.Now())
		week := from.AddDate(0, 0, 8) // every weekday, and the step back to the first
		for n := 0; n < 300 && !from.IsZero() && from.Before(week); n++ {
			next := times.Next(from)
			longest, from = max(longest, next.Sub(from)), next
		}
	}
	return fmt.Sprintf("%dm", longest/time.Minute)
}

// uninstallReport removes the page's block from the crontab.
func (k *cronOptions) uninstallReport(c *cli.Context) error {
	if c.NArg() > 0 {
		return usage("--report stands in the place of NAME, and %q was given: leave one out", c.Args().First())
	}
	found := false
	before, after, err := k.edit(c.Context, reportName, func(text string) (string, error) {
		remove := install.Remove
		if k.cronD {
			remove = install.RemoveSystem
		}
		rest, here, err := remove(text, reportName)
		found = here
		return rest, err
	})
	if err != nil || !found {
		return k.notInstalled(reportName, err)
	}
	k.tell(reportName, before, after, "uninstalled; the file stays")
	return nil
}
