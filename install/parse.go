package install

import (
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Line is a crontab line that starts lifeline with a NAME and a COMMAND, written by Add
// or by hand.
type Line struct {
	Number   int    // 1 is the first line of the crontab
	Block    bool   // the line stands between the markers of a block
	Text     string // the whole line
	Schedule string // as written, one space between the fields
	User     string // only in a system crontab

	// Argv is what the line starts, from lifeline's own path on. Options are the words
	// between that path and Name, subcommands and option values included. Command are
	// the words after the "--".
	Argv    []string
	Options []string
	Name    string
	Command []string

	// Before is what stands in front of lifeline, without what Dir and Environment
	// hold: "sudo -u web", "nice -n 5", "test -x /srv/web &&". Input is what cron writes
	// to the command's standard input: the text behind the first bare %, with each
	// further % as a newline. Fed reports whether there is such a %.
	Before string
	Input  string
	Fed    bool

	// Dir is DIR of a "cd DIR &&" in front of lifeline. "" is the user's home
	// directory, where cron starts commands.
	Dir string

	// Environment has the settings above this line (PATH, SHELL, MAILTO, ...) and the
	// assignments in front of lifeline. Cron expands nothing in settings, so $HOME
	// there is five characters.
	Environment map[string]string

	// Shell is what cron hands to the shell.
	Shell string

	// Problem says why Argv is unreliable, such as a word that a shell would expand. ""
	// is no problem.
	Problem string
}

// Kind is the format of a crontab's lines.
type Kind int

const (
	UserTable   Kind = iota // crontab(1)'s
	SystemTable             // with a user column: /etc/crontab, /etc/cron.d
	Supercronic             // supercronic's file: seconds and years are allowed, and % is an ordinary character
)

// Entries returns every line of crontab that starts lifeline with a NAME and
// a "--", in order.
//
// Entries reads lines as cron and sh do. lifeline may stand behind "cd /x &&",
// assignments, exec, nice and env, or in a script for a shell's -c.
func Entries(crontab string, kind Kind) []Line { return entries(crontab, kind, false) }

// Disabled returns the entries that are commented out, by lifeline disable or by hand.
func Disabled(crontab string, kind Kind) []Line { return entries(crontab, kind, true) }

func entries(crontab string, kind Kind, disabled bool) []Line {
	var found []Line
	settings := map[string]string{}
	number, inBlock := 0, ""
	for text := range strings.SplitSeq(crontab, "\n") {
		number++
		if owner, kind, _, ok := marker(text); ok {
			inBlock = ""
			if kind == "begin" {
				inBlock = owner
			}
			continue
		}
		text = strings.TrimLeft(text, " \t")
		bare := strings.TrimLeft(text, "# \t")
		commented := len(bare) < len(text)
		if bare == "" || commented && !disabled {
			continue
		}
		if name, value, ok := setting(bare); ok {
			if !commented {
				settings[name] = value
			}
			continue
		}
		schedule, user, command, ok := columns(bare, kind == SystemTable)
		if kind == Supercronic {
			schedule, command = moreFields(schedule, command)
		}
		if !ok || commented != disabled {
			continue
		}
		figures := kind == Supercronic && strings.Trim(schedule, "0123456789*/,- ") == ""
		if _, err := parseSchedule(schedule); disabled && err != nil && !figures {
			continue // prose
		}
		line, ok := readCommand(command, kind, inBlock != "")
		if !ok {
			continue
		}
		line.Number, line.Text, line.Block = number, text, inBlock != ""
		line.Schedule, line.User = schedule, user
		assigned := line.Environment
		line.Environment = maps.Clone(settings)
		maps.Copy(line.Environment, assigned)
		found = append(found, line)
	}
	return found
}

// Find returns the line of name. Of several lines with the same command, as in a block
// with an @reboot line, Find prefers the line with another schedule than @reboot. The
// error says why the line can't be run as it stands, or that the lines differ; line is
// set all the same.
func Find(crontab, name string, kind Kind) (line Line, found bool, err error) {
	var first Line
	for _, l := range Entries(crontab, kind) {
		if l.Name != name {
			continue
		}
		if !found {
			first, line, found = l, l, true
			continue
		}
		if line.Schedule == "@reboot" {
			line = l
		}
		if first.Dir != l.Dir || !slices.Equal(first.Options, l.Options) || !slices.Equal(first.Command, l.Command) {
			return line, true, fmt.Errorf("cannot tell which line of the crontab is meant by %q: lines %d and %d "+
				"start it in different ways: take one out (crontab -e), or give COMMAND on the command line, after "+
				"--", name, first.Number, l.Number)
		}
	}
	if line.Problem != "" {
		err = fmt.Errorf("cannot take the command of %q from line %d of the crontab: %s: give COMMAND on the command "+
			"line, after --", name, line.Number, line.Problem)
	}
	return line, found, err
}

// setting reads a NAME=value line as load_env of Vixie's cron does: blanks around the
// =, quotes around either side. Cron takes a line of any other form for an entry.
func setting(line string) (name, value string, ok bool) {
	name, rest, ok := settingName(line)
	if !ok || name == "" {
		return "", "", false
	}
	rest, ok = strings.CutPrefix(strings.TrimLeft(rest, " \t"), "=")
	if !ok {
		return "", "", false
	}
	value = strings.Trim(rest, " \t\r\v\f")
	if value == "" || value[0] != '\'' && value[0] != '"' {
		return name, value, true
	}
	value, rest, ok = strings.Cut(value[1:], value[:1])
	return name, value, ok && rest == ""
}

func settingName(line string) (name, rest string, ok bool) {
	if line != "" && (line[0] == '\'' || line[0] == '"') {
		return strings.Cut(line[1:], line[:1])
	}
	end := strings.IndexAny(line, "= \t")
	if end < 0 {
		return "", "", false
	}
	return line[:end], line[end:], true
}

// columns splits an entry into its schedule, its user and the command as written. It
// accepts any schedule, because some crons take more than parseSchedule does (~,
// @every_minute).
func columns(line string, hasUser bool) (schedule, user, command string, ok bool) {
	rest := line
	next := func() string {
		end := strings.IndexAny(rest, " \t")
		if end < 0 {
			end = len(rest)
		}
		word := rest[:end]
		rest = strings.TrimLeft(rest[end:], " \t")
		return word
	}
	words := []string{next()}
	if !strings.HasPrefix(words[0], "@") {
		for len(words) < len(fields) {
			words = append(words, next())
		}
	}
	if hasUser {
		user = next()
	}
	return strings.Join(words, " "), user, rest, rest != ""
}

// moreFields moves up to two further fields, seconds and years, from the command to the
// schedule. No program's name consists of their characters.
func moreFields(schedule, command string) (string, string) {
	for range 2 {
		word, rest, ok := strings.Cut(command, " ")
		if !ok || strings.Trim(word, "0123456789*/,-") != "" {
			break
		}
		schedule, command = schedule+" "+word, strings.TrimLeft(rest, " \t")
	}
	return schedule, command
}

// readCommand finds lifeline in a command as written in the crontab. In a block the
// first word is lifeline, even under another file name.
func readCommand(command string, kind Kind, inBlock bool) (Line, bool) {
	percent, input := percent, input
	if kind == Supercronic {
		percent = func(command string, _ bool) string { return command }
		input = func(string) (string, bool) { return "", false }
	}
	line, ok := findLifeline(lex(percent(command, false)), inBlock)
	if !ok {
		return Line{}, false
	}
	line.Shell = percent(command, false)
	line.Input, line.Fed = input(command)
	// The dialects of Quote differ only where two backslashes meet.
	other, _ := findLifeline(lex(percent(command, true)), inBlock)
	switch {
	case line.Problem != "":
	case !slices.Equal(line.Argv, other.Argv) || line.Dir != other.Dir:
		line.Problem = "two backslashes stand side by side, which Debian's cron turns into one and others don't"
	case strings.HasSuffix(percent(command, false), "\r"):
		line.Problem = "the line ends in a carriage return (an editor's CRLF), which cron hands on " +
			"as part of the command"
	case len(line.Command) == 0:
		line.Problem = "no command follows the --"
	case !validName().MatchString(line.Name):
		line.Problem = fmt.Sprintf("%q is not a name that lifeline takes", line.Name)
	}
	return line, true
}

// percent returns what cron hands to the shell: the text before the first bare %, with \%
// as %. Debian's dialect also turns \\ into \.
func percent(command string, debian bool) string {
	var out strings.Builder
	for i := 0; i < len(command); i++ {
		c := command[i]
		if c == '%' {
			break
		}
		if c == '\\' && i+1 < len(command) {
			if next := command[i+1]; next == '%' || debian && next == '\\' {
				c = next
				i++
			}
		}
		out.WriteByte(c)
	}
	return out.String()
}

// input returns the text behind the first bare % of a command, and whether there is a %.
func input(command string) (text string, fed bool) {
	var out strings.Builder
	for i := 0; i < len(command); i++ {
		switch c := command[i]; {
		case c == '\\' && i+1 < len(command) && command[i+1] == '%':
			i++
			if fed {
				out.WriteByte('%')
			}
		case c == '%' && fed:
			out.WriteByte('\n')
		case c == '%':
			fed = true
		case fed:
			out.WriteByte(c)
		}
	}
	if fed {
		out.WriteByte('\n')
	}
	return out.String(), fed
}

func findLifeline(s script, inBlock bool) (Line, bool) {
	dir, dirProblem := "", ""
	var before []string
	for n, words := range s.commands {
		if to, ok := changeDir(words); ok && (s.ends[n] == "&&" || s.ends[n] == ";") {
			switch {
			case to.shell != "":
				dirProblem = fmt.Sprintf("only a shell can expand %s in the directory %s", to.shell, to.raw)
			case filepath.IsAbs(to.text):
				dir, dirProblem = to.text, ""
			default:
				dir = filepath.Join(dir, to.text)
			}
			continue
		}
		at, dashes, ok := lifelineWord(words, inBlock && n == 0)
		if inner, shell, isShell := shellScript(words); !ok && isShell {
			if line, found := findLifeline(lex(inner), false); found {
				line.Before = strings.TrimSpace(strings.Join(append(before, shell, line.Before), " "))
				if line.Dir == "" || !filepath.IsAbs(line.Dir) {
					line.Dir = filepath.Join(dir, line.Dir)
				}
				return line, true
			}
		}
		if !ok {
			before = append(before, raws(words), s.ends[n])
			continue
		}
		if slices.ContainsFunc(words[:at], func(w word) bool {
			_, _, assigns := assignment(w)
			return !assigns && !slices.Contains([]string{"exec", "env", "/usr/bin/env", "command", "nohup"}, w.text)
		}) {
			before = append(before, raws(words[:at]))
		}
		line := Line{Name: words[dashes-1].text, Dir: dir, Before: strings.Join(before, " "), Problem: dirProblem,
			Environment: map[string]string{}}
		for _, w := range words[at:] {
			line.Argv = append(line.Argv, w.text)
			if w.shell != "" && line.Problem == "" {
				line.Problem = fmt.Sprintf("only a shell can expand %s in the word %s", w.shell, w.raw)
			}
		}
		line.Options = line.Argv[1 : dashes-at-1 : dashes-at-1]
		line.Command = line.Argv[dashes-at+1:]
		for _, w := range words[:at] {
			if name, value, ok := assignment(w); ok {
				line.Environment[name] = value
				if w.shell != "" && line.Problem == "" {
					line.Problem = fmt.Sprintf("only a shell can expand %s in the assignment %s", w.shell, w.raw)
				}
			}
		}
		if s.unclosed != "" && line.Problem == "" {
			line.Problem = "the closing " + s.unclosed + " is missing"
		}
		return line, true
	}
	return Line{}, false
}

// shellScript returns the script of a shell's -c, as in the lines of the gem whenever:
// /bin/bash -l -c 'cd /srv/app && …'. shell is what stands in front of the script.
func shellScript(words []word) (script, shell string, ok bool) {
	for i, w := range words {
		if strings.HasPrefix(w.raw, "-") && !strings.HasPrefix(w.raw, "--") && strings.HasSuffix(w.raw, "c") &&
			i > 0 && i+1 < len(words) &&
			words[i+1].shell == "" && slices.ContainsFunc(words[:i],
			func(w word) bool { return slices.Contains(scriptShells, path.Base(w.text)) }) {
			return words[i+1].text, raws(words[:i+1]), true
		}
	}
	return "", "", false
}

var scriptShells = []string{"sh", "ash", "bash", "dash", "ksh", "zsh"}

// lifelineWord returns the index of the word lifeline, and of the first "--" behind it.
// A NAME must stand between the two.
func lifelineWord(words []word, first bool) (at, dashes int, ok bool) {
	end := func(at int) int {
		return at + 1 + slices.IndexFunc(words[at+1:], func(w word) bool { return w.text == "--" })
	}
	for at, w := range words {
		dashes := end(at)
		// "sudo -u lifeline lifeline web -- x" has a user before the program.
		if !isLifeline(w) || dashes > at+2 && isLifeline(words[at+1]) {
			continue
		}
		if dashes > at+1 {
			return at, dashes, true
		}
	}
	if at := 0; first && len(words) > 1 {
		if words[0].text == "exec" {
			at = 1
		}
		if dashes := end(at); dashes > at+1 {
			return at, dashes, true
		}
	}
	return 0, 0, false
}

func raws(words []word) string {
	var list []string
	for _, w := range words {
		list = append(list, w.raw)
	}
	return strings.Join(list, " ")
}

func isLifeline(w word) bool {
	_, _, assigns := assignment(w)
	return !assigns && !strings.HasPrefix(w.text, "-") && path.Base(w.text) == "lifeline"
}

// assignment reads a word such as A=b. The name must be unquoted, as for sh.
func assignment(w word) (name, value string, ok bool) {
	name, value, ok = strings.Cut(w.text, "=")
	if !ok || name == "" || !strings.HasPrefix(w.raw, name+"=") {
		return "", "", false
	}
	for i := range len(name) {
		if !nameByte(name[i]) || i == 0 && '0' <= name[i] && name[i] <= '9' {
			return "", "", false
		}
	}
	return name, value, true
}

func nameByte(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
}

func changeDir(words []word) (to word, ok bool) {
	if len(words) == 3 && words[1].text == "--" {
		words = []word{words[0], words[2]}
	}
	if len(words) != 2 || words[0].text != "cd" {
		return word{}, false
	}
	return words[1], true
}
