package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// pamRule is a line of a PAM service (pam.conf(5)).
type pamRule struct {
	control map[string]string // the action for each return value
	module  string            // its file's name, or its path
	args    []string
	inner   []pamRule // the rules of a substack
	at      string    // file and line
}

// pamDir is the directory of the services; tests set another.
var pamDir = "/etc/pam.d"

var pamControls = map[string]string{
	"required":   "success=ok new_authtok_reqd=ok ignore=ignore default=bad",
	"requisite":  "success=ok new_authtok_reqd=ok ignore=ignore default=die",
	"sufficient": "success=done new_authtok_reqd=done default=ignore",
	"optional":   "success=ok new_authtok_reqd=ok default=ignore",
}

// readPAM returns a service's rules of a kind: account, session or auth.
func readPAM(service, kind string) []pamRule { return readPAMFile(service, kind, 0) }

func readPAMFile(service, kind string, depth int) (rules []pamRule) {
	path := service
	if !filepath.IsAbs(path) {
		path = filepath.Join(pamDir, service)
	}
	text, err := os.ReadFile(path)
	if err != nil || depth > 16 {
		return nil
	}
	number := 0
	for line := range strings.Lines(strings.ReplaceAll(string(text), "\\\n", " ")) {
		number++
		line, _, _ = strings.Cut(line, "#")
		first, rest := cutField(line)
		if first == "@include" {
			rules = append(rules, readPAMFile(strings.TrimSpace(rest), kind, depth+1)...)
			continue
		}
		if strings.TrimPrefix(first, "-") != kind {
			continue
		}
		control, rest := cutField(rest)
		if strings.HasPrefix(control, "[") {
			inside, after, _ := strings.Cut(control+" "+rest, "]")
			control, rest = inside[1:], after
		} else if words, known := pamControls[control]; known {
			control = words
		}
		f := strings.Fields(rest)
		if len(f) == 0 {
			continue
		}
		rule := pamRule{module: f[0], args: f[1:], at: fmt.Sprintf("line %d of %s", number, path)}
		switch control {
		case "include":
			rules = append(rules, readPAMFile(f[0], kind, depth+1)...)
			continue
		case "substack":
			rule.inner = readPAMFile(f[0], kind, depth+1)
		}
		rule.control = map[string]string{}
		for _, word := range strings.Fields(control) {
			value, action, _ := strings.Cut(word, "=")
			rule.control[value] = action
		}
		rules = append(rules, rule)
	}
	return rules
}

// cutField returns the first word and the rest.
func cutField(line string) (word, rest string) {
	line = strings.TrimLeft(line, " \t")
	if i := strings.IndexAny(line, " \t\n"); i >= 0 {
		return line[:i], line[i:]
	}
	return line, ""
}

const pamSuccess = "success"

// pamWalk is the state of a walk through a stack, as in libpam (pam_dispatch.c).
type pamWalk struct {
	ask  func(pamRule) string // returns a module's return value, in the words of pam.conf(5)
	code string               // the stack's result so far; "" for none

	refusal string  // the first refusal of a module, even if its rule lets others decide
	refuser pamRule // the rule of refusal
}

// through walks through the rules, and returns whether a rule has ended the walk.
func (w *pamWalk) through(rules []pamRule) (ended bool) {
	for i := 0; i < len(rules); i++ {
		r := rules[i]
		if r.inner != nil {
			w.through(r.inner) // a rule in a substack ends only the substack
			continue
		}
		code := w.ask(r)
		if w.refusal == "" && code != pamSuccess && code != "ignore" {
			w.refusal, w.refuser = code, r
		}
		action, said := r.control[code]
		if !said {
			action = r.control["default"]
		}
		switch action {
		case "ok", "done":
			if (w.code == "" || w.code == pamSuccess) && code != "ignore" {
				w.code = code
			}
			if action == "done" && w.code == code {
				return true
			}
		case "bad", "die", "": // a missing action means bad
			if w.code == "" || w.code == pamSuccess {
				w.code = code
			}
			if action == "die" {
				return true
			}
		case "reset":
			w.code = ""
		default:
			skip, _ := strconv.Atoi(action)
			i += skip
		}
	}
	return false
}

