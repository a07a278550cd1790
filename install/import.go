package install

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// Imported is what another tool keeps alive or from overlapping, in lifeline's
// words.
type Imported struct {
	Name     string
	Schedule string   // "" is every minute
	Options  []string // of lifeline
	Command  []string
	Missing  []string // what can't be had, or must be looked at
	Line     int      // of the crontab; 0 in other files
}

// Words is the `lifeline install` line, without the program.
func (i Imported) Words() []string {
	words := []string{"install"}
	if i.Schedule != "" && i.Schedule != EveryMinute {
		words = append(words, "--schedule", i.Schedule)
	}
	words = append(append(words, i.Options...), i.Name, "--")
	return append(words, i.Command...)
}

// Import reads a crontab with lines of flock, run-one, setlock or chronic,
// supervisord's configuration, a Procfile, pm2's ecosystem file in JSON, or a
// systemd service. Which it is, the file's name and its text tell.
func Import(file, text string) ([]Imported, error) {
	base := filepath.Base(file)
	switch {
	case strings.HasSuffix(base, ".service"):
		return importUnit(strings.TrimSuffix(base, ".service"), text)
	case strings.HasSuffix(base, ".json"):
		return importPM2(text)
	case strings.HasPrefix(base, "Procfile"):
		return importProcfile(text), nil
	case strings.Contains("\n"+text, "\n[program:"):
		return importSupervisord(text), nil
	}
	return importCrontab(text), nil
}

// nameFrom makes a name of a word.
func nameFrom(word string) string {
	word = strings.TrimSuffix(strings.TrimSuffix(path.Base(word), ".lock"), ".pid")
	name := strings.Trim(notInName().ReplaceAllString(word, "-"), "-._")
	if !validName().MatchString(name) {
		return "job"
	}
	return name
}

var notInName = lazy(`[^A-Za-z0-9._-]+`)

// commandOf splits a command line; what only a shell understands goes to one.
func commandOf(line string) []string {
	s := lex(line)
	if len(s.commands) != 1 || s.ends[0] != "" || s.unclosed != "" || strings.ContainsAny(line, "<>") {
		return []string{"sh", "-c", line}
	}
	var out []string
	for i, w := range s.commands[0] {
		if _, _, assigns := assignment(w); w.shell != "" || assigns && i == 0 {
			return []string{"sh", "-c", line}
		}
		out = append(out, w.text)
	}
	return out
}

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
		if i, ok := fromWrapper(lex(percent(command, false))); ok {
			i.Schedule, i.Line = schedule, number
			if _, fed := input(command); fed {
				i.Missing = append(i.Missing, "the text behind % as its standard input: write it to a file")
			}
			found = append(found, i)
		}
	}
	return found
}

