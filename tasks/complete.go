package tasks

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/install"
	"lifeline/internal/guard"
	"lifeline/procscan"
)

// completeWord is the first argument by which the shells' completion scripts ask; the
// words typed after `lifeline` follow. Names can't begin with a dash, so it takes none.
// The answer's first line says what follows: "words" (each with its meaning behind a
// tab), "files", "directories", or "command N". "command N" says that another command
// line begins behind the first N words, `lifeline` included.
const completeWord = "--complete"

func complete(typed []string) {
	if len(typed) == 0 {
		typed = []string{""}
	}
	kind, words := completions(typed)
	fmt.Println(kind)
	for _, w := range words {
		fmt.Println(w)
	}
}

func completions(typed []string) (kind string, words []string) {
	last := len(typed) - 1
	current := typed[last]
	list := commands(nil)
	table, args, at := new(options).table(), 0, 0
	var command *cli.Command
	for at < last {
		w := wordsOf(typed[at:last], table)
		switch {
		case w.text[0] == "--":
			if command == nil || takesCommand(command) {
				return fmt.Sprintf("command %d", at+2), nil
			}
		case w.option != "":
			if at+len(w.text) == last && wantsValue(w, table) {
				return values(find(table, w.option), "", current)
			}
		case args == 0 && command == nil:
			if i := slices.IndexFunc(list, func(c *cli.Command) bool { return c.HasName(w.text[0]) }); i >= 0 {
				command, table = list[i], optionsOf(list[i].Flags)
			} else {
				args++
			}
		default:
			args++
		}
		at += len(w.text)
	}
	if name, value, ok := strings.Cut(current, "="); ok && strings.HasPrefix(name, "-") {
		return values(find(table, strings.TrimLeft(name, "-")), name+"=", value)
	}
	switch {
	case strings.HasPrefix(current, "-"):
		words = optionWords(table)
	case command == nil && args == 0:
		for _, c := range list {
			words = append(words, c.Name+"\t"+c.Usage)
		}
		words = append(words, names(nil)...)
	case command != nil && command.Name == "help":
		for _, c := range list {
			words = append(words, c.Name+"\t"+c.Usage)
		}
		words = append(words, "options\tthose of lifeline NAME -- COMMAND")
	case args > 0 && (command == nil || takesCommand(command)):
		words = []string{"--\tthe command follows"}
	case strings.Contains(usageOf(command), "NAME"):
		if args == 0 || strings.Contains(usageOf(command), "NAME...") {
			words = names(typed[:last])
		}
	}
	return "words", begins(words, current)
}

func usageOf(c *cli.Command) string {
	first, _, _ := strings.Cut(c.UsageText, "\n\n")
	return first
}

func takesCommand(c *cli.Command) bool { return strings.Contains(usageOf(c), "COMMAND") }

// wordsOf returns the first word of typed.
func wordsOf(typed []string, table []*option) word {
	w := words(typed, table)[0]
	if w.text[0] == "--" {
		w.text = w.text[:1]
	}
	return w
}

// wantsValue reports whether the option w still lacks its value.
func wantsValue(w word, table []*option) bool {
	o := find(table, w.option)
	return o != nil && !o.isSwitch() && len(w.text) == 1 && !strings.Contains(w.text[0], "=")
}

// values returns what can follow as o's value. before is the part of the same word
// before the value.
func values(o *option, before, current string) (string, []string) {
	if o == nil {
		return "words", nil
	}
	var words []string
	switch {
	case o.value == "DIRECTORY" && before == "":
		return "directories", nil
	case o.value == "FILE" && before == "":
		return "files", nil
	case o.value == "SIGNAL":
		words = []string{"TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "WINCH", "KILL"}
	case o.value == "USER":
		words = userNames()
	case o.value == "FIELDS":
		words = []string{"@hourly", "@daily", "@weekly", "@monthly", "@reboot"}
	}
	if c, ok := o.to.(choice); ok {
		words = c.from
	}
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = before + w
	}
	return "words", begins(out, before+current)
}

func begins(words []string, with string) []string {
	return slices.DeleteFunc(words, func(w string) bool { return !strings.HasPrefix(w, with) })
}

func optionWords(table []*option) []string {
	var out []string
	for _, o := range table {
		out = append(out, "--"+o.name+"\t"+o.usage)
	}
	return out
}

// names returns the instances of the state directory and the crontab. typed may
// contain a --dir.
func names(typed []string) []string {
	dir := os.Getenv("LIFELINE_DIR")
	for i, w := range typed {
		if value, ok := strings.CutPrefix(w, "--dir="); ok {
			dir = value
		} else if w == "--dir" && i+1 < len(typed) {
			dir = typed[i+1]
		}
	}
	g := guard.Guard{Dir: dir}
	says := map[string]string{}
	// The shell waits for the answer at every Tab.
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if text, err := (install.Crontab{}).Read(ctx); err == nil {
		for _, line := range install.Entries(text, install.UserTable) {
			says[line.Name] = "in the crontab"
		}
	}
	known, _ := g.Names()
	seen, _ := g.Look(known...)
	for _, in := range seen {
		if in.Alive() {
			says[in.Name] = "runs, pid " + pidOf(in.Holder)
		} else if says[in.Name] == "" {
			says[in.Name] = "doesn't run"
		}
	}
	var out []string
	for name, what := range says {
		if guard.CheckName(name) == nil && !slices.Contains(typed, name) {
			out = append(out, name+"\t"+what)
		}
	}
	slices.Sort(out)
	return out
}

func pidOf(h guard.Holder) string {
	id := h.Worker
	if id == (procscan.ID{}) {
		id = h.Supervisor
	}
	return id.String()
}

func userNames() []string {
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil
	}
	var users []string
	for line := range strings.Lines(string(text)) {
		if name, _, ok := strings.Cut(line, ":"); ok && name != "" {
			users = append(users, name)
		}
	}
	return users
}
