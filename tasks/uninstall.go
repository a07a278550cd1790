package tasks

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"lifeline/install"
)

func uninstallCommand() *cli.Command {
	var k cronOptions
	var o options
	var report bool
	return &cli.Command{
		Name:  "uninstall",
		Usage: "take it out of the crontab",
		UsageText: "lifeline uninstall [options] NAME\nlifeline uninstall [options] --report\n\nIt doesn't end what " +
			"runs: lifeline terminate NAME does.",
		Flags: flags(k.table(), []*option{
			{name: "report", to: toggle(&report), noEnv: true,
				usage: "in the place of NAME: the line of lifeline install --report"}}),
		Action: func(c *cli.Context) error {
			if report {
				return k.uninstallReport(c)
			}
			o.crontab = k.file
			name, err := o.oneName(c)
			if err != nil {
				return err
			}
			if k.file != "" && k.cronD {
				return usage("--crontab and --cron-d name two places: leave one out")
			}
			found := false
			before, after, err := k.edit(c.Context, name, func(text string) (string, error) {
				remove := install.Remove
				if k.cronD {
					remove = install.RemoveSystem
				}
				rest, here, err := remove(text, name)
				found = found || here
				return rest, err
			})
			others := linesOf(o.scheduled(c.Context), name)
			if err != nil || !found {
				if err == nil && !k.cronD && len(others) > 0 {
					where := "with crontab -e"
					if k.file != "" {
						where = "of " + k.file
					}
					return usage("%s: lifeline install didn't make line %d, which starts it: take that out %s, or "+
						"lifeline disable%s %s", name, others[0].Number, where, o.inFile(), name)
				}
				return k.notInstalled(name, err)
			}
			done := "uninstalled" + stillRuns(before, name, k.kind())
			if len(others) > 0 {
				done += fmt.Sprintf("; another line, %d, starts it all the same: lifeline doctor %s",
					others[0].Number, name)
			}
			k.tell(name, before, after, done)
			return nil
		},
	}
}

func (k *cronOptions) notInstalled(name string, err error) error {
	if err == nil {
		where := "the crontab"
		if k.cronD {
			where, err = install.CronD{}.Path(name)
		} else if k.file != "" {
			where = k.file
		}
		fmt.Printf("%s: is not in %s\n", name, where)
	}
	return err
}
