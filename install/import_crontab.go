package install

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

func importCrontab(text string) []Imported {
	var found []Imported
	number := 0
	for line := range strings.Lines(text) {
		number++
		line = strings.TrimSpace(line)
		if _, _, ok := setting(line); line == "" || line[0] == '#' || ok {
			continue
		}
		schedule, _, command, ok := columns(line, false)
		if !ok {
			continue
		}
		user := ""
		if first, rest, more := strings.Cut(command, " "); more && isUserColumn(first, rest) {
			user, command = first, strings.TrimLeft(rest, " \t")
		}
		shell := percent(command, false)
		bare, log, other := redirected(shell)
		i, ok := fromDescriptor(shell)
		if ok {
			log, other = "", ""
		} else {
			i, ok = fromWrapper(lex(bare))
		}
		if !ok && lockTools().MatchString(command) {
			found = append(found, Imported{Line: number, Missing: []string{"line " + strconv.Itoa(number) +
				", in which nothing that lifeline does is recognised: " + command}})
			continue
		}
		if ok {
			if user != "" {
				i.Options = append([]string{"--cron-d", "--user", user}, i.Options...)
			}
			if log != "" {
				i.Options = append(i.Options, "--log", log)
			}
			if other != "" {
				i.Missing = append(i.Missing, "the redirection "+other)
			}
			i.Schedule, i.Line = schedule, number
			if _, fed := input(command); fed {
				i.Missing = append(i.Missing, "the text behind % as its standard input: write it to a file")
			}
			found = append(found, i)
		}
	}
	return found
}

// lockTools matches the tools that guard a line's command.
var lockTools = lazy(`(^|[\s/(;&|])(flock|setlock|run-one|run-this-one|run-one-constantly|keep-one-running|chronic|solo|lckdo|` +
	`lockrun|cronlock|lockfile|lockf|dotlockfile|with-lock-ex|pidof|pgrep)(\s|$)`)

// The two ways of flock(1) to lock a descriptor.
var (
	subshell = lazy(`^\(\s*flock((?:\s+-\S+(?:\s+[0-9.]+)??)*)\s+([0-9]+)\s*(?:\|\|\s*exit(?:\s+[0-9]+)?\s*;|&&|;)\s*(.*?)\s*;?\s*\)\s*([0-9]+)>>?\s*(\S+)$`)
	ownFD    = lazy(`^exec\s+([0-9]+)>>?\s*([^\s;&]+)\s*(?:;|&&)\s*flock((?:\s+-\S+(?:\s+[0-9.]+)??)*)\s+([0-9]+)\s*(?:\|\|\s*exit(?:\s+[0-9]+)?\s*;|&&|;)\s*(.*)$`)
)

// fromDescriptor reads ( flock -n 9 || exit; … ) 9>FILE and exec 9>FILE; flock -n 9 && ….
func fromDescriptor(command string) (Imported, bool) {
	command = strings.TrimSpace(command)
	var options, script, file string
	if m := subshell().FindStringSubmatch(command); m != nil && m[2] == m[4] {
		options, script, file = m[1], m[3], m[5]
	} else if m := ownFD().FindStringSubmatch(command); m != nil && m[1] == m[4] {
		options, script, file = m[3], m[5], m[2]
	} else {
		return Imported{}, false
	}
	words := lex(options + " " + file + " -c x").commands[0]
	i, ok := fromFlock(Imported{}, words)
	i.Command = commandOf(script)
	return i, ok
}

// isUserColumn reports whether first is a user, as in /etc/cron.d: a guard's command
// follows it.
func isUserColumn(first, rest string) bool {
	if !validUser().MatchString(first) || isGuard(first) {
		return false
	}
	next, _, _ := strings.Cut(strings.TrimLeft(rest, " \t"), " ")
	return isGuard(path.Base(next))
}

// isGuard reports whether fromWrapper knows the tool.
func isGuard(tool string) bool {
	switch tool {
	case "flock", "setlock", "run-one", "run-this-one", "run-one-constantly", "keep-one-running", "chronic", "timeout",
		"nice", "ionice", "env", "exec", "cd":
		return true
	}
	return false
}

