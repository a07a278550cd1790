package install

import (
	"math/rand/v2"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestQuote(t *testing.T) {
	tests := map[string]string{
		"":          `''`,
		"a-Z_0./:@": `a-Z_0./:@`,
		"--a=b,c+d": `--a=b,c+d`,
		"=ls":       `'=ls'`,
		"a b":       `'a b'`,
		"a  b":      `'a '' b'`,
		"  ":        `' '' '`,
		"it's":      `'it'\''s'`,
		"'":         `\'`,
		"+%F":       `+\%F`,
		"%":         `\%`,
		"%%":        `\%\%`,
		"a b%c d":   `'a b'\%'c d'`,
		`\%`:        `'\'\%`,
		`\\%`:       `'\''\'\%`,
		`a\\b`:      `'a\''\b'`,
		`\'\`:       `'\'\''\'`,
		"~":         `'~'`,
		"#x":        `'#x'`,
		"{a,b}":     `'{a,b}'`,
		"$HOME":     `'$HOME'`,
		"a\rb":      "'a\rb'",
		"\xff":      "'\xff'",
	}
	for word, want := range tests {
		got, err := Quote(word)
		if err != nil || got != want {
			t.Errorf("Quote(%q) = %s, %v; want %s", word, got, err, want)
		}
	}
	_, err := Quote("a\nb")
	wantError(t, err, "newline", "script")
	_, err = Quote(strings.Repeat("a", 1000) + "\x00")
	wantError(t, err, "NUL")
}

// dialects are the readings that Quote's comment lists.
var dialects = map[string]func(string) string{
	"vixie":   func(s string) string { return percent(s, false) },
	"debian":  func(s string) string { return percent(s, true) },
	"busybox": func(s string) string { return s },
}

// shells are the shells that /bin/sh or SHELL= may be.
var shells = [][]string{{"sh"}, {"dash"}, {"bash"}, {"bash", "--posix"}, {"busybox", "sh"}, {"ksh"}, {"zsh"}}

func TestQuotedWordsArriveThroughCronAndRealShells(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	ran := 0
	for _, shell := range shells {
		if _, err := exec.LookPath(shell[0]); err != nil {
			continue
		}
		ran++
		for range 4 {
			var words, quoted []string
			for range 200 {
				word := randomWord(random)
				q, err := Quote(word)
				if err != nil {
					t.Fatal(err)
				}
				if strings.Contains(q, `\\`) {
					t.Fatalf("Quote(%q) = %s has two backslashes side by side", word, q)
				}
				words, quoted = append(words, word), append(quoted, q)
			}
			for dialect, read := range dialects {
				command := `printf '%s\0' ` + read(strings.Join(quoted, " "))
				got := runShell(t, shell, command)
				if !slices.Equal(got, words) {
					t.Errorf("%s under %s: words differ\n got %q\nwant %q", shell, dialect, got, words)
				}
			}
		}
	}
	if ran == 0 {
		t.Fatal("no shell found")
	}
}

const specials = "\\\\\\%%%'\"`$ \t*?[]{}~#!=;&|<>()^,:-@+aZ0._/\xc3\xa9\xff\r\b\x1b"

func randomWord(random *rand.Rand) string {
	word := make([]byte, random.IntN(13))
	for i := range word {
		word[i] = specials[random.IntN(len(specials))]
	}
	return string(word)
}

// runShell returns the words that command, which ends each with a NUL, prints.
func runShell(t *testing.T, shell []string, command string) []string {
	t.Helper()
	args := append(slices.Clone(shell[1:]), "-c", command)
	out, err := exec.Command(shell[0], args...).Output()
	if err != nil {
		t.Fatalf("%s: %v\n%q", shell, err, command)
	}
	words := strings.Split(string(out), "\x00")
	return words[:len(words)-1]
}
