package tasks

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

func envFile(t *testing.T, text string) ([]string, error) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "env")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return readEnvFile(path)
}

func TestEnvFile(t *testing.T) {
	for text, want := range map[string][]string{
		"":                                     nil,
		"\n\n# nothing\n  # here\n":            nil,
		"A=1":                                  {"A=1"},
		"A=1\nB=two words\nC=\n":               {"A=1", "B=two words", "C="},
		"A=\"1 2\"\nB='x'\nC=\"\nD=\"y'\n":     {"A=1 2", "B=x", "C=\"", "D=\"y'"},
		"A=a=b\nB==\n":                         {"A=a=b", "B=="},
		"export A=1\n\texport B=2\t\n":         {"A=1", "B=2"},
		"A=1\r\nB=2\r\n":                       {"A=1", "B=2"},
		"A=1 # no comment\n":                   {"A=1 # no comment"},
		"A=\"\"\nB=''\nA=again\n":              {"A=", "B=", "A=again"},
		"A=$HOME `id` \\n\n":                   {"A=$HOME `id` \\n"},
		"A=" + strings.Repeat("x", 100) + "\n": {"A=" + strings.Repeat("x", 100)},
	} {
		if got, err := envFile(t, text); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q gives %q, %v", text, got, err)
		}
	}
	for text, says := range map[string]string{
		"nonsense":       "line 1",
		"A=1\n\nB C=2\n": "line 3",
		"=x":             "line 1",
		"export\n":       "line 1",
		"A=1\nexport =1": "line 2",
	} {
		var wrong *usageError
		if got, err := envFile(t, text); !errors.As(err, &wrong) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q gives %q, %v", text, got, err)
		}
	}
	if _, err := readEnvFile(t.TempDir()); err == nil {
		t.Error("a directory was read")
	}
}

func FuzzEnvFile(f *testing.F) {
	for _, s := range []string{"A=1\n", "export A='x'\n", "# c\n\nA=\"\r\n", "A", "=", "\"=\"", "A= \t\"\"\n"} {
		f.Add(s)
	}
	path := filepath.Join(f.TempDir(), "env")
	f.Fuzz(func(t *testing.T, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		vars, err := readEnvFile(path)
		if err != nil {
			if vars != nil {
				t.Errorf("%q: %q beside %v", text, vars, err)
			}
			return
		}
		if len(vars) > strings.Count(text, "\n")+1 {
			t.Errorf("%q gives more variables than it has lines: %q", text, vars)
		}
		for _, kv := range vars {
			name, value, ok := strings.Cut(kv, "=")
			if !ok || name == "" || strings.ContainsAny(name, " \t\n") || strings.Contains(value, "\n") ||
				!strings.Contains(text, value) {
				t.Errorf("%q gives %q", text, kv)
			}
		}
	})
}

var someOptions = []*option{
	{name: "verbose", short: "v"},
	{name: "for", value: "TIME"},
	{name: "dir", short: "d", value: "DIRECTORY"},
}

var someCommands = []*cli.Command{
	{Name: "pause", UsageText: "lifeline pause NAME", Flags: flags(someOptions)},
	{Name: "run", UsageText: "lifeline run NAME [-- COMMAND...]", Flags: flags(someOptions)},
}

// rearranges checks that f makes of each line the line beside it, and leaves its
// argument as it is.
func rearranges(t *testing.T, f func(argv []string) []string, lines map[string]string) {
	t.Helper()
	for line, want := range lines {
		argv := strings.Fields(line)
		if got := strings.Join(f(argv), " "); got != want {
			t.Errorf("%s\n became %s\n     not %s", line, got, want)
		}
		if strings.Join(argv, " ") != line {
			t.Errorf("%s was changed to %q", line, argv)
		}
	}
}