// fromWrapper reads one command that a tool guards. Others aren't ours to move.
func fromWrapper(s script) (i Imported, ok bool) {
	for n, words := range s.commands {
		if to, isCD := changeDir(words); isCD {
			i.Options = append(i.Options, "--chdir", to.text)
			continue
		}
		if n != len(s.commands)-1 || ok {
			return Imported{}, false
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
					i.Name, i.Command, ok = nameFrom(rest[0].text), texts(rest[1:]), true
				}
			case "run-one":
				if len(rest) > 0 {
					i.Name, i.Command, ok = nameFrom(rest[0].text), texts(rest), true
				}
			case "run-this-one":
				if len(rest) > 0 {
					i.Name, i.Command, ok = nameFrom(rest[0].text), texts(rest), true
					i.Missing = append(i.Missing, "ending the instance that runs: lifeline restart "+i.Name)
				}
			case "run-one-constantly", "keep-one-running":
				if len(rest) > 0 {
					i.Name, i.Command, ok = nameFrom(rest[0].text), texts(rest), true
					i.Options = append(i.Options, "--respawn")
				}
			case "chronic":
				i.Options = append(i.Options, "--quiet")
				if len(rest) == 0 {
					return Imported{}, false
				}
				if inner, isGuard := fromWrapper(script{commands: [][]word{rest}, ends: []string{""}}); isGuard {
					inner.Options = append(i.Options, inner.Options...)
					i, ok = inner, true
					break
				}
				i.Name, i.Command, ok = nameFrom(rest[0].text), texts(rest), true
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
	return i, ok
}

// fromFlock reads flock(1)'s options: -n, -w SECONDS, -E CODE, -c COMMAND.
func fromFlock(i Imported, words []word) (Imported, bool) {
	waits, never := "", false
	var rest []string
	for n := 0; n < len(words); n++ {
		text := words[n].text
		if !strings.HasPrefix(text, "-") || len(rest) > 0 && text != "-c" && text != "--command" {
			rest = append(rest, text)
			if len(rest) == 2 {
				rest = append(rest[:1], texts(words[n:])...)
				break
			}
			continue
		}
		next := func() string {
			if n+1 < len(words) {
				n++
				return words[n].text
			}
			return ""
		}
		switch text {
		case "-n", "--nb", "--nonblock":
			never = true
		case "-w", "--wait", "--timeout":
			waits = next() + "s"
		case "-E", "--conflict-exit-code":
			i.Options = append(i.Options, "--conflict-exit-code", next())
		case "-c", "--command":
			rest = append(rest[:min(1, len(rest))], "sh", "-c", next())
		case "-s", "--shared":
			i.Missing = append(i.Missing, "a shared lock (flock -s): only one instance runs")
		}
	}
	if len(rest) < 2 {
		return Imported{}, false
	}
	switch {
	case waits != "":
		i.Options = append(i.Options, "--wait", waits)
	case !never:
		i.Missing = append(i.Missing, "waiting for the lock without a limit (flock without -n): --wait TIME, if it has to run after all")
	}
	i.Name, i.Command = nameFrom(rest[0]), rest[1:]
	return i, true
}

func texts(words []word) []string {
	var list []string
	for _, w := range words {
		list = append(list, w.text)
	}
	return list
}

func importProcfile(text string) []Imported {
	var found []Imported
	for line := range strings.Lines(text) {
		name, command, ok := strings.Cut(strings.TrimSpace(line), ":")
		if command = strings.TrimSpace(command); !ok || command == "" || !validName().MatchString(name) {
			continue
		}
		i := Imported{Name: name, Options: []string{"--respawn"}, Command: commandOf(command)}
		if strings.Contains(command, "$PORT") {
			i.Missing = append(i.Missing, "PORT: give --env PORT=…")
		}
		found = append(found, i)
	}
	return found
}

// An ini is a section's lines, in order.
type ini struct {
	title string
	lines [][2]string
}

func parseINI(text string) []ini {
	var sections []ini
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#' || line[0] == ';':
		case line[0] == '[' && strings.HasSuffix(line, "]"):
			sections = append(sections, ini{title: line[1 : len(line)-1]})
		case len(sections) > 0:
			key, value, _ := strings.Cut(line, "=")
			last := &sections[len(sections)-1]
			last.lines = append(last.lines, [2]string{strings.TrimSpace(key), strings.TrimSpace(value)})
		}
	}
	return sections
}

// importSupervisord takes the [program:x] sections of supervisord.conf.
func importSupervisord(text string) []Imported {
	var found []Imported
	for _, section := range parseINI(text) {
		name, ok := strings.CutPrefix(section.title, "program:")
		if !ok {
			continue
		}
		i := Imported{Name: nameFrom(name)}
		respawn := "failure"
		for _, line := range section.lines {
			key, value := line[0], line[1]
			switch key {
			case "command":
				i.Command = commandOf(value)
			case "directory":
				i.Options = append(i.Options, "--chdir", value)
			case "environment":
				for _, kv := range strings.Split(value, ",") {
					k, v, _ := strings.Cut(strings.TrimSpace(kv), "=")
					i.Options = append(i.Options, "--env", k+"="+strings.Trim(v, `"'`))
				}
			case "autorestart":
				respawn = map[string]string{"true": "always", "false": "", "unexpected": "failure"}[value]
			case "stopsignal":
				i.Options = append(i.Options, "--stop-signal", value)
			case "stopwaitsecs":
				i.Options = append(i.Options, "--kill-after", value+"s")
			case "stdout_logfile":
				if value != "NONE" && value != "AUTO" && value != "syslog" {
					i.Options = append(i.Options, "--log", value)
				}
			case "umask":
				i.Options = append(i.Options, "--umask", value)
			case "user":
				i.Options = append(i.Options, "--cron-d", "--user", value)
			case "numprocs":
				if value != "1" {
					i.Missing = append(i.Missing, "numprocs="+value+": one name for each process")
				}
			case "autostart", "startsecs", "priority", "redirect_stderr", "process_name":
			default:
				i.Missing = append(i.Missing, key)
			}
		}
		switch respawn {
		case "always":
			i.Options = append(i.Options, "--respawn")
		case "failure":
			i.Options = append(i.Options, "--respawn", "--respawn-on", "failure")
		}
		if len(i.Command) > 0 {
			found = append(found, i)
		}
	}
	return found
}

