// Modulepath moves the tree to another module path, and back:
//
//	go run ./packaging/modulepath github.com/acme/lifeline     (make module-path TO=…)
//
// It rewrites the go.mod files, the imports, and the import paths that comments
// and pages show in quotes. Nothing else in the tree says the path.
package main

import (
	"bytes"
	"errors"
	"fmt"
	"go/format"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: modulepath PATH, such as github.com/acme/lifeline")
		os.Exit(64)
	}
	if err := move(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "modulepath:", err)
		os.Exit(1)
	}
}

// move rewrites the tree in the current directory, all files or none.
func move(to string) error {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		return fmt.Errorf("%w; run it at the top of the tree", err)
	}
	module := regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(text)
	if module == nil {
		return errors.New("go.mod has no line that begins with module")
	}
	// The go command knows what a path may look like.
	if out, err := exec.Command("go", "mod", "edit", "-module="+to, "-require="+to+"/x@v0.0.0",
		"-print").CombinedOutput(); err != nil {
		return fmt.Errorf("%s can't be a module's path: %s", to, bytes.TrimSpace(out))
	}
	from := regexp.QuoteMeta(string(module[1]))
	line := regexp.MustCompile(`(?m)^(module |require |replace |\t)` + from + `(/\S*)?( |$)`)
	quoted := regexp.MustCompile(`"` + from + `(/(?:lifeline|tasks|install|procscan|internal|proof|cmd)(?:/[^"\s]*)?)"`)
	changed := map[string][]byte{}
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || path == "bin" || path == "dist") {
			return filepath.SkipDir
		}
		var rewrite func([]byte) ([]byte, error)
		switch {
		case d.Name() == "go.mod":
			rewrite = func(b []byte) ([]byte, error) { return line.ReplaceAll(b, []byte("${1}"+to+"$2$3")), nil }
		case strings.HasSuffix(path, ".go"):
			rewrite = func(b []byte) ([]byte, error) {
				moved := imports(b, quoted, to)
				if bytes.Equal(moved, b) {
					return b, nil
				}
				return format.Source(moved) // the imports' order
			}
		case strings.HasSuffix(path, ".md"):
			rewrite = func(b []byte) ([]byte, error) {
				b = quoted.ReplaceAll(b, []byte(`"`+to+`$1"`))
				return regexp.MustCompile(`((?:-require|-replace)[ =])`+from+`([@=])`).ReplaceAll(b,
					[]byte("${1}"+to+"$2")), nil
			}
		}
		if rewrite == nil || !d.Type().IsRegular() {
			return nil
		}
		old, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		text, err := rewrite(old)
		if err != nil {
			return fmt.Errorf("%s: %w", path, err)
		}
		if !bytes.Equal(text, old) {
			changed[path] = text
		}
		return nil
	})
	if err != nil {
		return err
	}
	for path, text := range changed {
		if err := os.WriteFile(path, text, 0o644); err != nil { // an existing file keeps its mode
			return err
		}
	}
	fmt.Printf("%s is %s now: %d files\n", module[1], to, len(changed))
	return nil
}

// imports rewrites what a Go file imports, and the imports in its comments:
// lines that are an import and nothing else.
func imports(text []byte, quoted *regexp.Regexp, to string) []byte {
	alone := regexp.MustCompile(`^(//)?\s*(import )?([\w.]+ )?"[^"]*"\s*(//.*)?$`)
	lines := bytes.SplitAfter(text, []byte("\n"))
	for i, l := range lines {
		if alone.Match(bytes.TrimRight(l, "\n")) {
			lines[i] = quoted.ReplaceAll(l, []byte(`"`+to+`$1"`))
		}
	}
	return bytes.Join(lines, nil)
}
