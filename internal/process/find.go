package process

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// Find returns the file that a start of name would execute with path as PATH in dir, or
// the error that the start would return. It starts nothing.
func Find(name, path, dir string) (string, error) {
	full, err := locate(name, path, dir)
	if err != nil {
		return "", err
	}
	in := within(dir)
	return full, loadable(full, searchPath(path, in), in)
}

// locate returns the file that name means to a process in dir; "" means this process's
// own directory.
func locate(name, path, dir string) (string, error) {
	if dir == "" {
		return lookPath(name, path)
	}
	in := within(dir)
	if strings.Contains(name, "/") {
		name = in(name)
	}
	return lookPath(name, searchPath(path, in))
}

// within returns a function that makes paths relative to dir absolute.
func within(dir string) func(string) string {
	return func(p string) string {
		if dir != "" && !filepath.IsAbs(p) {
			return filepath.Join(dir, p)
		}
		return p
	}
}

func searchPath(path string, in func(string) string) string {
	search := filepath.SplitList(path)
	for i := range search {
		search[i] = in(search[i])
	}
	return strings.Join(search, ":")
}

// loadable checks the beginning of the file, as the kernel does (execve(2)).
func loadable(file, path string, in func(string) string) error {
	f, err := os.Open(file)
	if err != nil {
		return nil // a file may be executable without being readable
	}
	defer f.Close()
	head := make([]byte, 256)
	n, _ := f.Read(head)
	head = head[:n]
	line, script := bytes.CutPrefix(head, []byte("#!"))
	if !script {
		known := bytes.HasPrefix(head, []byte("\x7fELF")) || runtime.GOOS == "darwin" && len(head) > 4
		// The kernel may know other formats (binfmt_misc).
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
		return &ExecError{126, fmt.Sprintf("cannot execute %s: its first line ends in a carriage "+
			"return (an editor's CRLF)",
			file)}
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

// lookPath finds the command as execvp(3) does. Unlike exec.LookPath it tells "not
// found" from "found, but not executable".
func lookPath(name, path string) (string, error) {
	if name == "" {
		return "", &ExecError{127, "the command is empty"}
	}
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	var denied error
	if path == "" {
		path = "/usr/bin:/bin"
	}
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		full := dir + "/" + name
		err := executable(full)
		if err == nil {
			return full, nil
		}
		var exec *ExecError
		if errors.As(err, &exec) && exec.Code == 126 && denied == nil {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", &ExecError{127, fmt.Sprintf("%s: command not found on PATH=%s", name, path)}
}

func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return execError(path, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return &ExecError{126, path + " is a directory"}
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return execError(path, err)
	}
	return nil
}

func execError(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil {
			return &ExecError{126, fmt.Sprintf("cannot execute %s: its interpreter (first line) doesn't exist", path)}
		}
		return &ExecError{127, path + ": no such command"}
	case errors.Is(err, unix.EACCES):
		return &ExecError{126, fmt.Sprintf("cannot execute %s: permission denied; chmod +x it?", path)}
	case errors.Is(err, unix.ENOEXEC):
		return &ExecError{126, fmt.Sprintf("cannot execute %s: not a program, and no #! in its first line", path)}
	case errors.Is(err, unix.E2BIG):
		return &ExecError{126, fmt.Sprintf("cannot execute %s: the command line and the environment "+
			"are too long together",
			path)}
	}
	return &ExecError{126, fmt.Sprintf("cannot execute %s: %v", path, err)}
}