// importPM2 takes {"apps": [{"name", "script", "args", "cwd", "env"}]}.
func importPM2(text string) ([]Imported, error) {
	var file struct {
		Apps []map[string]any `json:"apps"`
	}
	if err := json.Unmarshal([]byte(text), &file); err != nil {
		return nil, fmt.Errorf("cannot read pm2's ecosystem file: %w; give it as JSON: node -p 'JSON.stringify(require(\"./ecosystem.config.js\"))'", err)
	}
	var found []Imported
	for _, app := range file.Apps {
		scriptFile, _ := app["script"].(string)
		name, _ := app["name"].(string)
		i := Imported{Name: nameFrom(name), Options: []string{"--respawn"}}
		interpreter, _ := app["interpreter"].(string)
		if interpreter == "" && strings.HasSuffix(scriptFile, ".js") {
			interpreter = "node"
		}
		if interpreter != "" && interpreter != "none" {
			i.Command = append(i.Command, interpreter)
		}
		i.Command = append(i.Command, scriptFile)
		switch args := app["args"].(type) {
		case string:
			i.Command = append(i.Command, strings.Fields(args)...)
		case []any:
			for _, a := range args {
				i.Command = append(i.Command, fmt.Sprint(a))
			}
		}
		if cwd, ok := app["cwd"].(string); ok {
			i.Options = append(i.Options, "--chdir", cwd)
		}
		if env, ok := app["env"].(map[string]any); ok {
			for _, k := range sortedKeys(env) {
				i.Options = append(i.Options, "--env", fmt.Sprintf("%s=%v", k, env[k]))
			}
		}
		known := " name script args cwd env interpreter autorestart watch instances "
		for _, k := range sortedKeys(app) {
			if !strings.Contains(known, " "+k+" ") {
				i.Missing = append(i.Missing, k)
			}
		}
		if n, ok := app["instances"]; ok && fmt.Sprint(n) != "1" {
			i.Missing = append(i.Missing, fmt.Sprintf("instances %v: one name for each, or a server that forks", n))
		}
		if scriptFile != "" {
			found = append(found, i)
		}
	}
	return found, nil
}

// importUnit takes a service of systemd.
func importUnit(name, text string) ([]Imported, error) {
	i := Imported{Name: nameFrom(name)}
	respawn := ""
	for _, section := range parseINI(text) {
		if section.title != "Service" {
			continue
		}
		for _, line := range section.lines {
			key, value := line[0], line[1]
			switch key {
			case "ExecStart":
				if strings.ContainsAny(value, "%$") {
					i.Missing = append(i.Missing, "what systemd expands in ExecStart: look at it")
				}
				i.Command = commandOf(strings.TrimLeft(value, "-@:+!"))
			case "WorkingDirectory":
				i.Options = append(i.Options, "--chdir", strings.TrimPrefix(value, "-"))
			case "Environment":
				for _, w := range commandOf(value) {
					i.Options = append(i.Options, "--env", w)
				}
			case "EnvironmentFile":
				i.Options = append(i.Options, "--env-file", strings.TrimPrefix(value, "-"))
			case "Restart":
				respawn = value
			case "RestartSec":
				i.Options = append(i.Options, "--respawn-delay", seconds(value))
			case "TimeoutStopSec":
				i.Options = append(i.Options, "--kill-after", seconds(value))
			case "RuntimeMaxSec":
				i.Options = append(i.Options, "--max-runtime", seconds(value))
			case "WatchdogSec":
				i.Options = append(i.Options, "--watchdog", seconds(value))
			case "KillSignal":
				i.Options = append(i.Options, "--stop-signal", strings.TrimPrefix(value, "SIG"))
			case "UMask":
				i.Options = append(i.Options, "--umask", value)
			case "User":
				i.Options = append(i.Options, "--cron-d", "--user", value)
			case "Type":
				switch value {
				case "notify":
					i.Options = append(i.Options, "--notify")
				case "forking":
					i.Options = append(i.Options, "--leftovers", "follow")
				}
			default:
				i.Missing = append(i.Missing, key)
			}
		}
	}
	if len(i.Command) == 0 {
		return nil, fmt.Errorf("cannot find an ExecStart= in it: is it a service of systemd?")
	}
	if n := slices.Index(i.Options, "--respawn-delay"); n >= 0 && (respawn == "" || respawn == "no") {
		i.Options = slices.Delete(i.Options, n, n+2)
	}
	switch respawn {
	case "always":
		i.Options = append(i.Options, "--respawn")
	case "", "no":
	default:
		i.Options = append(i.Options, "--respawn", "--respawn-on", "failure")
	}
	return []Imported{i}, nil
}

// seconds gives a number without a unit its unit.
func seconds(value string) string {
	if strings.Trim(value, "0123456789.") == "" && value != "" {
		return value + "s"
	}
	return strings.ReplaceAll(strings.ReplaceAll(value, " ", ""), "min", "m")
}

// CommentOut puts a # before the lines with these numbers.
func CommentOut(crontab string, numbers map[int]bool) string {
	return eachLine(crontab, func(number int, line string) string {
		if numbers[number] {
			return "#" + line
		}
		return line
	})
}

func sortedKeys(m map[string]any) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
