package tasks

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"lifeline/internal/human"
)

// meantCommand is an error when args begin with what may be a slip in a
// subcommand's name; nil when it looks like an instance's.
func meantCommand(args []string) error {
	if len(args) > 1 && args[1] == "--" {
		return nil
	}
	near := human.Nearest(args[0], subcommands)
	if near == "" {
		return nil
	}
	line := strings.Join(append([]string{"lifeline", near}, args[1:]...), " ")
	return usage("there is no command %s: did you mean %s? (An instance of that name is started by lifeline %s -- COMMAND)", args[0], line, args[0])
}

// noOption says that a command line has an option that doesn't exist there.
func noOption(c *cli.Context, name string) error {
	all, where := new(options).table(), ""
	table := all
	if c.Command != nil && slices.Contains(subcommands, c.Command.Name) {
		table, where = optionsOf(c.Command.Flags), " "+c.Command.Name
	}
	if near := human.Nearest(name, optionNames(table)); near != "" {
		return usage("there is no option --%s: did you mean --%s?", name, near)
	}
	if where != "" && find(all, name) != nil {
		return usage("there is no option --%s here: it goes with lifeline NAME -- COMMAND; see lifeline help%s", name, where)
	}
	if where == "" {
		where = " options"
	}
	return usage("there is no option --%s; see lifeline help%s", name, where)
}

func optionNames(table []*option) []string {
	var names []string
	for _, o := range table {
		names = append(names, o.Names()...)
	}
	return names
}