// redirected removes the redirections at the end of a command. log is the file that
// gets its whole output; "" for /dev/null. other is what --log can't replace.
func redirected(command string) (rest, log, other string) {
	found := redirections().FindString(command)
	if found == "" {
		return command, "", ""
	}
	rest = strings.TrimSuffix(command, found)
	if m := wholeOutput().FindStringSubmatch(found); m != nil {
		log = m[1] + m[2]
		if log == "/dev/null" {
			return rest, "", ">/dev/null: what it prints is cron's mail, or give --quiet"
		}
		return rest, log, ""
	}
	return rest, "", strings.TrimSpace(found)
}

// fromWrapper reads a command that a tool guards; false for any other command.
func fromWrapper(s script) (i Imported, ok bool) {
	condition := ""
	for n, words := range s.commands {
		if to, isCD := changeDir(words); isCD && condition == "" {
			i.Options = append(i.Options, "--chdir", to.text)
			continue
		}
		if n != len(s.commands)-1 && s.ends[n] == "&&" && condition == "" {
			condition = raws(words)
			continue
		}
		if n != len(s.commands)-1 || ok {
			return Imported{}, false
		}
		for len(words) > 0 {
			if _, _, assigns := assignment(words[0]); !assigns || words[0].shell != "" {
				break
			}
			i.Options, words = append(i.Options, "--env", words[0].text), words[1:]
		}
		for len(words) > 0 && !ok {
			tool, rest := path.Base(words[0].text), words[1:]
			switch tool {
			case "flock":
				i, ok = fromFlock(i, rest)
			case "setlock":
				for len(rest) > 0 && strings.HasPrefix(rest[0].text, "-") {
					if strings.Contains(rest[0].text, "N") {
						i.Options = append(i.Options, "--wait", "1d")
					}
					rest = rest[1:]
				}
				if len(rest) > 1 {
					i.Name, i.Command, ok = nameFrom(rest[0].text), commandWords(rest[1:]), true
				}
			case "run-one":
				if len(rest) > 0 {
					i.Name, i.Command, ok = nameFrom(program(rest)), commandWords(rest), true
				}
			case "run-this-one":
				if len(rest) > 0 {
					i.Name, i.Command, ok = nameFrom(program(rest)), commandWords(rest), true
					i.Missing = append(i.Missing, "ending the instance that runs, as lifeline restart does")
				}
			case "run-one-constantly", "keep-one-running":
				if len(rest) > 0 {
					i.Name, i.Command, ok = nameFrom(program(rest)), commandWords(rest), true
					i.Options = append(i.Options, "--respawn")
				}
			case "chronic":
				i.Options = append(i.Options, "--quiet")
				if len(rest) == 0 {
					return Imported{}, false
				}
				if inner, guarded := fromWrapper(script{commands: [][]word{rest}, ends: []string{""}}); guarded {
					inner.Options = append(i.Options, inner.Options...)
					i, ok = inner, true
					break
				}
				i.Name, i.Command, ok = nameFrom(program(rest)), commandWords(rest), true
			case "timeout": // timeout(1): options, a duration, the command
				for len(rest) > 0 && strings.HasPrefix(rest[0].text, "-") {
					n := 1
					if slices.Contains([]string{"-k", "-s", "--kill-after", "--signal"}, rest[0].text) {
						n = 2
					}
					rest = rest[min(n, len(rest)):]
				}
				if len(rest) < 2 {
					return Imported{}, false
				}
				i.Options = append(i.Options, "--max-runtime", seconds(rest[0].text))
				words = rest[1:]
				continue
			case "exec", "nice", "ionice", "env":
				words = rest
				if tool != "exec" {
					i.Missing = append(i.Missing, tool+": put it into the command")
				}
				continue
			}
			if !ok {
				return Imported{}, false
			}
			// The guard may stand before chronic: flock -n x chronic y.
			if path.Base(i.Command[0]) == "chronic" && len(i.Command) > 1 {
				i.Options, i.Command = append(i.Options, "--quiet"), i.Command[1:]
			}
		}
	}
	if ok && condition != "" { // a false condition is a success without work
		script := shellWords(i.Command)
		if len(i.Command) == 3 && i.Command[0] == "sh" && i.Command[1] == "-c" {
			script = "{ " + i.Command[2] + "; }"
		}
		i.Command = []string{"sh", "-c", "! " + condition + " || " + script}
	}
	return i, ok
}

