package tasks

import (
	"bytes"
	"context"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

func screen() string {
	var out bytes.Buffer
	argv := []string{"lifeline", "help"}
	writeScreen(&out, newApp(new(options), argv))
	return out.String()
}

// TestHelpFitsAScreen checks that the help fits a terminal of 24 lines by 80 columns,
// its prompt included. Each command has its line, or is named at the end.
func TestHelpFitsAScreen(t *testing.T) {
	text := screen()
	if n := strings.Count(text, "\n"); n > 23 {
		t.Errorf("it has %d lines", n)
	}
	for line := range strings.Lines(text) {
		if utf8.RuneCountInString(line) > helpWidth+1 { // with its newline
			t.Errorf("%d columns: %q; put shorter words into examples", len(line)-1, line)
		}
	}
	for _, c := range commands([]string{"lifeline", ""}) {
		if c.Hidden {
			continue
		}
		example := examples()[c.Name][0]
		if example == "" {
			t.Errorf("%s has no example", c.Name)
		}
		_, others, _ := strings.Cut(text, "\nAlso: ")
		if named := strings.Contains(strings.ReplaceAll(others, "\n", " "), c.Name); !strings.Contains(text,
			"  "+example+" ") && !named {
			t.Errorf("%s isn't in the help", c.Name)
		}
	}
}

// TestExamplesAreUnderstood checks that lifeline understands what its help tells people
// to type.
func TestExamplesAreUnderstood(t *testing.T) {
	for _, line := range examples() {
		example := line[0]
		argv := strings.Fields(example)
		app := newApp(new(options), append(argv, "--help"))
		ran := ""
		app.Action = func(c *cli.Context) error { ran = "lifeline"; return nil }
		for _, c := range app.Commands {
			c.Action = func(c *cli.Context) error { ran = c.Command.Name; return nil }
		}
		want := argv[1]
		if want == "web" {
			want = "lifeline"
		}
		if err := app.RunContext(context.Background(), permute(argv, app.Commands)); err != nil || ran != want {
			t.Errorf("%q: %v, and it ran %q", example, err, ran)
		}
	}
}

// TestHelpOfCommands checks that every option stands in the help, on lines that a
// terminal shows whole.
func TestHelpOfCommands(t *testing.T) {
	for _, c := range append(commands([]string{"lifeline", ""}),
		&cli.Command{Name: "options", Flags: flags(new(options).table())}) {
		var out bytes.Buffer
		writeHelp(&out, c)
		for _, name := range optionNames(optionsOf(c.Flags)) {
			if len(name) > 1 && !strings.Contains(out.String(), "--"+name) {
				t.Errorf("lifeline help %s says nothing of --%s", c.Name, name)
			}
		}
		for line := range strings.Lines(out.String()) {
			if utf8.RuneCountInString(line) > helpWidth+1 { // with its newline
				t.Errorf("lifeline help %s: %d columns: %q", c.Name, len(line)-1, line)
			}
		}
	}
}

// TestCompletions checks that the program takes what completion offers.
func TestCompletions(t *testing.T) {
	t.Setenv("LIFELINE_DIR", t.TempDir())
	all := []string{}
	for _, c := range commands([]string{"lifeline", ""}) {
		all = append(all, c.Name)
	}
	for typed, want := range map[string]string{
		"te":                              "words terminate",
		"--orphans ":                      "words adopt terminate",
		"--orphans=a":                     "words --orphans=adopt",
		"--orphans t":                     "words terminate",
		"--chdir ":                        "directories",
		"--env-file ":                     "files",
		"--respawn web ":                  "words --",
		"--wait ":                         "words",
		"web -- ":                         "command 3",
		"web -- a -- b ":                  "command 3",
		"--wait 3s --respawn web -- ls -": "command 6",
		"install --schedule @d":           "words",
		"install --schedule ":             "words @hourly @daily @weekly @monthly @reboot",
		"install --no-reboot web -- x ":   "command 5",
		"install web ":                    "words --",
		"terminate --kill-after 3s --stop-signal K": "words KILL",
		"terminate -- ":     "words",
		"help inst":         "words install",
		"help opt":          "words options",
		"ping --t":          "words --timeout",
		"--no-such-option ": "words " + strings.Join(all, " "),
	} {
		if strings.HasPrefix(typed, "install --schedule @d") {
			want = "words @daily"
		}
		kind, words := completions(strings.Split(typed, " "))
		for i := range words {
			words[i], _, _ = strings.Cut(words[i], "\t")
		}
		// The names of this machine's crontab may come as well.
		words = slices.DeleteFunc(words,
			func(w string) bool { return !strings.Contains(" "+want+" ", " "+w+" ") && typed == "--no-such-option " })
		if got := strings.Join(append([]string{kind}, words...), " "); got != want {
			t.Errorf("%q: %q, not %q", typed, got, want)
		}
	}
}

// FuzzCompletions checks that completion answers, whatever is typed.
func FuzzCompletions(f *testing.F) {
	f.Setenv("LIFELINE_DIR", f.TempDir())
	f.Setenv("PATH", f.TempDir()) // no crontab(1) for each of them
	for _, s := range []string{"", "--", "-", "web -- x", "--dir", "--dir=", "=", "help help help", "-E", "--orphans=",
		"run --", "install -n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		kind, words := completions(strings.Split(typed, " "))
		if kind != "words" && len(words) > 0 || !strings.HasPrefix(kind, "command ") &&
			!slices.Contains([]string{"words", "files", "directories"}, kind) {
			t.Errorf("%q: %q %q", typed, kind, words)
		}
	})
}
