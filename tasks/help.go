package tasks

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"

	"lifeline/internal/human"
)

// examples has a line of the help's first screen for each subcommand: how it
// is typed, and what it does where the command's own words are too long.
//
// A function, because a map would be made at every tick.
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
		"move":      {"lifeline move web NODE", ""},
		"install":   {"lifeline install web -- serve", ""},
		"uninstall": {"lifeline uninstall web", ""},
		"start":     {"lifeline start web", ""},
		"doctor":    {"lifeline doctor web", ""},
		"signal":    {"lifeline signal web HUP", "pass it a signal"},
		"ping":      {"lifeline ping", ""},
		"takeover":  {"lifeline takeover", "in a worker: wait until the old one is gone"},
		"help":      {"lifeline help install", ""},
	}
}

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
				writeOptions(c.App.Writer, new(options).flags())
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

// useHelp puts our own help, one screen for the program and one page for each
// command, in the place of urfave/cli's templates.
func useHelp(app *cli.App) {
	app.Flags = append(app.Flags, cli.HelpFlag, &cli.BoolFlag{Name: "version", Usage: "what this program was built from"})
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

// writeScreen is `lifeline help`: it fits a terminal of 24 lines.
func writeScreen(w io.Writer, app *cli.App) {
	lines := [][2]string{examples()[""]}
	for _, c := range app.Commands {
		if c.Hidden {
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
	fmt.Fprint(w, "lifeline help options: those of the first line. Also: man lifeline, --version.\n")
}

// writeHelp is `lifeline help COMMAND`.
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
	flags := slices.DeleteFunc(slices.Clone(c.Flags), func(f cli.Flag) bool { return f == cli.HelpFlag })
	if len(flags) > 0 {
		fmt.Fprintln(w)
		writeOptions(w, flags)
	}
}

func sentence(s string) string {
	s = strings.TrimSuffix(s, ".")
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// An option is a flag as people read it.
type option struct {
	heading string
	names   string // "-E, --conflict-exit-code N"
	says    string
	without string // its value when it isn't given
	env     string
}

func readOption(f cli.Flag) (o option, ok bool) {
	doc, ok := f.(cli.DocGenerationFlag)
	if visible, has := f.(cli.VisibleFlag); !ok || has && !visible.IsVisible() {
		return o, false
	}
	if c, has := f.(cli.CategorizableFlag); has {
		o.heading = c.GetCategory()
	}
	value, says := placeholder(doc.GetUsage())
	o.says = says
	var short, long []string
	for _, n := range f.Names() {
		if len(n) == 1 {
			short = append(short, "-"+n)
		} else {
			long = append(long, "--"+n)
		}
	}
	o.names = strings.Join(append(short, long...), ", ")
	if doc.TakesValue() {
		if value == "" {
			value = "VALUE"
		}
		o.names += " " + strings.ToUpper(value)
		o.without = doc.GetDefaultText()
		if o.without == "" {
			o.without = doc.GetValue()
		}
		if o.without == "0s" || o.without == `""` || o.without == "0" {
			o.without = ""
		}
	}
	if env := doc.GetEnvVars(); len(env) > 0 {
		o.env = env[0]
	}
	return o, true
}

// placeholder takes the name of the value, in backquotes, out of the usage.
func placeholder(usage string) (value, says string) {
	before, rest, ok := strings.Cut(usage, "`")
	value, after, closed := strings.Cut(rest, "`")
	if !ok || !closed {
		return "", usage
	}
	says = before + value + after // there it is a word of the sentence
	if value == "long" {
		value = "time"
	}
	return value, says
}

// grouped gives the options under their headings, in the order of the flags.
func grouped(flags []cli.Flag) (headings []string, under map[string][]option) {
	under = map[string][]option{}
	for _, f := range flags {
		o, ok := readOption(f)
		if !ok {
			continue
		}
		if !slices.Contains(headings, o.heading) {
			headings = append(headings, o.heading)
		}
		under[o.heading] = append(under[o.heading], o)
	}
	return headings, under
}

func writeOptions(w io.Writer, flags []cli.Flag) {
	const indent = 29
	headings, under := grouped(flags)
	for i, h := range headings {
		if i > 0 {
			fmt.Fprintln(w)
		}
		if h == "" {
			h = "Options"
		}
		fmt.Fprintf(w, "%s:\n", h)
		for _, o := range under[headings[i]] {
			says := o.says
			if o.without != "" {
				says += " (default: " + o.without + ")"
			}
			left := "  " + o.names
			for n, line := range wrap(says, helpWidth-indent) {
				if n == 0 && len(left) > indent-2 {
					fmt.Fprintln(w, left)
					left = ""
				}
				fmt.Fprintf(w, "%-*s%s\n", indent, left, line)
				left = ""
			}
		}
	}
	if slices.ContainsFunc(flags, func(f cli.Flag) bool { o, ok := readOption(f); return ok && o.env != "" }) {
		fmt.Fprint(w, "\nA TIME has a unit: 500ms, 30s, 5m, 2h. Each option also reads LIFELINE_<OPTION>.\n")
	}
}

// wrap breaks text into lines of at most width, where it can be broken.
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
