package tasks

import (
	"strings"

	"github.com/urfave/cli/v2"
)

// word is a part of a command line: an option with its value, or an argument.
type word struct {
	option string // its name; "" for an argument
	text   []string
}

// words takes a command line apart as urfave/cli would, but doesn't stop at
// the first argument; it does at "--", which begins the last word.
func words(argv []string, flags []cli.Flag) []word {
	takesValue := map[string]bool{}
	for _, f := range flags {
		_, isBool := f.(*cli.BoolFlag)
		for _, name := range f.Names() {
			takesValue[name] = !isBool
		}
	}
	var out []word
	for i := 0; i < len(argv); i++ {
		arg := argv[i]
		if arg == "--" {
			return append(out, word{text: argv[i:]})
		}
		if len(arg) < 2 || arg[0] != '-' {
			out = append(out, word{text: argv[i : i+1]})
			continue
		}
		w := word{text: []string{arg}}
		name, _, hasValue := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		w.option = name
		if takesValue[name] && !hasValue && i+1 < len(argv) {
			i++
			w.text = append(w.text, argv[i])
		}
		out = append(out, w)
	}
	return out
}

// permute puts the options of a subcommand before its names, so that
// `lifeline pause web --for 30m` means what it says: urfave/cli stops looking
// for options at the first argument. Commands that take a COMMAND of their own
// are left alone: what stands behind NAME there isn't ours.
func permute(argv []string, commands []*cli.Command) []string {
	if len(argv) < 3 {
		return argv
	}
	var command *cli.Command
	for _, c := range commands {
		if c.HasName(argv[1]) {
			command = c
		}
	}
	if command == nil || strings.Contains(command.UsageText, "COMMAND") {
		return argv
	}
	options, names := argv[:2:2], []string(nil)
	for _, w := range words(argv[2:], command.Flags) {
		if w.option != "" {
			options = append(options, w.text...)
		} else {
			names = append(names, w.text...)
		}
	}
	return append(options, names...)
}

// pick keeps those words of options that are one of flags.
func pick(options []word, flags []cli.Flag) []string {
	known := map[string]bool{}
	for _, f := range flags {
		for _, name := range f.Names() {
			known[name] = true
		}
	}
	var out []string
	for _, w := range options {
		if known[w.option] {
			out = append(out, w.text...)
		}
	}
	return out
}
