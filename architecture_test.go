package main

import (
	"os"
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
