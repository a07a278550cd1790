package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestArchitecturePage checks that every path on docs/ARCHITECTURE.md exists, and
// that every function there is declared in the file beside it. A walk names each
// function once.
func TestArchitecturePage(t *testing.T) {
	page, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	paths := 0
	for _, m := range regexp.MustCompile("`([^`\n]+)`").FindAllStringSubmatch(string(page), -1) {
		if path := m[1]; isPath(path) {
			paths++
			if _, err := os.Stat(path); err != nil {
				t.Errorf("docs/ARCHITECTURE.md names %s: %v", path, err)
			}
		}
	}
	if paths < 100 {
		t.Errorf("only %d paths are found on the page", paths)
	}
	found := regexp.MustCompile("`([a-z_/-]+\\.go)`: ((?:`[A-Za-z]+`(?:, )?)+)")
	for _, m := range found.FindAllStringSubmatch(string(page), -1) {
		code, err := os.ReadFile(m[1])
		if err != nil {
			continue // told above
		}
		for _, function := range regexp.MustCompile("[A-Za-z]+").FindAllString(m[2], -1) {
			if !regexp.MustCompile(`(?m)^func (\(\w+ \*?\w+\) )?` + function + `\(`).Match(code) {
				t.Errorf("%s isn't declared in %s", function, m[1])
			}
		}
	}
	functions := 0
	seen := map[string]bool{}
	row := regexp.MustCompile("^\\| `([A-Za-z.]+)` \\| `([a-z_/-]+\\.go)` \\|")
	for line := range strings.Lines(string(page)) {
		if strings.HasPrefix(line, "## ") {
			seen = map[string]bool{}
		}
		m := row.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		functions++
		function, file := m[1], m[2]
		if seen[function] {
			t.Errorf("%s is twice in one walk", function)
		}
		seen[function] = true
		code, err := os.ReadFile(file)
		if err != nil {
			continue // told above
		}
		declared := `(?m)^func ` + function + `\(`
		if typ, method, ok := strings.Cut(function, "."); ok {
			declared = `(?m)^func \(\w+ \*?` + typ + `\) ` + method + `\(`
		}
		if !regexp.MustCompile(declared).Match(code) {
			t.Errorf("%s isn't declared in %s", function, file)
		}
	}
	if functions < 100 {
		t.Errorf("only %d functions are found in the walks", functions)
	}
}

// TestRooms checks that docs/ARCHITECTURE.md gives each room the calls that the table
// of TestImports gives it.
func TestRooms(t *testing.T) {
	page, err := os.ReadFile("docs/ARCHITECTURE.md")
	if err != nil {
		t.Fatal(err)
	}
	// Any room may call internal/crash, and tasks calls nearly every room.
	unlisted := []string{"lifeline/internal/crash"}
	row := regexp.MustCompile("(?m)^\\| `([a-z/-]+)` \\|[^|]*\\|([^|]*)\\|$")
	rooms := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		path := "lifeline/" + m[1]
		allowed, known := mayImport[path]
		if !known || m[1] == "tasks" {
			continue
		}
		rooms[path] = true
		var said, want []string
		for _, word := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(m[2], -1) {
			said = append(said, "lifeline/"+word[1])
		}
		for _, path := range strings.Fields(allowed.imports) {
			if within(path, "lifeline") && !slices.Contains(unlisted, path) {
				want = append(want, path)
			}
		}
		slices.Sort(said)
		slices.Sort(want)
		if !slices.Equal(said, want) {
			t.Errorf("docs/ARCHITECTURE.md has %s call %q; imports_test.go has %q", m[1], said, want)
		}
	}
	for path := range mayImport {
		if !rooms[path] && within(path, "lifeline/internal") {
			t.Errorf("docs/ARCHITECTURE.md has no row for the room %s", path)
		}
	}
}

// TestProtocolPage checks that each line of docs/sd_notify.md that is done names a
// test, and that the tests named there are there.
func TestProtocolPage(t *testing.T) {
	page, err := os.ReadFile("docs/sd_notify.md")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, dir := range []string{"internal/sdnotify", "internal/supervisor", "tasks"} {
		files, _ := filepath.Glob(dir + "/*_test.go")
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			code.Write(text)
		}
	}
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.TrimSpace(line), " |")
		if len(cells) < 3 || !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| line") {
			continue
		}
		rows++
		tests := strings.FieldsFunc(cells[2], func(r rune) bool { return strings.ContainsRune("`, ", r) })
		if len(tests) == 0 && !strings.Contains(cells[1], "refused") {
			t.Errorf("no test stands beside %s", cells[0])
		}
		for _, test := range tests {
			if script, ok := strings.CutSuffix(test, ".txtar"); ok {
				_, err = os.Stat("tasks/testdata/" + script + ".txtar")
			} else if err = nil; !strings.Contains(code.String(), "func "+test+"(") {
				err = os.ErrNotExist
			}
			if err != nil {
				t.Errorf("%s: %v", test, err)
			}
		}
	}
	if rows < 35 {
		t.Errorf("only %d lines are found", rows)
	}
}

// isPath reports whether a word in code type is meant as a path of the tree.
func isPath(word string) bool {
	if strings.ContainsAny(word, " (*=") || strings.HasPrefix(word, "/") || strings.HasPrefix(word, "testing/") {
		return false
	}
	for _, suffix := range []string{".go", ".md", ".sh", ".sql"} {
		if strings.HasSuffix(word, suffix) {
			return true
		}
	}
	return strings.Contains(word, "/")
}
