package tasks

import (
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// mentioned are the options that argv or the environment may set; every other
// one gets its standard value here. urfave/cli's work for each option that
// nobody has given was half of what a tick did before it looked for its
// instance.
func mentioned(flags []cli.Flag, argv []string) []cli.Flag {
	var typed []string // names of options
	for _, arg := range argv[min(1, len(argv)):] {
		if arg == "--" {
			break
		}
		if name, _, _ := strings.Cut(strings.TrimLeft(arg, "-"), "="); len(arg) > 1 && arg[0] == '-' {
			typed = append(typed, name) // or it is the value of another one: no harm
		}
	}
	var out []cli.Flag
	for _, f := range flags {
		name, aliases, vars, standard := parts(f)
		given := standard == nil || slices.Contains(typed, name) ||
			slices.ContainsFunc(aliases, func(a string) bool { return slices.Contains(typed, a) }) ||
			slices.ContainsFunc(vars, func(v string) bool { return os.Getenv(v) != "" })
		if given {
			out = append(out, f)
		} else {
			standard()
		}
	}
	return out
}

// parts takes an option apart; standard gives it the value it has when nobody
// sets it, and is nil for a kind of option that isn't known here.
func parts(f cli.Flag) (name string, aliases, vars []string, standard func()) {
	switch f := f.(type) {
	case *cli.BoolFlag:
		return f.Name, f.Aliases, f.EnvVars, func() { setStandard(f.Destination, f.Value) }
	case *cli.StringFlag:
		return f.Name, f.Aliases, f.EnvVars, func() { setStandard(f.Destination, f.Value) }
	case *cli.IntFlag:
		return f.Name, f.Aliases, f.EnvVars, func() { setStandard(f.Destination, f.Value) }
	case *cli.DurationFlag:
		return f.Name, f.Aliases, f.EnvVars, func() { setStandard(f.Destination, f.Value) }
	case *cli.GenericFlag: // its value is where it is read from
		return f.Name, f.Aliases, f.EnvVars, func() {}
	}
	return "", nil, nil, nil
}

func setStandard[T any](at *T, value T) {
	if at != nil {
		*at = value
	}
}

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
