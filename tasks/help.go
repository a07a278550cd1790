package tasks

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"lifeline/internal/human"
)

// examples returns a line of the help's first screen for each subcommand: an example,
// and a text for commands whose Usage is too long. It is a function, because a variable
// would be built at every tick.
func examples() map[string][2]string {
	return map[string][2]string{
		"":          {"lifeline web -- serve", "run it, unless it runs: what cron does"},
		"run":       {"lifeline run web", ""},
		"terminate": {"lifeline terminate web", ""},
		"pause":     {"lifeline pause web --for 30m", ""},
		"resume":    {"lifeline resume web", ""},
		"restart":   {"lifeline restart web", "end it and start it again, keeping the name"},
		"reload":    {"lifeline reload web", "let new code take over without a gap"},
		"status":    {"lifeline status", "what runs, since when, and how it goes"},
		"history":   {"lifeline history web", "when it was up, and how it ended"},
		"logs":      {"lifeline logs web -f", "what it printed"},
		"check":     {"lifeline check web --max-age 15m", "for Nagios: when did it last succeed?"},
		"metrics":   {"lifeline metrics", "everything, for Prometheus"},
		"report":    {"lifeline report --out FILE", ""},
		"move":      {"lifeline move web NODE", ""},
		"runs":      {"lifeline runs --cluster NAME", ""},
		"drain":     {"lifeline drain NODE --for 2h", ""},
		"undrain":   {"lifeline undrain NODE", ""},
		"install":   {"lifeline install web -- serve", ""},
		"uninstall": {"lifeline uninstall web", ""},
		"disable":   {"lifeline disable web", ""},
		"enable":    {"lifeline enable web", ""},
		"forget":    {"lifeline forget web", ""},
		"import":    {"lifeline import Procfile", ""},
		"start":     {"lifeline start web", ""},
		"doctor":    {"lifeline doctor web", ""},
		"signal":    {"lifeline signal web HUP", "pass it a signal"},
		"ping":      {"lifeline ping", ""},
		"takeover":  {"lifeline takeover", "in a worker: wait until the old one is gone"},
		"help":      {"lifeline help install", ""},
	}
}

// further has the commands that the help's first screen only names, because a
// terminal has 24 lines.
var further = []string{"disable", "drain", "enable", "forget", "import", "metrics", "move", "ping", "report", "runs",
	"signal", "takeover", "undrain"}

const helpWidth = 80 // of a terminal that has not been made wider

func helpCommand() *cli.Command {
	return &cli.Command{
		Name: "help", Aliases: []string{"h"},
		Usage:     "a command's options and examples",
		UsageText: "lifeline help [COMMAND]\nlifeline help options",
		HideHelp:  true,
		Action: func(c *cli.Context) error {
			switch topic := c.Args().First(); {
			case topic == "":
				writeScreen(c.App.Writer, c.App)
			case topic == "options":
				writeOptions(c.App.Writer, new(options).table())
			default:
				command := c.App.Command(topic)
				if command == nil {
					if near := human.Nearest(topic, append(slices.Clone(subcommands), "options")); near != "" {
						return usage("there is no command %s: did you mean lifeline help %s?", topic, near)
					}
					return usage("there is no command %s; lifeline help lists them", topic)
				}
				writeHelp(c.App.Writer, command)
			}
			return nil
		},
	}
}

// useHelp replaces urfave/cli's templates by lifeline's help: a screen for the
// program and a page for each command.
func useHelp(app *cli.App) {
	cli.HelpPrinter = func(w io.Writer, _ string, data any) {
		switch of := data.(type) {
		case *cli.App:
			writeScreen(w, of)
		case *cli.Command:
			if of.Name == app.Name {
				writeScreen(w, app)
			} else {
				writeHelp(w, of)
			}
		}
	}
}

// writeScreen writes `lifeline help`, which fits a terminal of 24 lines.
func writeScreen(w io.Writer, app *cli.App) {
	lines := [][2]string{examples()[""]}
	var others []string
	for _, c := range app.Commands {
		if c.Hidden {
			continue
		}
		if slices.Contains(further, c.Name) {
			others = append(others, c.Name)
			continue
		}
		line := examples()[c.Name]
		if line[0] == "" {
			line[0] = "lifeline " + c.Name
		}
		if line[1] == "" {
			line[1] = c.Usage
		}
		lines = append(lines, line)
	}
	width := 0
	for _, line := range lines {
		width = max(width, len(line[0]))
	}
	fmt.Fprintf(w, "lifeline: %s\n", app.Usage)
	for _, line := range lines {
		fmt.Fprintf(w, "  %-*s  %s\n", width, line[0], line[1])
	}
	slices.Sort(others)
	for _, line := range wrap("Also: "+strings.Join(others, ", ")+"; see lifeline help COMMAND.", helpWidth) {
		fmt.Fprintln(w, line)
	}
	fmt.Fprint(w, "lifeline help options: those of the first line. Also: man lifeline, --version.\n")
}

// writeHelp writes `lifeline help COMMAND`.
func writeHelp(w io.Writer, c *cli.Command) {
	usageText := c.UsageText
	if usageText == "" {
		usageText = "lifeline " + c.Name
	}
	synopsis, rest, _ := strings.Cut(usageText, "\n\n")
	fmt.Fprintf(w, "%s\n\n%s.\n", synopsis, sentence(c.Usage))
	for p := range strings.SplitSeq(rest, "\n\n") {
		if p != "" {
			fmt.Fprintf(w, "\n%s\n", strings.Join(wrap(p, helpWidth), "\n"))
		}
	}
	if line := examples()[c.Name]; line[0] != "" {
		fmt.Fprintf(w, "\nExample: %s\n", line[0])
	}
	if table := optionsOf(c.Flags); len(table) > 0 {
		fmt.Fprintln(w)
		writeOptions(w, table)
	}
}

func sentence(s string) string {
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// headings returns the headings of a table, in its order.
func headings(table []*option) (all []string) {
	for _, o := range table {
		if !slices.Contains(all, o.group) {
			all = append(all, o.group)
		}
	}
	return all
}

func writeOptions(w io.Writer, table []*option) {
	const indent = 29
	for i, heading := range headings(table) {
		if i > 0 {
			fmt.Fprintln(w)
		}
		fmt.Fprintf(w, "%s:\n", cmp.Or(heading, "Options"))
		for _, o := range table {
			if o.group != heading {
				continue
			}
			left := "  " + o.typed()
			for n, line := range wrap(o.means(), helpWidth-indent) {
				if n == 0 && len(left) > indent-2 {
					fmt.Fprintln(w, left)
					left = ""
				}
				fmt.Fprintf(w, "%-*s%s\n", indent, left, line)
				left = ""
			}
		}
	}
	fmt.Fprint(w, "\nA TIME has a unit: 30s, 5m, 2h, 1d. Each option also reads LIFELINE_<OPTION>.\n")
}

// wrap breaks text at spaces into lines of at most width; a longer word stays whole.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line+" "+word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
