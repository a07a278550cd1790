package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestArchitecturePage checks that every path that docs/ARCHITECTURE.md names
// exists, and that every function of its walks is declared in the file that
// stands beside it, and named once in its walk.
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
	functions := 0
	seen := map[string]bool{}
	row := regexp.MustCompile("^\\| `([A-Za-z.]+)` \\| `([a-z_/]+\\.go)` \\|")
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
	if functions < 70 {
		t.Errorf("only %d functions are found in the walks", functions)
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
