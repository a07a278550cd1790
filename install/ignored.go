package install

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// CheckFile returns what makes Debian's cron ignore all of a crontab: one bad line is
// enough (user.c, load_user). Cronie and busybox ignore the bad line alone. hasUser is
// for system crontabs, whose users isUser knows.
//
// CheckFile passes what Debian's cron takes but never starts, such as 5-1, or garbage
// behind 5*. Found by experiment; proof/cron repeats it.
func CheckFile(crontab string, hasUser bool, isUser func(string) bool) error {
	number := 0
	for line := range strings.Lines(crontab) {
		number++
		text := strings.TrimLeft(strings.TrimSuffix(line, "\n"), " \t")
		if text == "" || text[0] == '#' {
			continue
		}
		if !strings.HasSuffix(line, "\n") {
			return fmt.Errorf("its last line has no newline, and Debian's cron then ignores all of it")
		}
		if debianSetting(text) {
			continue
		}
		if why := badEntry(text, hasUser, isUser); why != "" {
			return fmt.Errorf("line %d %s, and Debian's cron then ignores all of the file", number, why)
		}
	}
	return nil
}

// debianSetting reports whether Debian's cron takes the line for a setting. It follows
// load_env of env.c, which reads no empty value without quotes (MAILTO=), and 998 bytes of
// a line.
func debianSetting(line string) bool {
	const most = 998
	line = line[:min(len(line), most)]
	if strings.Contains(line, "\x00") {
		return false
	}
	isSpace := func(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }
	quoted := func(rest string) (after string, ok bool) {
		_, after, ok = strings.Cut(rest[1:], rest[:1])
		return after, ok
	}
	rest := line
	if rest != "" && (rest[0] == '\'' || rest[0] == '"') {
		name := rest
		var ok bool
		if rest, ok = quoted(rest); !ok || strings.Contains(name[:len(name)-len(rest)], "=") {
			return false
		}
	} else {
		for rest != "" && rest[0] != '=' && !isSpace(rest[0]) {
			rest = rest[1:]
		}
	}
	const space = " \t\n\v\f\r"
	rest, ok := strings.CutPrefix(strings.TrimLeft(rest, space), "=")
	rest = strings.TrimLeft(rest, space)
	if !ok || rest == "" {
		return false
	}
	if rest[0] != '\'' && rest[0] != '"' {
		return true
	}
	rest, ok = quoted(rest)
	return ok && strings.Trim(rest, space) == ""
}

// badEntry returns what completes "line N …"; "" for an entry that cron takes.
func badEntry(text string, hasUser bool, isUser func(string) bool) string {
	schedule, user, command, _ := columns(strings.TrimPrefix(text, "-"), hasUser && !strings.HasPrefix(text, "-"))
	if strings.HasPrefix(text, "\xef\xbb\xbf") {
		return "begins with a byte order mark"
	}
	if strings.TrimRight(text, "\r") == "" {
		return "holds a carriage return alone (an editor's CRLF)"
	}
	if strings.HasPrefix(text, "-") {
		return "begins with -"
	}
	if name, value, ok := setting(text); ok && value == "" && !strings.ContainsAny(text, `'"`) {
		return fmt.Sprintf(`sets %s to nothing without quotes (%s="")`, shorten(name), name)
	}
	words := strings.Split(schedule, " ")
	if strings.HasPrefix(text, "@") {
		if !slices.Contains(scheduleWords, words[0]) {
			return fmt.Sprintf("has %s, which is no schedule", shorten(words[0]))
		}
	} else {
		for i, f := range fields {
			if !f.debianTakes(words[i]) {
				return fmt.Sprintf("has %s for the %s", shorten(words[i]), f.name)
			}
		}
	}
	switch {
	case hasUser && user == "":
		return "names no user"
	case hasUser && !isUser(user):
		return fmt.Sprintf("names the user %s, whom this machine doesn't know", shorten(user))
	case command == "":
		return "has no command"
	case len(command) > maxCommand:
		return fmt.Sprintf("has a command of %d bytes, of %d that cron takes", len(command), maxCommand)
	}
	return ""
}

var debianItem = lazy(`^(\*|[A-Za-z0-9]+)([-~][A-Za-z0-9]*)?(/[0-9]*)?`)

// debianTakes follows get_list of Debian's entry.c, which skips everything between an
// item and the next comma.
func (f field) debianTakes(column string) bool {
	number := func(s string) bool { _, err := f.value(s); return err == nil }
	for {
		item := debianItem().FindStringSubmatch(column)
		if item == nil {
			return false
		}
		low, high, step := item[1], item[2], item[3]
		if low != "*" && !number(low) || low != "*" && high != "" && !number(high[1:]) || low != "*" && high == "" &&
			step != "" {
			return false
		}
		if n, err := strconv.Atoi(strings.TrimPrefix(step, "/")); step != "" && (err != nil || n < 1) {
			return false
		}
		rest, more := strings.CutPrefix(column[len(item[0]):], ",")
		if !more {
			return true
		}
		column = rest
	}
}

// CheckSupercronic returns what makes supercronic end at its start: one unreadable line
// is enough (v0.2.33, crontab/crontab.go).
func CheckSupercronic(crontab string) error {
	number := 0
	for line := range strings.Lines(crontab) {
		number++
		text := strings.TrimSpace(line)
		if text == "" || text[0] == '#' {
			continue
		}
		if _, _, ok := setting(text); ok {
			continue
		}
		schedule, _, command, ok := columns(text, false)
		words := strings.Fields(schedule)
		switch {
		case text[0] == '@' && (words[0] == "@reboot" || !slices.Contains(scheduleWords, words[0])):
			return fmt.Errorf("line %d begins with %s, at which supercronic ends", number, shorten(words[0]))
		case !ok || command == "" || text[0] != '@' && strings.Trim(words[0], "0123456789*/,-") != "":
			return fmt.Errorf("line %d is no schedule with a command, and supercronic ends at it", number)
		}
	}
	return nil
}
