// Package install keeps the lines that start lifeline in a crontab, and
// finds them there again.
//
// A crontab is a string here: it is read, changed, shown and written in four steps. A
// dry run leaves out the last step. Edit does all but the showing, and makes lifelines
// take turns.
//
//	tab := install.Crontab{} // the caller's own
//	old, err := tab.Read(ctx)
//	...
//	new, err := install.Add(old, install.Entry{
//		Name:    "web",
//		Binary:  "/usr/local/bin/lifeline",
//		Command: []string{"/srv/web/serve", "--port", "8080"},
//		Reboot:  true,
//	})
//	...
//	fmt.Print(install.Diff(old, new, "crontab"))
//	err = tab.Write(ctx, old, new)
//
// That adds one block, and Remove takes just that block out again:
//
//	# lifeline web begin -- made by "lifeline install", undone by "lifeline uninstall web"
//	@reboot exec /usr/local/bin/lifeline web -- /srv/web/serve --port 8080
//	* * * * * exec /usr/local/bin/lifeline web -- /srv/web/serve --port 8080
//	# lifeline web end
//
// Everything outside the markers stays as it is, byte for byte. CronD does the same
// for a file in /etc/cron.d. Entries and Find read lines back, also handwritten lines.
package install

import (
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
)

// Entry is what one block in a crontab runs.
type Entry struct {
	Name     string
	Binary   string   // the absolute path of lifeline
	Options  []string // the words between Binary and Name
	Command  []string
	Schedule string // five fields or an @word; "" is every minute
	Reboot   bool   // an @reboot line beside Schedule
	User     string // the column that only system crontabs have; "" in a user's own
	File     string // supercronic's file for the block; "" for cron's own

	// Task replaces Options, Name and Command by a subcommand of lifeline: report --out
	// FILE. Name then only marks the block.
	Task []string
}

// EveryMinute is the schedule of an Entry that names none.
const EveryMinute = "* * * * *"

// maxCommand is the longest command, in bytes as written, that Debian's cron 3.0pl1
// takes (its buffer has 1000 bytes). With 999, crontab(1) says "command too long" and
// refuses the whole crontab. Other crons take at least as much.
const maxCommand = 998

var validName = lazy(`^[A-Za-z0-9][A-Za-z0-9._:@+-]{0,127}$`)

// validUser allows more than useradd(8), for directory services, but no character
// that would end the column.
var validUser = lazy(`^[A-Za-z0-9_][A-Za-z0-9_.@\\-]*\$?$`)

// lazy compiles a pattern when it is first needed, because every tick pays for a
// package's initialisation.
func lazy(pattern string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(pattern) })
}

// Add returns crontab with e's block. The block replaces that of the same name, whose
// pasted copies are removed; a new block goes to the end. A second Add changes
// nothing. Add fails when e can't be written as a crontab line, or when the markers of
// e.Name don't pair up.
func Add(crontab string, e Entry) (string, error) {
	lines, err := e.lines()
	if err != nil {
		return "", fmt.Errorf("cannot write a crontab line for %q: %w", e.Name, err)
	}
	old, err := blocks(crontab, e.Name)
	if err != nil {
		return "", err
	}
	if len(old) > 0 {
		if off(crontab[old[0].start:old[0].end]) {
			lines = comment(lines)
		}
		return replace(crontab, old, e.frame(lines, old[0].joined)), nil
	}
	joined := crontab != "" && !strings.HasSuffix(crontab, "\n")
	if joined {
		crontab += "\n"
	}
	return crontab + e.frame(lines, joined), nil
}

// Remove returns crontab without name's block, and whether there was one. It
// fails when the markers of name in crontab don't pair up.
func Remove(crontab, name string) (rest string, found bool, err error) {
	old, err := blocks(crontab, name)
	if err != nil || len(old) == 0 {
		return crontab, false, err
	}
	return remove(crontab, old), true, nil
}

// lines returns the crontab lines of e, each with its newline.
func (e Entry) lines() (string, error) {
	if !validName().MatchString(e.Name) {
		return "", fmt.Errorf("%q is not a name: use 1 to 128 letters, digits and . _ - : @ +, beginning with a "+
			"letter or digit", e.Name)
	}
	if !filepath.IsAbs(e.Binary) {
		return "", fmt.Errorf("the path of lifeline is %q, and cron, which starts in another directory, needs one "+
			"that begins with /", e.Binary)
	}
	if len(e.Command) == 0 && len(e.Task) == 0 {
		return "", fmt.Errorf("there is no command: give it after --")
	}
	if e.User != "" && !validUser().MatchString(e.User) {
		return "", fmt.Errorf("%q can't be a user in a crontab: give a login name", e.User)
	}
	words := append([]string{e.Binary}, e.Options...)
	words = append(words, e.Name, "--")
	words = append(words, e.Command...)
	if len(e.Task) > 0 {
		words = append([]string{e.Binary}, e.Task...)
	}
	for i, word := range words {
		if word == "--" && i > 0 && i <= len(e.Options) && len(e.Task) == 0 {
			return "", fmt.Errorf("there is a -- before the name: leave it out")
		}
		quoted, err := Quote(word)
		if err != nil {
			return "", err
		}
		words[i] = quoted
	}
	// Without exec a shell such as dash would stay until the command ends.
	command := "exec " + strings.Join(words, " ")
	if len(command) > maxCommand {
		return "", fmt.Errorf("the command takes %d bytes in the crontab and cron cuts off at %d: put it into a "+
			"script and give that", len(command), maxCommand)
	}
	schedule := e.Schedule
	if schedule == "" {
		schedule = EveryMinute
	}
	schedule, err := parseSchedule(schedule)
	if err != nil {
		return "", err
	}
	if e.User != "" {
		command = e.User + " " + command
	}
	text := schedule + " " + command + "\n"
	if schedule != "@reboot" && e.Reboot {
		text = "@reboot " + command + "\n" + text
	}
	return text, nil
}

