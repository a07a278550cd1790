package tasks

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"lifeline/install"
	"lifeline/internal/doctor"
	"lifeline/internal/human"
)

// meant maps commands of other tools to lifeline's. NAME stands for the typed names
// and options.
var meant = map[string]string{
	"stop": "terminate NAME", "kill": "terminate NAME", "end": "terminate NAME", "quit": "terminate NAME",
	"down": "terminate NAME", "term": "terminate NAME",
	"ls": "status NAME", "list": "status NAME", "ps": "status NAME", "info": "status NAME", "show": "status NAME",
	"st": "status NAME", "top": "status --watch NAME", "watch": "status --watch NAME", "monit": "status --watch NAME",
	"remove": "uninstall NAME", "delete": "uninstall NAME", "rm": "uninstall NAME", "del": "uninstall NAME",
	"log": "logs NAME", "output": "logs NAME", "tail": "logs -f NAME",
	"add": "install NAME -- COMMAND", "create": "install NAME -- COMMAND", "schedule": "install NAME -- COMMAND",
	"up": "start NAME", "trigger": "start NAME", "launch": "start NAME", "tick": "start NAME", "now": "start NAME",
	"unpause": "resume NAME", "continue": "resume NAME", "suspend": "pause NAME", "hold": "pause NAME",
	"bounce": "restart NAME", "hup": "signal NAME HUP", "why": "doctor NAME", "diagnose": "doctor NAME",
	"debug": "doctor NAME",
	"runs":  "history NAME", "version": "--version", "edit": "install NAME -- COMMAND",
}

// meantCommand returns an error when args begin with a mistyped subcommand, or with
// another tool's; nil when args begin with an instance's name.
func meantCommand(args []string) error {
	if len(args) > 1 && args[1] == "--" {
		return nil
	}
	rest := args[1:]
	if args[0] == "kill" && len(rest) > 1 && strings.HasPrefix(rest[0], "-") {
		if sig := strings.TrimLeft(rest[0], "-"); sig == "9" || sig == "KILL" || sig == "SIGKILL" {
			return noCommand("kill", "lifeline terminate --now "+human.ShellLine(rest[1:]))
		} else {
			return noCommand("kill", "lifeline signal "+human.ShellLine(append(slices.Clone(rest[1:]), sig)))
		}
	}
	if line, ok := meant[args[0]]; ok {
		if slices.Contains(rest, "--") {
			line = strings.TrimSuffix(line, " -- COMMAND")
		}
		line = strings.Replace(line, "NAME", human.ShellLine(rest), 1)
		return noCommand(args[0], strings.Join(strings.Fields("lifeline "+line), " "))
	}
	near := human.Nearest(args[0], subcommands)
	if near == "" || len(rest) > 0 && strings.HasPrefix(rest[0], "-") && slices.Contains(rest, "--") {
		// An option and -- follow: the word is an instance's name before its options.
		return nil
	}
	return noCommand(args[0], human.ShellLine(append([]string{"lifeline", near}, rest...)))
}

func noCommand(typed, line string) error {
	return usage("there is no command %s: did you mean %s? (An instance of that name is started by "+
		"lifeline %s -- COMMAND)", typed, line, typed)
}

// noOption returns the error for an option of argv that doesn't exist there.
func noOption(c *cli.Context, argv []string, name string) error {
	all, where := new(options).table(), ""
	table := all
	if c.Command != nil && slices.Contains(subcommands, c.Command.Name) {
		table, where = optionsOf(c.Command.Flags), " "+c.Command.Name
	}
	if near := human.Nearest(name, optionNames(table)); near != "" {
		return usage("there is no option --%s: did you mean --%s? %s", name, near, human.ShellLine(renamed(argv, name, near)))
	}
	if where != "" && find(all, name) != nil {
		return usage("there is no option --%s here: it goes with lifeline NAME -- COMMAND; see lifeline help%s", name,
			where)
	}
	if len(name) == 1 {
		return usage("there is no option -%s; see lifeline help%s", name, or(where, " options"))
	}
	if where == "" && c.App != nil {
		for _, command := range c.App.Commands {
			if find(optionsOf(command.Flags), name) != nil {
				return usage("there is no option --%s here: it goes with lifeline %s; see lifeline help %s", name,
					command.Name, command.Name)
			}
		}
	}
	return usage("there is no option --%s; see lifeline help%s", name, or(where, " options"))
}

