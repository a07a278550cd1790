package tasks_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/coverage"
	"testing"

	"lifeline/internal/healthcheck"
	"lifeline/internal/logger"
	"lifeline/tasks"
)

// init keeps the main thread, as the real main does.
func init() { runtime.LockOSThread() }

// TestMain makes the test program the real lifeline when it is called by that name, and
// when it starts itself as the logger. Package scripts, a module of its own, runs the
// scripts in testdata.
func TestMain(m *testing.M) {
	switch name := filepath.Base(os.Args[0]); {
	case logger.Is(), name == "lifeline":
		exit(tasks.Main(context.Background(), os.Args))
	case name == "lifeline-remote": // that verb of it
		os.Exit(healthcheck.Main(context.Background(), os.Args[2:], os.Stdin, os.Stderr))
	}
	os.Exit(withPrograms(m.Run))
}

// withPrograms puts the test program on PATH by the names of both programs.
func withPrograms(run func() int) int {
	dir, err := os.MkdirTemp("", "lifeline-tasks")
	if err == nil {
		defer os.RemoveAll(dir)
		err = errors.Join(os.Chmod(dir, 0o755), os.Setenv("PATH", dir+":"+os.Getenv("PATH"))) // for other users too
	}
	self, err2 := os.Executable()
	if err = errors.Join(err, err2); err == nil {
		err = exec.Command("/bin/cp", self, dir+"/lifeline").Run() // a link would be lifeline-remote in /proc/PID/exe
	}
	if err == nil {
		err = exec.Command("/bin/cp", self, dir+"/lifeline-remote").Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "cannot put the programs on PATH:", err)
		return 1
	}
	return run()
}

// exit writes down what has been run first, for make cover: a test program
// that is called as lifeline doesn't do it by itself.
func exit(code int) {
	if dir := os.Getenv("GOCOVERDIR"); dir != "" {
		_ = errors.Join(coverage.WriteMetaDir(dir), coverage.WriteCountersDir(dir))
	}
	os.Exit(code)
}
