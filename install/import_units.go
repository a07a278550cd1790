package install

import (
	"fmt"
	"slices"
	"strings"
)

// unitOptions are the keys of a service whose values lifeline takes as they are.
var unitOptions = map[string]string{
	"Nice": "--nice", "OOMScoreAdjust": "--oom-score-adj", "MemoryMax": "--max-memory", "UMask": "--umask",
}

// importUnit reads a systemd service.
func importUnit(name, text string) ([]Imported, error) {
	i := Imported{Name: nameFrom(name)}
	respawn := ""
	for _, section := range parseINI(text) {
		if section.title != "Service" {
			continue
		}
		for _, line := range section.lines {
			key, value := line[0], line[1]
			if option := unitOptions[key]; option != "" {
				i.Options = append(i.Options, option, value)
				continue
			}
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
			case "StandardOutput":
				_, file, isFile := strings.Cut(value, ":")
				if isFile && strings.HasPrefix(file, "/") {
					i.Options = append(i.Options, "--log", file)
				} else if value == "syslog" || value == "journal" {
					i.Options = append(i.Options, "--log-to", "syslog")
				}
			case "StandardError", "SyslogIdentifier", "KillMode", "ExecReload":
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

// seconds adds the unit s to a bare number, and turns systemd's units into lifeline's.
func seconds(value string) string {
	if strings.Trim(value, "0123456789.") == "" && value != "" {
		return value + "s"
	}
	return strings.ReplaceAll(strings.ReplaceAll(value, " ", ""), "min", "m")
}