func TestCommandFirst(t *testing.T) {
	rearranges(t, commandFirst, map[string]string{
		"l":                                     "l",
		"l --verbose":                           "l --verbose",
		"l status":                              "l status",
		"l --dir x status --json":               "l status --dir x --json",
		"l --dir=x -v terminate a b":            "l terminate --dir=x -v a b",
		"l --wait 3s run web -- sleep 1":        "l run --wait 3s web -- sleep 1",
		"l --dir status web -- true":            "l --dir status web -- true",
		"l --dir status":                        "l --dir status",
		"l --dir x web -- run status":           "l --dir x web -- run status",
		"l --dir x web status":                  "l --dir x web status",
		"l --unknown x status":                  "l --unknown x status",
		"l web -- l --dir x status":             "l web -- l --dir x status",
		"l --allow-nfs --dir x pause --for 30m": "l pause --allow-nfs --dir x --for 30m",
	})
}

func TestPermute(t *testing.T) {
	rearranges(t, func(argv []string) []string { return permute(argv, someCommands) }, map[string]string{
		"l":                                    "l",
		"l pause":                              "l pause",
		"l pause web":                          "l pause web",
		"l pause web --for 30m":                "l pause --for 30m web",
		"l pause web --for=30m -v":             "l pause --for=30m -v web",
		"l pause -v a --dir d b -d e c":        "l pause -v --dir d -d e a b c",
		"l pause web --for":                    "l pause --for web",
		"l pause web -- --for 30m":             "l pause web -- --for 30m",
		"l pause web - x":                      "l pause web - x",
		"l pause web --unknown x":              "l pause --unknown web x",
		"l run web --for 30m -- sleep --dir x": "l run web --for 30m -- sleep --dir x",
		"l web --for 30m":                      "l web --for 30m",
		"l --dir x pause web --for 30m":        "l --dir x pause web --for 30m",
	})
}

func FuzzPermute(f *testing.F) {
	f.Add("l pause web --for 30m")
	f.Add("l pause -- -v --dir")
	f.Add("l pause --dir -- x -v --= --- -= -")
	f.Add("l run web -- x")
	f.Fuzz(func(t *testing.T, line string) {
		argv := strings.Split(line, " ")
		before := slices.Clone(argv)
		got := permute(argv, someCommands)
		if !slices.Equal(argv, before) {
			t.Errorf("%q was changed to %q", before, argv)
		}
		if again := permute(got, someCommands); !slices.Equal(sorted(again), sorted(got)) {
			t.Errorf("%q lost something: %q", got, again)
		}
		if !slices.Equal(sorted(got), sorted(argv)) {
			t.Errorf("%q became %q", argv, got)
		}
		// The words make the line again, and none of them is empty.
		var whole []string
		for _, w := range words(argv, someOptions) {
			if len(w.text) == 0 || w.option == "" && len(w.text) > 1 && w.text[0] != "--" {
				t.Errorf("%q has the word %+v", argv, w)
			}
			whole = append(whole, w.text...)
		}
		if !slices.Equal(whole, argv) {
			t.Errorf("%q is %q in words", argv, whole)
		}
	})
}

func sorted(s []string) []string { return slices.Sorted(slices.Values(s)) }

func TestPick(t *testing.T) {
	got := pick(words(strings.Fields("--for 3m -v --nope --dir=x y -d z"), someOptions), someOptions[1:])
	if want := "--for 3m --dir=x -d z"; strings.Join(got, " ") != want {
		t.Errorf("%q, not %s", got, want)
	}
}

func TestJitter(t *testing.T) {
	seen := map[time.Duration]bool{}
	for _, name := range []string{"a", "b", "c", "web", "web2"} {
		d := jitterOf(time.Minute, name)
		if d < 0 || d >= time.Minute || d != jitterOf(time.Minute, name) {
			t.Errorf("%s: %s", name, d)
		}
		seen[d] = true
	}
	if len(seen) < 4 || jitterOf(0, "a") != 0 || jitterOf(-1, "a") != 0 {
		t.Errorf("%v", seen)
	}
}

// TestOptionsOnce checks that a name stands for one option of a command, because
// package flag panics at the second.
func TestOptionsOnce(t *testing.T) {
	app := newApp(new(options), nil)
	for _, c := range append(app.Commands, &cli.Command{Name: "lifeline", Flags: app.Flags}) {
		seen := map[string]bool{}
		for _, o := range optionsOf(c.Flags) {
			for _, name := range o.Names() {
				if seen[name] {
					t.Errorf("%s has two options --%s", c.Name, name)
				}
				seen[name] = true
			}
		}
	}
}
