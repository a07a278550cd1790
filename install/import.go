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
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("cannot tell where %s is: %w", file, err)
	}
	switch ext := filepath.Ext(base); {
	case ext == ".service":
		return importUnit(strings.TrimSuffix(base, ".service"), text)
	case ext == ".json":
		return importPM2(text, dir)
	case ext == ".js" || ext == ".cjs" || ext == ".mjs" || ext == ".ts":
		return nil, fmt.Errorf("it is a program: give pm2's ecosystem file as JSON: "+asJSON+" >ecosystem.json", base)
	case strings.HasPrefix(base, "Procfile"):
		return importProcfile(text, dir), nil
	case strings.Contains("\n"+text, "\n[program:"):
		return importSupervisord(text), nil
	}
	return importCrontab(text), nil
}

// asJSON is the command that prints what a JavaScript file exports.
const asJSON = `node -p 'JSON.stringify(require("./%s"))'`

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
		user := ""
		if first, rest, more := strings.Cut(command, " "); more && isUserColumn(first, rest) {
			user, command = first, strings.TrimLeft(rest, " \t")
		}
		shell := percent(command, false)
		bare, log, other := redirected(shell)
		if i, ok := fromWrapper(lex(bare)); ok {
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

// isUserColumn reports that first is a user, as in /etc/cron.d: what follows it is a
// guard.
func isUserColumn(first, rest string) bool {
	if !validUser().MatchString(first) || isGuard(first) {
		return false
	}
	next, _, _ := strings.Cut(strings.TrimLeft(rest, " \t"), " ")
	return isGuard(path.Base(next))
}

// isGuard reports a tool that fromWrapper looks through.
func isGuard(tool string) bool {
	switch tool {
	case "flock", "setlock", "run-one", "run-this-one", "run-one-constantly", "keep-one-running", "chronic", "timeout",
		"nice", "ionice", "env", "exec", "cd":
		return true
	}
	return false
}

// redirected takes the redirections off the end of a command: those that write down
// all that it prints. log is the file; /dev/null is none. other is what is left out.
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

var (
	redirections = lazy(`(\s*[0-9&]?>>?\s*&?[^\s<>&|;()'"]+)+\s*$`)
	// >> FILE 2>&1, and &>> FILE.
	wholeOutput = lazy(`^\s*(?:1?>>?\s*([^\s&>]+)\s+2>&1|&>>?\s*([^\s&>]+))\s*$`)
)

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
				if inner, guarded := fromWrapper(script{commands: [][]word{rest}, ends: []string{""}}); guarded {
					inner.Options = append(i.Options, inner.Options...)
					i, ok = inner, true
					break
				}
				i.Name, i.Command, ok = nameFrom(rest[0].text), texts(rest), true
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
	return i, ok
}

// fromFlock reads flock(1)'s options: -n, -w SECONDS, -E CODE, -c COMMAND.
func fromFlock(i Imported, words []word) (Imported, bool) {
	waits, never := "", false
	var rest []string
	words = apart(words)
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
	case strings.Trim(waits, "0.s") == "" && waits != "":
	case waits != "":
		i.Options = append(i.Options, "--wait", waits)
	case !never:
		i.Missing = append(i.Missing, "waiting for the lock without a limit (flock without -n): --wait TIME, if it has to run after all")
	}
	i.Name, i.Command = nameFrom(rest[0]), rest[1:]
	return i, true
}

// apart writes flock's short options one by one: -xn is -x -n.
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

func texts(words []word) []string {
	var list []string
	for _, w := range words {
		list = append(list, w.text)
	}
	return list
}

