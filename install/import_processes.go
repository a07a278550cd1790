package install

import (
	"encoding/json"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

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

// An ini is a section of an INI file, with its lines in order.
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
			last := sections[n-1].lines // a continuation line of Python's ConfigParser
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

// supervisordOptions are the keys of a program whose values lifeline takes as they are.
var supervisordOptions = map[string]string{
	"directory": "--chdir", "stopsignal": "--stop-signal", "umask": "--umask",
	"stdout_logfile_maxbytes": "--log-max-size", "stdout_logfile_backups": "--log-keep",
}

// importSupervisord reads the [program:x] sections of supervisord.conf.
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
			if option := supervisordOptions[key]; option != "" {
				i.Options = append(i.Options, option, value)
				continue
			}
			switch key {
			case "command":
				i.Command = commandOf(value)
			case "environment":
				for _, kv := range environment().FindAllStringSubmatch(value, -1) {
					i.Options = append(i.Options, "--env", kv[1]+"="+kv[2]+kv[3]+kv[4])
				}
			case "autorestart":
				respawn = map[string]string{"true": "always", "false": "", "unexpected": "failure"}[value]
			case "stopwaitsecs":
				i.Options = append(i.Options, "--kill-after", value+"s")
			case "stdout_logfile":
				if value != "NONE" && value != "AUTO" && value != "syslog" && !strings.HasPrefix(value, "/dev/") {
					i.Options = append(i.Options, "--log", value)
				}
			case "user":
				i.Options = append(i.Options, "--cron-d", "--user", value)
			case "numprocs":
				if value != "1" {
					i.Missing = append(i.Missing, "numprocs="+value+": one name for each process")
				}
			case "autostart":
				if value == "false" {
					i.Missing = append(i.Missing,
						"autostart=false: cron starts it; lifeline disable "+i.Name+" keeps it down")
				}
			case "startsecs", "startretries", "priority", "redirect_stderr", "process_name", "stopasgroup",
				"killasgroup", "stderr_logfile_maxbytes", "stderr_logfile_backups":
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

// without2 removes the options names, each with its value.
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

// importPM2 reads {"apps": [{"name", "script", "args", "cwd", "env"}]}.
func importPM2(text, dir string) ([]Imported, error) {
	type app = map[string]any
	var file struct {
		Apps []app `json:"apps"`
	}
	err := json.Unmarshal([]byte(text), &file)
	if len(file.Apps) == 0 { // a list of apps, or one app alone
		var one app
		if json.Unmarshal([]byte(text), &file.Apps) == nil {
			err = nil
		} else if json.Unmarshal([]byte(text), &one) == nil && one["script"] != nil {
			file.Apps, err = []app{one}, nil
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot read pm2's ecosystem file: %w; give it as JSON: "+asJSON, err,
			"ecosystem.config.js")
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
	if isJS := slices.Contains([]string{".js", ".cjs", ".mjs"}, ext); interpreter == "" &&
		(isJS || ext == "" && isOwn) {
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
				i.Missing = append(i.Missing,
					fmt.Sprintf("instances %s: one name for each, or a server that forks", value))
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

// wordsOf returns the words of a JSON list, or of a string.
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

func sortedKeys(m map[string]any) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
