package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"lifeline/proof/need"
)

// TestMain runs the test program as one of its helpers when the arguments say so.
func TestMain(m *testing.M) {
	if name := os.Getenv("CHILD_HELPER"); name != "" {
		os.Unsetenv("CHILD_HELPER")
		go func() { // ends the helper when the test has ended
			_, _ = io.Copy(io.Discard, os.Stdin)
			os.Exit(1)
		}()
		helpers[name](os.Args[1:])
		os.Exit(0)
	}
	os.Exit(m.Run())
}

var helpers = map[string]func(args []string){
	"trees":  func(args []string) { trees(args) },
	"flood":  func(args []string) { flood(args) },
	"reused": func([]string) { reused() },
}

// help runs a helper to its end, in a process of its own that adopts the orphans. before
// are words to start the helper with. The helper prints what went wrong, and at its end
// "done".
func help(t *testing.T, before []string, name string, args ...string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(append(append([]string(nil), before...), exe), args...)
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "CHILD_HELPER="+name, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	cmd.WaitDelay = 5 * time.Second // a process that was missed may hold its output open
	out, err := cmd.Output()
	said := strings.TrimSpace(string(out))
	wrong, last := "", said
	if i := strings.LastIndexByte(said, '\n'); i >= 0 {
		wrong, last = said[:i], said[i+1:]
	}
	if err != nil && !errors.Is(err, exec.ErrWaitDelay) || !strings.HasPrefix(last, "done") {
		t.Fatalf("%v: %s", err, said)
	}
	if wrong != "" {
		t.Error(wrong)
	}
	t.Log(last)
}

func needPerl(t *testing.T) {
	t.Helper()
	_, err := exec.LookPath("/usr/bin/perl")
	need.That(t, err == nil, "perl")
}

func wrong(format string, args ...any) { fmt.Printf(format+"\n", args...) }