// judgePAM walks through the stack, and returns pamSuccess, or a refusal and its rule.
// When the result depends on a module whose answer is unknown (""), unknown names the
// module.
func judgePAM(rules []pamRule, ask func(pamRule) string) (code string, by pamRule, unknown string) {
	walk := func(otherwise string) pamWalk {
		w := pamWalk{ask: func(r pamRule) string {
			code := ask(r)
			if code == "" {
				code = otherwise
				if unknown == "" {
					unknown = filepath.Base(r.module)
				}
			}
			return code
		}}
		w.through(rules)
		return w
	}
	good := walk(pamSuccess)
	switch {
	case good.code != pamSuccess:
		return good.refusal, good.refuser, ""
	case unknown != "" && walk("perm_denied").code == pamSuccess:
		unknown = ""
	}
	return pamSuccess, pamRule{}, unknown
}

// isPAMModule reports whether a module's file exists. It returns true where no directory
// of modules is found.
func isPAMModule(module string) bool {
	if filepath.IsAbs(module) {
		return exists(module)
	}
	var dirs []string
	for _, pattern := range []string{"/lib*/security", "/lib/*/security", "/usr/lib*/security", "/usr/lib/*/security"} {
		found, _ := filepath.Glob(pattern)
		dirs = append(dirs, found...)
	}
	return len(dirs) == 0 || slices.ContainsFunc(dirs,
		func(dir string) bool { return exists(filepath.Join(dir, module)) })
}

// option returns the value of the module's argument name, or otherwise without that
// argument.
func (r pamRule) option(name, otherwise string) string {
	for _, arg := range r.args {
		if value, ok := strings.CutPrefix(arg, name+"="); ok {
			return value
		}
	}
	return otherwise
}

// mayEnter reports whether the tables of pam_access(8) let p use cron. The first line that
// matches decides, and is returned in at. known is false if a netgroup was met.
func mayEnter(r pamRule, p person) (allowed bool, at string, known bool) {
	files := []string{r.option("accessfile", "/etc/security/access.conf")}
	if files[0] == "/etc/security/access.conf" {
		more, _ := filepath.Glob("/etc/security/access.d/*.conf")
		files = append(files, more...)
	}
	known = true
	isMe := func(word string) bool {
		switch {
		case strings.HasPrefix(word, "@"): // a netgroup, known to a directory service
			known = false
			return false
		case strings.HasPrefix(word, "(") && strings.HasSuffix(word, ")"):
			return slices.Contains(p.groups(), word[1:len(word)-1])
		}
		return word == "ALL" || word == p.name ||
			!slices.Contains(r.args, "nodefgroup") && slices.Contains(p.groups(), word)
	}
	isCron := func(word string) bool { return word == "ALL" || word == "LOCAL" || strings.EqualFold(word, "cron") }
	separators := r.option("listsep", ", \t")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		number := 0
		for line := range strings.Lines(string(text)) {
			number++
			f := strings.SplitN(strings.TrimSpace(line), r.option("fieldsep", ":"), 3)
			if len(f) < 3 || strings.HasPrefix(f[0], "#") {
				continue
			}
			words := func(s string) []string {
				return strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune(separators, c) })
			}
			if matchesList(words(f[1]), isMe) && matchesList(words(f[2]), isCron) {
				return strings.TrimSpace(f[0]) == "+", fmt.Sprintf("line %d of %s: %s", number, file,
					strings.TrimSpace(line)), known
			}
		}
	}
	return true, "", known
}

// matchesList reports whether a word before EXCEPT matches, and none behind it.
func matchesList(words []string, is func(string) bool) bool {
	var except []string
	if i := slices.Index(words, "EXCEPT"); i >= 0 {
		words, except = words[:i], words[i+1:]
	}
	return slices.ContainsFunc(words, is) && !matchesList(except, is)
}
