package tasks

import (
	"slices"
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
func words(argv []string, table []*option) []word {
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
		if o := find(table, name); o != nil && !o.isSwitch() && !hasValue && i+1 < len(argv) {
			i++
			w.text = append(w.text, argv[i])
		}
		out = append(out, w)
	}
	return out
}

// ours are the words behind the program's name that aren't the command's.
func ours(argv []string) []string {
	argv = argv[min(1, len(argv)):]
	if n := slices.Index(argv, "--"); n >= 0 {
		return argv[:n]
	}
	return argv
}

// commandFirst puts a subcommand before the options that were typed before it:
// in `lifeline --dir /srv/ll terminate web` urfave/cli would take --dir for the
// guard's alone, and look for web in another place.
func commandFirst(argv []string) []string {
	if len(argv) < 2 || !strings.HasPrefix(argv[1], "-") ||
		!slices.ContainsFunc(ours(argv), func(arg string) bool { return slices.Contains(subcommands, arg) }) {
		return argv
	}
	at := 1
	for _, w := range words(argv[1:], new(options).table()) {
		if w.option == "" {
			break
		}
		at += len(w.text)
	}
	if at == len(argv) || !slices.Contains(subcommands, argv[at]) {
		return argv // it is an option's value
	}
	return slices.Concat(argv[:1], argv[at:at+1], argv[1:at], argv[at+1:])
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
	if command == nil {
		argv = detach(argv, new(options).table())
	} else {
		argv = detach(argv, optionsOf(command.Flags))
	}
	if command == nil || strings.Contains(command.UsageText, "COMMAND") {
		return argv
	}
	options, names := argv[:2:2], []string(nil)
	for _, w := range words(argv[2:], optionsOf(command.Flags)) {
		if w.option != "" {
			options = append(options, w.text...)
		} else {
			names = append(names, w.text...)
		}
	}
	return append(options, names...)
}

// detach writes -n2 as -n 2, which is how package flag wants it.
func detach(argv []string, table []*option) []string {
	var out []string
	for i, arg := range argv {
		if arg == "--" {
			return append(out, argv[i:]...)
		}
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' && strings.Trim(arg[2:], "0123456789") == "" {
			if o := find(table, arg[1:2]); o != nil && !o.isSwitch() {
				out = append(out, arg[:2], arg[2:])
				continue
			}
		}
		out = append(out, arg)
	}
	return out
}

// pick keeps those words of options that are one of the table's.
func pick(options []word, table []*option) []string {
	var out []string
	for _, w := range options {
		if w.option != "" && find(table, w.option) != nil {
			out = append(out, w.text...)
		}
	}
	return out
}