// renamed returns argv with the option name replaced by near.
func renamed(argv []string, name, near string) []string {
	out := append([]string{"lifeline"}, argv[1:]...)
	for i, arg := range out {
		if arg == "--" {
			break
		}
		typed, value, assigned := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if typed != name || !strings.HasPrefix(arg, "-") {
			continue
		}
		out[i] = "--" + near
		if len(near) == 1 {
			out[i] = "-" + near
		}
		if assigned {
			out[i] += "=" + value
		}
	}
	return out
}

func optionNames(table []*option) []string {
	var names []string
	for _, o := range table {
		names = append(names, o.Names()...)
	}
	return names
}

// warnOfVariables warns of variables that look like a mistyped option's.
func (o *options) warnOfVariables() {
	table := new(options).table() // a fresh table, because a table's rows set the options they belong to
	for _, kv := range os.Environ() {
		variable, _, _ := strings.Cut(kv, "=")
		typed, ours := strings.CutPrefix(variable, "LIFELINE_")
		if !ours || slices.Contains(ownVariables, typed) {
			continue
		}
		typed = strings.ToLower(strings.ReplaceAll(typed, "_", "-"))
		var names []string
		for _, o := range table {
			names = append(names, o.name)
		}
		if near := human.Nearest(typed, names); near != "" && near != typed {
			o.warn("%s is no option's variable and has no effect: did you mean %s?", variable, variableOf(near))
		}
	}
}

// ownVariables has the variables of the marker, the protocols and the hooks, without
// their prefix. No option belongs to them.
var ownVariables = []string{"NAME", "SPACE", "ID", "SUPERVISOR", "FD", "FENCE", "NODE", "TICK", "STUB", "PID",
	"CLUSTER_PASSWORD", "CLUSTER_PASSWORD_FILE",
	"CRONTAB", "WORKER", "STARTED", "SKIPPED", "SIGNAL", "SECONDS", "RUN", "REASON", "LOG_FILE", "EVENT", "ENDED",
	"COMMAND", "CODE"}

// unknownName returns a hint for a name without files and crontab lines; "" for a
// known name.
func (o *options) unknownName(ctx context.Context, name string) string {
	names, err := o.guard.Names()
	if err != nil {
		return ""
	}
	for _, l := range o.scheduled(ctx) {
		names = append(names, l.Name)
	}
	if slices.Contains(names, name) {
		return ""
	}
	if user := userWith(name); user != "" {
		return "it is a name of " + user + "'s: lifeline status --all-users " + name
	}
	if near := human.Nearest(name, names); near != "" {
		return "nothing of that name is known here: did you mean " + near + "?"
	}
	return "nothing of that name is known here"
}

// userWith returns the user whose crontab line starts name; "" for none, and for callers
// other than root, who can't read these crontabs.
func userWith(name string) string {
	if os.Geteuid() != 0 {
		return ""
	}
	for user, path := range doctor.Spooled() {
		text, _ := os.ReadFile(path)
		if len(linesOf(install.Entries(string(text), install.UserTable), name)) > 0 {
			return user
		}
	}
	files, _ := filepath.Glob("/etc/cron.d/*")
	for _, path := range append(files, "/etc/crontab") {
		text, _ := os.ReadFile(path)
		if lines := linesOf(install.Entries(string(text), install.SystemTable), name); len(lines) > 0 {
			return lines[0].User
		}
	}
	return ""
}
