// Package scripts types the command line as a person would: it runs the real
// main by the scripts in ../testdata. It is a module of its own, so that importers of
// lifeline don't get what only these tests need.
package scripts

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"runtime/coverage"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript" // the command line, tested as a person would type it

	"lifeline/internal/healthcheck"
	"lifeline/internal/logger"
	"lifeline/tasks"
)

// init keeps the main thread, as the real main does.
func init() { runtime.LockOSThread() }

// TestMain makes the test program the real lifeline when it is called by that name, and
// when it starts itself as the logger.
func TestMain(m *testing.M) {
	if logger.Is() {
		exit(tasks.Main(context.Background(), os.Args))
	}
	testscript.Main(m, map[string]func(){
		"lifeline": func() { exit(tasks.Main(context.Background(), os.Args)) },
		"lifeline-remote": func() {
			if real := os.Getenv("LIFELINE_TEST_REMOTE"); real != "" { // the scripts of the cluster
				_ = syscall.Exec(real, os.Args, os.Environ())
			}
			os.Exit(healthcheck.Main(context.Background(), os.Args[2:], os.Stdin, os.Stderr)) // that verb of it
		},
	})
}

// exit writes down what has been run first, for make cover: a test program
// that is called as lifeline doesn't do it by itself.
func exit(code int) {
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		_ = errors.Join(coverage.WriteMetaDir(dir), coverage.WriteCountersDir(dir))
	}
	os.Exit(code)
}

// realProgram puts the one in LIFELINE_TEST_BIN into the place of this test
// program: make cover has one built that tells what of it was run.
func realProgram(env *testscript.Env) {
	if dir := os.Getenv("LIFELINE_TEST_BIN"); dir != "" {
		env.Setenv("PATH", dir+string(os.PathListSeparator)+env.Getenv("PATH"))
	}
}

func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:      "../testdata",
		Deadline: time.Now().Add(2 * time.Minute),
		Setup: func(env *testscript.Env) error {
			env.Setenv("LIFELINE_DIR", filepath.Join(env.WorkDir, "state"))
			realProgram(env)
			env.Setenv("LONG128", strings.Repeat("n", 128))
			env.Setenv("LONG129", strings.Repeat("n", 129))
			env.Setenv("ARG100K", strings.Repeat("x", 100<<10))
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"code":  exitCode,
			"until": until,
			"alone": alone,
		},
		Condition: func(name string) (bool, error) {
			if name == "root" {
				return os.Geteuid() == 0, nil
			}
			return false, fmt.Errorf("there is no condition %s", name)
		},
		RequireExplicitExec: false,
	})
}

// TestOwnSleeps checks that no two scripts start the same `sleep 9NNN`. The scripts run
// at once, and look for such a process, or kill it, by its command line.
func TestOwnSleeps(t *testing.T) {
	of := map[string]string{}
	scripts, _ := filepath.Glob("../testdata/*.txtar")
	for _, script := range scripts {
		text, err := os.ReadFile(script)
		if err != nil {
			t.Fatal(err)
		}
		for _, sleep := range regexp.MustCompile(`sleep 9\d{3}\b`).FindAllString(string(text), -1) {
			if other := of[sleep]; other != "" && other != script {
				t.Errorf("%s and %s have %s", other, script, sleep)
			}
			of[sleep] = script
		}
	}
	if len(of) < 30 {
		t.Errorf("only %d sleeps are found", len(of))
	}
}

// exitCode runs `code N CMD ARG...`: CMD must end with exit code N. The output is kept
// as with exec.
func exitCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N command args...")
	}
	script := `"$@"; c=$?; if [ $c != ` + args[0] + ` ]; then echo "exit code $c, not ` + args[0] + `" >&2; exit 1; fi`
	if err := ts.Exec("sh", append([]string{"-c", script, "sh"}, args[1:]...)...); err != nil {
		ts.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
}

// until runs `until CMD ARG...`: CMD again and again until it succeeds, for up to 90 s.
func until(ts *testscript.TestScript, neg bool, args []string) {
	for deadline := time.Now().Add(90 * time.Second); ; {
		if err := ts.Exec(args[0], args[1:]...); (err == nil) != neg {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("never came true: %s", strings.Join(args, " "))
		}
		<-time.After(5 * time.Millisecond)
	}
}

// alone runs `alone TEXT`: no process's command line may contain TEXT.
func alone(ts *testscript.TestScript, neg bool, args []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, _ := os.ReadFile(f)
		if strings.Contains(strings.ReplaceAll(string(line), "\x00", " "), args[0]) {
			ts.Fatalf("still there: %s: %q", f, line)
		}
	}
}
