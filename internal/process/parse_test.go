package process

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestParseSignal(t *testing.T) {
	for text, want := range map[string]unix.Signal{
		"TERM": unix.SIGTERM, "SIGTERM": unix.SIGTERM, "sigterm": unix.SIGTERM, "Term": unix.SIGTERM, "15": unix.SIGTERM,
		"1": unix.SIGHUP, "kill": unix.SIGKILL, "64": unix.Signal(64), "USR1": unix.SIGUSR1, "WINCH": unix.SIGWINCH,
	} {
		if got, err := ParseSignal(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	if runtime.GOOS == "linux" {
		for text, want := range map[string]unix.Signal{"RTMIN+3": 37, "SIGRTMIN": 34, "rtmax-1": 63,
			"RTMAX": 64, "RTMAX-30": 34} {
			if got, err := ParseSignal(text); err != nil || got != want {
				t.Errorf("%q: %v, %v", text, got, err)
			}
		}
	}
	for _, bad := range []string{"RTMIN-1", "RTMIN+31", "RTMIN+", "RTMIN+03", "RTMIN++3", "RTMAX+1", "", "0", "-1",
		"65", "015", "+15", "15 ", " 15", "1x", "0x0f", "SIG", "SIGSIGTERM", "NOSUCH", "TERM ", "99999999999999999999", "SIGTERM\x00"} {
		if got, err := ParseSignal(bad); err == nil || !strings.Contains(err.Error(), "is no signal") {
			t.Errorf("%q: %v, %v", bad, got, err)
		}
	}
}

func FuzzParseSignal(f *testing.F) {
	for _, s := range []string{"TERM", "sigkill", "15", "rtmin+3", "37", "0", "", "SIG",
		"99999999999999999999", "1 1"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		sig, err := ParseSignal(text)
		if err != nil {
			if sig != 0 {
				t.Errorf("%q: %v beside %v", text, sig, err)
			}
			return
		}
		if sig < 1 || sig > 64 {
			t.Errorf("%q gives %d", text, sig)
		}
		// A printed signal can be read again.
		var flag Signal
		if err := flag.Set(text); err != nil || unix.Signal(flag) != sig {
			t.Errorf("%q: the flag is %v, %v", text, flag, err)
		}
		if again, err := ParseSignal(flag.String()); err != nil || again != sig {
			t.Errorf("%q is shown as %q, which is %v, %v", text, flag.String(), again, err)
		}
	})
}

func TestSignalFlag(t *testing.T) {
	var s Signal
	if err := s.Set("NOSUCH"); err == nil || s != 0 || s.String() != "" || (*Signal)(nil).String() != "" {
		t.Errorf("%v %v %q", err, s, s.String())
	}
}

func TestCode(t *testing.T) {
	for status, want := range map[unix.WaitStatus]int{0: 0, 3 << 8: 3, 255 << 8: 255, 15: 143, 9: 137, 6 | 0x80: 134} {
		if got := Code(status); got != want || (Exit{Status: status}).Code() != want {
			t.Errorf("%#x: %d", status, got)
		}
	}
	for status, want := range map[unix.WaitStatus]string{0: "ended well", 3 << 8: "exit code 3",
		15: "killed by SIGTERM", 6 | 0x80: "killed by SIGABRT, core dumped", 40: "killed by signal 40"} {
		if got := Describe(status); got != want {
			t.Errorf("%#x: %s", status, got)
		}
	}
}

// TestLookPath tests a shell's exit codes: 127 for a missing file, 126 for a file that
// can't be executed.
func TestLookPath(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, mode os.FileMode) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte("#!/bin/sh\n"), mode),
			os.Chmod(path, mode)); err != nil {
			t.Fatal(err)
		}
	}
	write("one/good", 0o755)
	write("two/good", 0o755)
	write("one/plain", 0o644)
	write("two/plain", 0o755)
	write("one/only", 0o644)
	if err := os.MkdirAll(filepath.Join(dir, "one/sub/x"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, tt := range []struct {
		path, name, want string
		code             int
	}{
		{dir + "/one:" + dir + "/two", "good", dir + "/one/good", 0},
		{dir + "/one:" + dir + "/two", "plain", dir + "/two/plain", 0}, // goes on behind a file without the x bit
		{dir + "/two:" + dir + "/one", "only", "", 126},
		{dir + "/one", "sub", "", 126},
		{dir + "/one", "nothing", "", 127},
		{dir + "/none:" + dir + "/one/good", "good", "", 127}, // neither is a directory
		{"one", "good", "one/good", 0},
		{":/none", "good", "", 127},
		{dir, "", "", 127},
		{"/none", "one/good", "one/good", 0}, // a slash: no search
		{"/none", dir + "/one/good", dir + "/one/good", 0},
		{dir, "one/plain", "one/plain", 126},
		{dir, "one", "", 126},
		{dir, "./one", "./one", 126},
		{dir, "./nothing", "./nothing", 127},
		{dir, "one/good/x", "one/good/x", 127},
		{"", "sh", "", 0}, // no PATH at all: the system's own
	} {
		got, err := lookPath(tt.name, tt.path)
		var exec *ExecError
		switch errors.As(err, &exec); {
		case tt.code == 0 && err != nil, tt.code != 0 && (exec == nil || exec.Code != tt.code):
			t.Errorf("%s on %s: %q, %v; not %d", tt.name, tt.path, got, err, tt.code)
		case tt.code == 0 && tt.want != "" && got != tt.want:
			t.Errorf("%s on %s: %s, not %s", tt.name, tt.path, got, tt.want)
		}
	}
}

func TestExecError(t *testing.T) {
	here := filepath.Join(t.TempDir(), "here")
	if err := os.WriteFile(here, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		path string
		err  error
		code int
		says string
	}{
		{"/none", unix.ENOENT, 127, "no such command"},
		{here, unix.ENOENT, 126, "interpreter"},
		{here + "/x", unix.ENOTDIR, 127, "no such command"},
		{here, unix.EACCES, 126, "permission denied"},
		{here, unix.ENOEXEC, 126, "not a program"},
		{here, unix.E2BIG, 126, "too long"},
		{here, unix.ETXTBSY, 126, "text file busy"},
	} {
		var exec *ExecError
		if err := execError(tt.path, tt.err); !errors.As(err, &exec) || exec.Code != tt.code ||
			!strings.Contains(exec.Text, tt.says) {
			t.Errorf("%s, %v: %v", tt.path, tt.err, err)
		}
	}
	if text := (&ExecError{127, "x"}).Error(); text != "x" {
		t.Error(strconv.Quote(text))
	}
}
