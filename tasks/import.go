package tasks

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"lifeline/install"
	"lifeline/internal/human"
)

func importCommand() *cli.Command {
	var apply bool
	return &cli.Command{
		Name:  "import",
		Usage: "lines of flock, supervisord, pm2, systemd …",
		UsageText: "lifeline import [options] [FILE]\n\nIt prints the lifeline install lines for what FILE starts: a " +
			"crontab with flock,\nrun-one, setlock or chronic, supervisord.conf, a Procfile, pm2's ecosystem " +
			"file\n(JSON) or a systemd service. Behind a # stands what can't be had. Without FILE it\nreads your " +
			"crontab.\n\nWith --apply it does so, and comments the old lines of your crontab out. What\nanother tool " +
			"still starts is for you to stop first.",
		Flags: flags([]*option{{name: "apply", to: toggle(&apply), usage: "install what it prints"}}),
		Action: func(c *cli.Context) error {
			if c.NArg() > 1 {
				return usage("cannot understand %q after the file", c.Args().Get(1))
			}
			file, text := c.Args().First(), ""
			if file == "" {
				var err error
				if text, err = (install.Crontab{}).Read(c.Context); err != nil {
					return err
				}
			} else {
				all, err := os.ReadFile(file)
				if err != nil {
					return usage("cannot read it: %v", err)
				}
				text = string(all)
			}
			list, err := install.Import(file, text)
			if err != nil {
				return usage("%s: %v", file, err)
			}
			if len(list) == 0 {
				return usage("nothing in it is guarded or kept up by a tool that lifeline knows; " +
					"see lifeline help import")
			}
			taken := map[string]bool{}
			for n := range list {
				i := &list[n]
				if slices.Contains(subcommands, i.Name) { // the name of a subcommand
					i.Name += "-job"
				}
				name := i.Name
				for more := 2; taken[i.Name] && i.Command != nil; more++ {
					i.Name = fmt.Sprintf("%s-%d", name, more)
				}
				if i.Name != name {
					i.Missing = append(i.Missing,
						"the name "+name+", taken above: two that shared a lock now run at once")
				}
				taken[i.Name] = true
			}
			for _, i := range list {
				if i.Command == nil {
					fmt.Fprintln(c.App.Writer, "# can't be had: "+strings.Join(i.Missing, "; "))
					continue
				}
				line := human.ShellLine(append([]string{"lifeline"}, i.Words()...))
				if len(i.Missing) > 0 {
					line += " # can't be had: " + strings.Join(i.Missing, "; ")
				}
				fmt.Fprintln(c.App.Writer, line)
			}
			if !apply {
				return nil
			}
			return applyImport(c, file == "", list)
		},
	}
}

// applyImport installs the list, then comments out the old lines of the caller's own
// crontab. Both lines would start the same command.
func applyImport(c *cli.Context, own bool, list []install.Imported) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("cannot tell where this program is: %w", err)
	}
	var failed []error
	done := map[int]bool{}
	for _, i := range list {
		if i.Command == nil {
			continue
		}
		cmd := exec.CommandContext(c.Context, self, i.Words()...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if err := cmd.Run(); err != nil {
			failed = append(failed, fmt.Errorf("%s was not installed: %w", i.Name, err))
		} else if own {
			done[i.Line] = true
		}
	}
	if len(done) > 0 {
		lock, err := crontabLock()
		if err != nil {
			return err
		}
		_, _, err = install.Crontab{Lock: lock}.Edit(c.Context, func(text string) (string, error) {
			return install.CommentOut(text, done), nil
		})
		if err != nil {
			return fmt.Errorf("the old lines still stand beside the new ones: %w; take them out: crontab -e", err)
		}
	}
	return errors.Join(failed...)
}
