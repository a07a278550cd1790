package tasks

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// nearest gives the word of list that may have been meant, "" if none is near:
// one slip in a short word, two in a longer one, three in a long one; or the
// beginning of a word that no other begins with.
func nearest(word string, list []string) string {
	best, least := "", min(1+len(word)/4, 3)+1
	var begins []string
	for _, w := range list {
		if len(w) < 2 {
			continue
		}
		if d := slips(word, w); d < least && d < len(w) {
			best, least = w, d
		}
		if len(word) >= 3 && strings.HasPrefix(w, word) {
			begins = append(begins, w)
		}
	}
	if len(begins) == 1 && least > 1 {
		return begins[0]
	}
	return best
}

// slips counts the letters left out, put in, changed, and swapped with their
// neighbour between a and b (the optimal string alignment distance).
func slips(a, b string) int {
	prev, last := []int(nil), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], prev[j-2]+1)
			}
		}
		prev, last = last, row
	}
	return last[len(b)]
}

// meantCommand is an error when args begin with what may be a slip in a
// subcommand's name; nil when it looks like an instance's.
func meantCommand(args []string) error {
	if len(args) > 1 && args[1] == "--" {
		return nil
	}
	near := nearest(args[0], subcommands)
	if near == "" {
		return nil
	}
	line := strings.Join(append([]string{"lifeline", near}, args[1:]...), " ")
	return usage("there is no command %s: did you mean %s? (An instance of that name is started by lifeline %s -- COMMAND)", args[0], line, args[0])
}

// noOption says that a command line has an option that doesn't exist there.
func noOption(c *cli.Context, name string) error {
	flags, where := c.App.Flags, ""
	if c.Command != nil && slices.Contains(subcommands, c.Command.Name) {
		flags, where = c.Command.Flags, " "+c.Command.Name
	}
	if len(c.App.Commands) == 0 { // only those that were typed are there
		flags = new(options).flags()
	}
	if near := nearest(name, optionNames(flags)); near != "" {
		return usage("there is no option --%s: did you mean --%s?", name, near)
	}
	if where != "" && slices.Contains(optionNames(new(options).flags()), name) {
		return usage("there is no option --%s here: it goes with lifeline NAME -- COMMAND; see lifeline help%s", name, where)
	}
	if where == "" {
		where = " options"
	}
	return usage("there is no option --%s; see lifeline help%s", name, where)
}

func optionNames(flags []cli.Flag) []string {
	var names []string
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	return names
}