const (
	beginNote = `made by "lifeline install", undone by "lifeline uninstall NAME"`
	cronDNote = `made by "lifeline install", undone by "lifeline uninstall --cron-d NAME"`
	// joinedNote marks a block above which Add has put a newline, for Remove.
	joinedNote = "the newline above the block belongs to it"
)

// frame puts the markers around e's lines.
func (e Entry) frame(lines string, joined bool) string {
	begin, end := beginNote, "# lifeline "+e.Name+" end"
	if e.User != "" {
		begin = cronDNote
	}
	if e.File != "" {
		begin = strings.Replace(begin, "uninstall", "uninstall --crontab "+e.File, 1)
	}
	if joined {
		end += " -- " + joinedNote
	}
	undone := e.Name
	if len(e.Task) > 0 {
		undone = "--" + e.Name
	}
	return "# lifeline " + e.Name + " begin -- " + strings.ReplaceAll(begin, "NAME", undone) + "\n" + lines + end + "\n"
}

// marker reads a line as a block's marker. The form is strict, so that a handwritten
// comment such as "# lifeline web begins at six" doesn't match.
func marker(line string) (name, kind, note string, ok bool) {
	// An editor that saved the crontab with CRLF must not hide a marker.
	line = strings.TrimRight(line, " \t\r\n")
	line, ok = strings.CutPrefix(line, "# lifeline ")
	if !ok {
		return "", "", "", false
	}
	line, note, noted := strings.Cut(line, " -- ")
	name, kind, _ = strings.Cut(line, " ")
	ok = validName().MatchString(name) && (kind == "begin" || kind == "end") && (!noted || note != "")
	return name, kind, note, ok
}

// A block is the bytes [start, end) of a crontab, markers included.
type block struct {
	start, end int
	joined     bool
}

// blocks returns all blocks of name. Markers that don't pair up are an error, because
// a guess could remove handwritten lines.
func blocks(crontab, name string) ([]block, error) {
	var found []block
	begin, beginLine := -1, 0
	offset, number := 0, 0
	broken := func(line int, what string) error {
		return fmt.Errorf("cannot change the block of %q in the crontab: %s in line %d: put the marker back or take "+
			"the rest of the block out by hand (crontab -e), then try again", name, what, line)
	}
	for line := range strings.Lines(crontab) {
		number++
		start := offset
		offset += len(line)
		owner, kind, note, ok := marker(line)
		switch {
		case !ok:
		case begin >= 0 && (owner != name || kind != "end"):
			return nil, broken(beginLine, `no "end" marker follows the "begin" marker`)
		case owner != name:
		case kind == "begin":
			begin, beginLine = start, number
		case begin < 0:
			return nil, broken(number, `no "begin" marker stands before the "end" marker`)
		default:
			found = append(found, block{begin, offset, note == joinedNote})
			begin = -1
		}
	}
	if begin >= 0 {
		return nil, broken(beginLine, `no "end" marker follows the "begin" marker`)
	}
	return found, nil
}

// replace replaces the first block by text, and removes the others.
func replace(crontab string, old []block, text string) string {
	first := old[0]
	return crontab[:first.start] + text + without(crontab[first.end:], first.end, old[1:])
}

// without removes the blocks from text, which begins at an offset in the crontab.
func without(text string, offset int, old []block) string {
	var out strings.Builder
	for _, b := range old {
		out.WriteString(text[:b.start-offset])
		text, offset = text[b.end-offset:], b.end
	}
	return out.String() + text
}

// remove removes all the blocks. The newline that Add put above a block is removed
// when nothing follows. A block that follows directly inherits it, and a handwritten
// line keeps it.
func remove(crontab string, old []block) string {
	for i := len(old) - 1; i >= 0; i-- { // from the end: the offsets stay right
		b := old[i]
		above, below := crontab[:b.start], crontab[b.end:]
		if b.joined && below == "" {
			above = strings.TrimSuffix(above, "\n")
		} else if b.joined {
			below = inherit(below)
		}
		crontab = above + below
	}
	return crontab
}

// inherit adds joinedNote to the block that text begins with.
func inherit(text string) string {
	offset, first := 0, ""
	for line := range strings.Lines(text) {
		name, kind, note, ok := marker(line)
		switch {
		case offset == 0 && (!ok || kind != "begin"):
			return text
		case offset == 0:
			first = name
		case ok && (name != first || kind != "end" || note != ""):
			return text // not a whole block, or already joined
		case ok:
			end := offset + len(strings.TrimRight(line, " \t\r\n"))
			return text[:end] + " -- " + joinedNote + text[end:]
		}
		offset += len(line)
	}
	return text
}
