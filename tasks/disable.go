package tasks

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"lifeline/install"
	"lifeline/internal/guard"
)

func disableCommand() *cli.Command {
	var k cronOptions
	var o options
	return &cli.Command{
		Name:  "disable",
		Usage: "comment its crontab lines out",
		UsageText: "lifeline disable [options] NAME\n\nIt doesn't end what runs: lifeline terminate NAME does. " +
			"lifeline enable NAME puts\nthe lines in force again; lifeline pause NAME needs no change of the crontab.",
		Flags: flags(k.table()),
		Action: func(c *cli.Context) error {
			o.crontab = k.file
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			n := 0
			before, after, err := k.edit(c.Context, name, func(text string) (rest string, err error) {
				rest, n = install.Disable(text, name, k.kind())
				if n == 0 && len(linesOf(install.Disabled(text, k.kind()), name)) > 0 {
					return text, nil
				}
				if n == 0 {
					return "", k.noLine(name)
				}
				return rest, nil
			})
			if err != nil {
				return err
			}
			k.tell(name, before, after, fmt.Sprintf("disabled; %s commented out", counted(n, "line is",
				"lines are"))+stillRuns(before, name, k.kind()))
			return nil
		},
	}
}

func enableCommand() *cli.Command {
	var k cronOptions
	var o options
	return &cli.Command{
		Name:      "enable",
		Usage:     "put those lines in force again",
		UsageText: "lifeline enable [options] NAME",
		Flags:     flags(k.table()),
		Action: func(c *cli.Context) error {
			o.crontab = k.file
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			before, after, err := k.edit(c.Context, name, func(text string) (string, error) {
				rest, n, err := install.Enable(text, name, k.kind())
				if err != nil {
					return "", usage("%s: %v", name, err)
				}
				if n == 0 && len(linesOf(install.Entries(text, k.kind()), name)) == 0 {
					return "", k.noLine(name)
				}
				return rest, nil
			})
			if err != nil {
				return err
			}
			k.tell(name, before, after, "enabled"+k.firstStart(after, name))
			return nil
		},
	}
}

// noLine returns the error for a name without a line, active or commented out.
func (k *cronOptions) noLine(name string) error {
	where := "the crontab"
	if k.cronD {
		where, _ = install.CronD{}.Path(name)
	} else if k.file != "" {
		where = k.file
	}
	return usage("no line of %s starts %s: lifeline install %s -- COMMAND", where, name, name)
}

func linesOf(lines []install.Line, name string) []install.Line {
	var found []install.Line
	for _, l := range lines {
		if l.Name == name {
			found = append(found, l)
		}
	}
	return found
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// stillRuns says that the name's instance goes on, because the crontab's change
// doesn't end it; "" where none runs.
func stillRuns(before, name string, kind install.Kind) string {
	line, found, _ := install.Find(before, name, kind)
	if !found {
		return ""
	}
	start, err := understand(line)
	if err != nil {
		return ""
	}
	list, _ := start.Guard.Look(name)
	if len(list) != 1 || !list[0].Alive() {
		return ""
	}
	pid := list[0].Worker.PID
	if pid == 0 {
		pid = list[0].Supervisor.PID
	}
	return fmt.Sprintf("; it still runs, pid %d: lifeline terminate %s ends it", pid, name)
}

func forgetCommand() *cli.Command {
	var o options
	var cluster bool
	return &cli.Command{
		Name:  "forget",
		Usage: "remove its history, when nothing starts it",
		UsageText: "lifeline forget [options] NAME\n\nIt removes the journal, the pause and the locks of a name that " +
			"isn't in the\ncrontab and doesn't run. The file of --log stays. With --cluster it removes\nwhat the " +
			"engine has of NAME instead, when no node stands by for it.",
		Flags: flags(o.lookOptions(), o.clusterToggles(&cluster, "have the engine forget it")),
		Action: func(c *cli.Context) error {
			if cluster {
				return o.clusterForget(c.Args().Slice())
			}
			if err := o.noCluster(); err != nil {
				return err
			}
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			if lines := linesOf(o.scheduled(c.Context), name); len(lines) > 0 {
				return usage("%s: cannot forget it: line %d of the crontab starts it; lifeline uninstall %s",
					name, lines[0].Number, name)
			}
			known, err := o.guard.Names()
			if err != nil {
				return err
			}
			if !strings.Contains("\n"+strings.Join(known, "\n")+"\n", "\n"+name+"\n") {
				fmt.Fprintf(os.Stdout, "%s: is not known here\n", name)
				return nil
			}
			err = o.guard.Forget(c.Context, name)
			var held *guard.HeldError
			if errors.As(err, &held) {
				return usage("%s: cannot forget it: it runs, %s; lifeline terminate %s", name, held.Holder, name)
			}
			if err != nil {
				return err
			}
			fmt.Fprintf(os.Stdout, "%s: forgotten\n", name)
			return nil
		},
	}
}
