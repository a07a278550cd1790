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

// words splits a command line as urfave/cli would, but goes on after the first
// argument. "--" and all that follows are the last word.
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

// ours returns the words between the program's name and "--".
func ours(argv []string) []string {
	argv = argv[min(1, len(argv)):]
	if n := slices.Index(argv, "--"); n >= 0 {
		return argv[:n]
	}
	return argv
}

// commandFirst moves a subcommand before the options that were typed before it. In
// `lifeline --dir /srv/ll terminate web` urfave/cli would give --dir to the guard only,
// and terminate would look elsewhere.
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

// permute moves the options of a subcommand before its names, as in `lifeline pause
// web --for 30m`, because urfave/cli stops at the first argument. Subcommands that
// take a COMMAND are left as they are.
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

// detach turns -n2 into -n 2, the form that package flag understands.
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

// pick returns the words of options whose option is in the table.
func pick(options []word, table []*option) []string {
	var out []string
	for _, w := range options {
		if w.option != "" && find(table, w.option) != nil {
			out = append(out, w.text...)
		}
	}
	return out
}
