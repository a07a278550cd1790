package install

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
)

// Imported is a command that another tool starts, as lifeline's install would have it.
type Imported struct {
	Name     string
	Schedule string   // "" is every minute
	Options  []string // of lifeline
	Command  []string // nil for a line with a lock that couldn't be understood
	Missing  []string // what lifeline lacks, or the operator must check
	Line     int      // of the crontab; 0 in other files
}

// Words returns the arguments of the `lifeline install` line.
func (i Imported) Words() []string {
	words := []string{"install"}
	if i.Schedule != "" && i.Schedule != EveryMinute {
		words = append(words, "--schedule", i.Schedule)
	}
	words = append(append(words, i.Options...), i.Name, "--")
	return append(words, i.Command...)
}

// Import reads a crontab with lines of flock, run-one, setlock or chronic,
// supervisord's configuration, a Procfile, pm2's ecosystem file in JSON, or a systemd
// service. The file's name and text decide between them.
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

// nameFrom turns a word into a valid name.
func nameFrom(word string) string {
	word = strings.TrimSuffix(strings.TrimSuffix(path.Base(word), ".lock"), ".pid")
	name := strings.Trim(notInName().ReplaceAllString(word, "-"), "-._")
	if !validName().MatchString(name) {
		return "job"
	}
	return name
}

var notInName = lazy(`[^A-Za-z0-9._-]+`)

// commandOf splits a command line, or returns sh -c with it if it needs a shell.
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

var (
	redirections = lazy(`(\s*[0-9&]?>>?\s*&?[^\s<>&|;()'"]+)+\s*$`)
	// >> FILE 2>&1, and &>> FILE.
	wholeOutput = lazy(`^\s*(?:1?>>?\s*([^\s&>]+)\s+2>&1|&>>?\s*([^\s&>]+))\s*$`)
)

var (
	expansion   = lazy(`%\([A-Za-z_]+\)[sd]`)
	environment = lazy(`([A-Za-z_][A-Za-z0-9_]*)=(?:"([^"]*)"|'([^']*)'|([^,\s]*))`)
)

// CommentOut puts a # before the lines with these numbers.
func CommentOut(crontab string, numbers map[int]bool) string {
	return eachLine(crontab, func(number int, line string) string {
		if numbers[number] {
			return "#" + line
		}
		return line
	})
}