func importProcfile(text, dir string) []Imported {
	var found []Imported
	for line := range strings.Lines(text) {
		name, command, ok := strings.Cut(strings.TrimSpace(line), ":")
		if command = strings.TrimSpace(command); !ok || command == "" || !validName().MatchString(name) {
			continue
		}
		i := Imported{Name: name, Options: []string{"--chdir", dir, "--respawn"}, Command: commandOf(command)}
		if name == "release" { // of a deployment, run once
			i.Options = i.Options[:2]
			i.Missing = append(i.Missing, "a release phase is no daemon: run it when you deploy")
		}
		if strings.Contains(command, "$PORT") || strings.Contains(command, "${PORT") {
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
	text = strings.ReplaceAll(strings.ReplaceAll(text, "\r\n", "\n"), "\\\n", " ") // systemd.syntax(7)
	for line := range strings.Lines(text) {
		indented := strings.TrimLeft(line, " \t") != line
		line = strings.TrimSpace(line)
		goesOn := indented && line != "" && !strings.Contains("#;[", line[:1])
		if n := len(sections); goesOn && n > 0 && len(sections[n-1].lines) > 0 {
			last := sections[n-1].lines // of Python's ConfigParser: it goes on
			last[len(last)-1][1] += " " + line
			continue
		}
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
			if n := strings.Index(strings.ReplaceAll(value, "\t;", " ;"), " ;"); n >= 0 {
				value = value[:n]
			}
			known := strings.NewReplacer("%(program_name)s", name, "%(group_name)s", name, "%%", "%")
			value = strings.TrimSpace(known.Replace(value))
			if m := expansion().FindString(value); m != "" && key != "process_name" {
				i.Missing = append(i.Missing, key+": what "+m+" stands for")
			}
			switch key {
			case "command":
				i.Command = commandOf(value)
			case "directory":
				i.Options = append(i.Options, "--chdir", value)
			case "environment":
				for _, kv := range environment().FindAllStringSubmatch(value, -1) {
					i.Options = append(i.Options, "--env", kv[1]+"="+kv[2]+kv[3]+kv[4])
				}
			case "autorestart":
				respawn = map[string]string{"true": "always", "false": "", "unexpected": "failure"}[value]
			case "stopsignal":
				i.Options = append(i.Options, "--stop-signal", value)
			case "stopwaitsecs":
				i.Options = append(i.Options, "--kill-after", value+"s")
			case "stdout_logfile":
				if value != "NONE" && value != "AUTO" && value != "syslog" && !strings.HasPrefix(value, "/dev/") {
					i.Options = append(i.Options, "--log", value)
				}
			case "stdout_logfile_maxbytes":
				i.Options = append(i.Options, "--log-max-size", value)
			case "stdout_logfile_backups":
				i.Options = append(i.Options, "--log-keep", value)
			case "umask":
				i.Options = append(i.Options, "--umask", value)
			case "user":
				i.Options = append(i.Options, "--cron-d", "--user", value)
			case "numprocs":
				if value != "1" {
					i.Missing = append(i.Missing, "numprocs="+value+": one name for each process")
				}
			case "autostart":
				if value == "false" {
					i.Missing = append(i.Missing, "autostart=false: cron starts it; lifeline disable "+i.Name+" keeps it down")
				}
			case "startsecs", "startretries", "priority", "redirect_stderr", "process_name", "stopasgroup", "killasgroup",
				"stderr_logfile_maxbytes", "stderr_logfile_backups":
			default:
				i.Missing = append(i.Missing, key)
			}
		}
		if !slices.Contains(i.Options, "--log") {
			i.Options = without2(i.Options, "--log-max-size", "--log-keep")
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

var (
	expansion   = lazy(`%\([A-Za-z_]+\)[sd]`)
	environment = lazy(`([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"]*)"|'([^']*)'|([^,\s]*))`)
)

// without2 takes options out, each with its value.
func without2(options []string, names ...string) []string {
	var out []string
	for n := 0; n < len(options); n++ {
		if slices.Contains(names, options[n]) {
			n++
			continue
		}
		out = append(out, options[n])
	}
	return out
}

// importPM2 takes {"apps": [{"name", "script", "args", "cwd", "env"}]}.
func importPM2(text, dir string) ([]Imported, error) {
	type app = map[string]any
	var file struct {
		Apps []app `json:"apps"`
	}
	err := json.Unmarshal([]byte(text), &file)
	if len(file.Apps) == 0 { // a list of them, or one alone
		var one app
		if json.Unmarshal([]byte(text), &file.Apps) == nil {
			err = nil
		} else if json.Unmarshal([]byte(text), &one) == nil && one["script"] != nil {
			file.Apps, err = []app{one}, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read pm2's ecosystem file: %w; give it as JSON: "+asJSON, err, "ecosystem.config.js")
	}
	var found []Imported
	for _, app := range file.Apps {
		if i, ok := fromPM2(app, dir); ok {
			found = append(found, i)
		}
	}
	return found, nil
}

func fromPM2(app map[string]any, dir string) (i Imported, ok bool) {
	text := func(key string) string { value, _ := app[key].(string); return value }
	scriptFile := text("script")
	if scriptFile == "" {
		return Imported{}, false
	}
	name := text("name")
	if name == "" {
		name = strings.TrimSuffix(path.Base(scriptFile), path.Ext(scriptFile))
	}
	cwd := text("cwd")
	if !filepath.IsAbs(cwd) {
		cwd = filepath.Join(dir, cwd)
	}
	i = Imported{Name: nameFrom(name), Options: []string{"--chdir", cwd}}
	interpreter := text("interpreter")
	ext, isOwn := path.Ext(scriptFile), strings.Contains(scriptFile, "/") && !filepath.IsAbs(scriptFile)
	if isJS := slices.Contains([]string{".js", ".cjs", ".mjs"}, ext); interpreter == "" && (isJS || ext == "" && isOwn) {
		interpreter = "node"
	}
	if interpreter != "" && interpreter != "none" {
		i.Command = append(append(i.Command, interpreter), wordsOf(app["node_args"])...)
		i.Command = append(i.Command, wordsOf(app["interpreter_args"])...)
	}
	i.Command = append(append(i.Command, scriptFile), wordsOf(app["args"])...)
	if env, ok := app["env"].(map[string]any); ok {
		for _, k := range sortedKeys(env) {
			i.Options = append(i.Options, "--env", fmt.Sprintf("%s=%v", k, env[k]))
		}
	}
	for _, k := range sortedKeys(app) {
		value := fmt.Sprint(app[k])
		switch k {
		case "name", "script", "args", "cwd", "env", "interpreter", "interpreter_args", "node_args", "merge_logs",
			"error_file", "log_date_format", "listen_timeout", "exec_mode":
		case "autorestart":
			if value == "true" {
				i.Options = append(i.Options, "--respawn")
			}
		case "watch":
			if value != "false" {
				i.Missing = append(i.Missing, "watch: --reload-on-change FILE looks at one file")
			}
		case "instances":
			if value != "1" {
				i.Missing = append(i.Missing, fmt.Sprintf("instances %s: one name for each, or a server that forks", value))
			}
		case "max_memory_restart":
			i.Options = append(i.Options, "--max-memory", value)
		case "kill_timeout":
			i.Options = append(i.Options, "--kill-after", value+"ms")
		case "restart_delay":
			i.Options = append(i.Options, "--respawn-delay", value+"ms")
		case "out_file", "log_file":
			file := value
			if !filepath.IsAbs(file) {
				file = filepath.Join(cwd, file)
			}
			if !slices.Contains(i.Options, "--log") {
				i.Options = append(i.Options, "--log", file)
			}
		case "time":
			if value == "true" {
				i.Options = append(i.Options, "--timestamps")
			}
		default:
			i.Missing = append(i.Missing, k)
		}
	}
	if _, given := app["autorestart"]; !given {
		i.Options = append(i.Options, "--respawn")
	}
	if !slices.Contains(i.Options, "--log") {
		i.Options = slices.DeleteFunc(i.Options, func(o string) bool { return o == "--timestamps" })
	}
	if !slices.Contains(i.Options, "--respawn") {
		i.Options = without2(i.Options, "--respawn-delay")
	}
	return i, true
}

// wordsOf is a list of words, or a text of words.
func wordsOf(value any) []string {
	var out []string
	switch value := value.(type) {
	case string:
		out = strings.Fields(value)
	case []any:
		for _, v := range value {
			out = append(out, fmt.Sprint(v))
		}
	}
	return out
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
				for _, words := range lex(value).commands {
					for _, w := range words {
						i.Options = append(i.Options, "--env", w.text)
					}
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
			case "Nice":
				i.Options = append(i.Options, "--nice", value)
			case "OOMScoreAdjust":
				i.Options = append(i.Options, "--oom-score-adj", value)
			case "MemoryMax":
				i.Options = append(i.Options, "--max-memory", value)
			case "StandardOutput":
				_, file, isFile := strings.Cut(value, ":")
				if isFile && strings.HasPrefix(file, "/") {
					i.Options = append(i.Options, "--log", file)
				} else if value == "syslog" || value == "journal" {
					i.Options = append(i.Options, "--log-to", "syslog")
				}
			case "StandardError", "SyslogIdentifier", "KillMode", "ExecReload":
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
