package tasks

import "github.com/urfave/cli/v2"

// lean is an option that knows its names. urfave/cli's own work theirs out with
// a regular expression whenever they are asked, and they are asked for every
// pair of options at every start: a tenth of a tick.
type lean struct {
	cli.Flag
	names []string
}

func leanFlags(flags []cli.Flag) []cli.Flag {
	out := make([]cli.Flag, len(flags))
	for i, f := range flags {
		out[i] = lean{f, f.Names()}
	}
	return out
}

// Names are the option's name and aliases.
func (l lean) Names() []string { return l.names }

// RunAction passes on what urfave/cli looks for beside cli.Flag.
func (l lean) RunAction(c *cli.Context) error {
	if f, ok := l.Flag.(cli.ActionableFlag); ok {
		return f.RunAction(c)
	}
	return nil
}
