package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// Find tells which file a start of name would execute, with this PATH and in
// this directory, or gives the error that the start would give. It starts
// nothing.
func Find(name, path, dir string) (string, error) {
	in := func(p string) string {
		if p == "" || !filepath.IsAbs(p) {
			return strings.TrimSuffix(dir, "/") + "/" + p
		}
		return p
	}
	search := filepath.SplitList(path)
	for i := range search {
		search[i] = in(search[i])
	}
	if strings.Contains(name, "/") {
		name = in(name)
	}
	full, err := lookPath(name, strings.Join(search, ":"))
	if err != nil {
		return "", err
	}
	return full, loadable(full, strings.Join(search, ":"), in)
}

// loadable looks at how the file begins, as the kernel does (execve(2)).
func loadable(file, path string, in func(string) string) error {
	f, err := os.Open(file)
	if err != nil {
		return nil // it may be executed without being read
	}
	defer f.Close()
	head := make([]byte, 256)
	n, _ := f.Read(head)
	head = head[:n]
	line, script := bytes.CutPrefix(head, []byte("#!"))
	if !script {
		known := bytes.HasPrefix(head, []byte("\x7fELF")) || runtime.GOOS == "darwin" && len(head) > 4
		// Others may be registered with the kernel.
		more, _ := filepath.Glob("/proc/sys/fs/binfmt_misc/[!rs]*")
		if !known && len(more) == 0 {
			return &ExecError{126, fmt.Sprintf("cannot execute %s: not a program, and no #! in its first line", file)}
		}
		return nil
	}
	line, _, _ = bytes.Cut(line, []byte("\n"))
	words := strings.Fields(string(line))
	if len(words) == 0 {
		return &ExecError{126, fmt.Sprintf("cannot execute %s: nothing follows the #! in its first line", file)}
	}
	if strings.HasSuffix(words[len(words)-1], "\r") || strings.HasSuffix(string(line), "\r") {
		return &ExecError{126, fmt.Sprintf("cannot execute %s: its first line ends in a carriage return (an editor's CRLF)", file)}
	}
	interpreter := in(words[0])
	if err := executable(interpreter); err != nil {
		return &ExecError{126, fmt.Sprintf("cannot execute %s: its interpreter (first line): %v", file, err)}
	}
	if filepath.Base(interpreter) != "env" {
		return nil
	}
	for _, word := range words[1:] {
		if strings.HasPrefix(word, "-") || strings.Contains(word, "=") {
			continue
		}
		var none *ExecError
		if _, err := lookPath(word, path); errors.As(err, &none) {
			return &ExecError{none.Code, fmt.Sprintf("%s: its interpreter (first line): %v", file, err)}
		}
		break
	}
	return nil
}
