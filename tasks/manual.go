package tasks

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/urfave/cli/v2"
)

// Manual writes lifeline(1), in the macros of man(7). It takes the commands and
// options from the program, and the other sections from text: each begins with a line
// `# TITLE`. date stands at the foot of the page. A program that is run at build time
// calls Manual, so lifeline itself doesn't link it.
func Manual(w io.Writer, text, date string) error {
	m := &roff{w: w}
	app := newApp(new(options), nil)
	m.line(`.TH LIFELINE 1 "` + date + `" lifeline "User Commands"`)
	m.section("NAME")
	m.text("lifeline - " + app.Usage)
	m.section("SYNOPSIS")
	m.synopsis("lifeline [OPTIONS] NAME -- COMMAND [ARG...]")
	for _, c := range app.Commands {
		synopsis, _, _ := strings.Cut(c.UsageText, "\n\n")
		for line := range strings.Lines(synopsis) {
			m.line(".br")
			m.synopsis(strings.TrimSpace(line))
		}
	}
	for part := range strings.SplitSeq("\n"+text, "\n# ") {
		title, paragraphs, _ := strings.Cut(part, "\n\n")
		if title == "" {
			continue
		}
		m.section(title)
		m.paragraphs(strings.TrimSpace(paragraphs))
		switch title {
		case "COMMANDS":
			for _, c := range app.Commands {
				m.command(c)
			}
		case "OPTIONS":
			m.options(new(options).table(), ".SS")
		case "EXIT STATUS":
			for _, code := range exitCodes() {
				m.item(code[0], code[1])
			}
		}
	}
	return m.err
}

// exitCodes returns the manual's table of the codes from exitCode, package supervisor
// and package process.
func exitCodes() [][2]string {
	return [][2]string{
		{"0", "done; or another instance runs (-E gives another code for that), or the name is paused"},
		{"1", "doctor has found something, a reload has failed, a ping got no answer"},
		{strconv.Itoa(exitNotRunning), "status, restart, reload: it isn't running"},
		{"4", "status: that can't be told"},
		{strconv.Itoa(exitUsage), "the command line is wrong; nothing was started"},
		{"124", "--max-runtime ran out"},
		{strconv.Itoa(exitOwn), "lifeline itself failed; nothing was started"},
		{"126", "COMMAND can't be executed"},
		{"127", "COMMAND was not found"},
		{"128+N", "COMMAND was ended by signal N"},
		{"else", "COMMAND's own"},
	}
}

// roff writes the macros, and keeps the first error.
type roff struct {
	w   io.Writer
	err error
}

func (m *roff) line(s string) {
	if m.err == nil {
		_, m.err = fmt.Fprintln(m.w, s)
	}
}

// escape escapes text for roff, so that hyphens, backslashes, quotes and a leading dot
// appear as they are.
func escape(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`, "'", `\(aq`, "`", `\(ga`, "^", `\(ha`, "~", `\(ti`).Replace(s)
	for i := 0; i < len(s); i++ {
		if s[i] < 0x80 {
			continue
		}
		// Not ASCII: groff_char(7).
		var out strings.Builder
		for _, r := range s {
			if r < 0x80 {
				out.WriteRune(r)
			} else {
				fmt.Fprintf(&out, `\[u%04X]`, r)
			}
		}
		s = out.String()
		break
	}
	if strings.HasPrefix(s, ".") {
		s = `\&` + s
	}
	return s
}

func (m *roff) section(title string) { m.line(".SH " + title) }

func (m *roff) text(s string) { m.line(escape(s)) }

func (m *roff) synopsis(s string) {
	m.line(`\fB` + escape("lifeline") + `\fR` + escape(strings.TrimPrefix(s, "lifeline")))
}

func (m *roff) item(what, says string) {
	m.line(".TP")
	m.line(`\fB` + escape(what) + `\fR`)
	m.text(says)
}

// paragraphs writes text's paragraphs, which blank lines separate. An indented
// paragraph is set as it stands.
func (m *roff) paragraphs(text string) {
	for i, p := range strings.Split(text, "\n\n") {
		switch {
		case p == "":
		case strings.HasPrefix(p, "    "):
			m.line(".PP\n.RS 4\n.nf\n" + escape(strings.TrimPrefix(p, "    ")) + "\n.fi\n.RE")
		default:
			if i > 0 {
				m.line(".PP")
			}
			m.text(strings.Join(strings.Fields(p), " "))
		}
	}
}

func (m *roff) command(c *cli.Command) {
	m.line(`.SS "` + escape(strings.Join(append([]string{c.Name}, c.Aliases...), ", ")) + `"`)
	synopsis, rest, _ := strings.Cut(c.UsageText, "\n\n")
	for i, line := range strings.Split(synopsis, "\n") {
		if i > 0 {
			m.line(".br")
		}
		m.synopsis(line)
	}
	m.line(".PP")
	m.text(sentence(c.Usage) + ".")
	if rest != "" {
		m.line(".PP")
		m.paragraphs(rest)
	}
	// OPTIONS describes the options that the command shares with the program.
	table := optionsOf(c.Flags)
	all := new(options).table()
	own := slices.DeleteFunc(slices.Clone(table), func(o *option) bool {
		return len(table) > 12 && find(all, o.name) != nil
	})
	m.options(own, "")
	if len(own) < len(table) {
		m.line(".PP")
		m.text("And those under OPTIONS that are about the command.")
	}
}

func (m *roff) options(table []*option, macro string) {
	for _, heading := range headings(table) {
		if macro != "" && heading != "" {
			m.line(macro + ` "` + escape(heading) + `"`)
		}
		for _, o := range table {
			if o.group == heading {
				m.item(o.typed(), sentence(o.means())+".")
			}
		}
	}
}