// shellWords quotes words for sh.
func shellWords(words []string) string {
	var out []string
	for _, w := range words {
		quoted := w
		if !plain(w) || w == "" {
			quoted = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
		out = append(out, quoted)
	}
	return strings.Join(out, " ")
}

// fromFlock reads flock(1)'s options: -n, -w SECONDS, -E CODE, -c COMMAND.
func fromFlock(i Imported, words []word) (Imported, bool) {
	waits, never := "", false
	var rest []word
	words = apart(words)
	for n := 0; n < len(words); n++ {
		text := words[n].text
		if !strings.HasPrefix(text, "-") || len(rest) > 0 && text != "-c" && text != "--command" {
			rest = append(rest, words[n])
			if len(rest) == 2 {
				rest = append(rest[:1:1], words[n:]...)
				break
			}
			continue
		}
		var next word
		if slices.Contains([]string{"-w", "--wait", "--timeout", "-E", "--conflict-exit-code", "-c", "--command"},
			text) &&
			n+1 < len(words) {
			n++
			next = words[n]
		}
		switch text {
		case "-n", "--nb", "--nonblock":
			never = true
		case "-w", "--wait", "--timeout":
			waits = next.text + "s"
		case "-E", "--conflict-exit-code":
			i.Options = append(i.Options, "--conflict-exit-code", next.text)
		case "-c", "--command":
			rest = append(rest[:min(1, len(rest))], word{text: "sh", raw: "sh"}, word{text: "-c", raw: "-c"}, next)
		case "-s", "--shared":
			i.Missing = append(i.Missing, "a shared lock (flock -s): only one instance runs")
		}
	}
	if len(rest) < 2 {
		return Imported{}, false
	}
	switch {
	case strings.Trim(waits, "0.s") == "" && waits != "":
	case waits != "":
		i.Options = append(i.Options, "--wait", waits)
	case !never:
		i.Missing = append(i.Missing,
			"waiting for the lock without a limit (flock without -n): --wait TIME, if it has to run after all")
	}
	i.Name, i.Command = nameFrom(rest[0].text), commandWords(rest[1:])
	return i, true
}

// apart splits flock's short options: -xn becomes -x -n.
func apart(words []word) []word {
	var out []word
	for n, w := range words {
		if !strings.HasPrefix(w.text, "-") {
			return append(out, words[n:]...)
		}
		letters := strings.TrimPrefix(w.text, "-")
		for len(letters) > 1 && strings.Contains("xesnouF", letters[:1]) {
			out = append(out, word{raw: "-" + letters[:1], text: "-" + letters[:1]})
			letters = letters[1:]
		}
		if strings.HasPrefix(letters, "w") && len(letters) > 1 { // -w10
			out = append(out, word{raw: "-w", text: "-w"}, word{raw: letters[1:], text: letters[1:]})
			continue
		}
		out = append(out, word{raw: "-" + letters, text: "-" + letters})
	}
	return out
}

// commandWords returns the words of a command, or sh -c with them if a word needs a
// shell.
func commandWords(words []word) []string {
	if slices.ContainsFunc(words, func(w word) bool { return w.shell != "" }) {
		return []string{"sh", "-c", "exec " + raws(words)}
	}
	return texts(words)
}

// program returns the program's word, behind such tools as nice(1).
func program(words []word) string {
	name := words[0].text
	for n, w := range words {
		_, _, assigns := assignment(w)
		if assigns || strings.HasPrefix(w.text, "-") || n > 0 && strings.Trim(w.text, "0123456789.smhd") == "" {
			continue
		}
		if !slices.Contains([]string{"nice", "ionice", "env", "timeout", "chronic", "nohup", "setsid", "sudo"},
			path.Base(w.text)) {
			return w.text
		}
	}
	return name
}

func texts(words []word) []string {
	var list []string
	for _, w := range words {
		list = append(list, w.text)
	}
	return list
}
