// Package need skips a test that needs what the machine lacks, and says what. In CI,
// where LIFELINE_TEST_STRICT is set, it fails the test instead, because a test that
// never runs proves nothing. It also reads numbers that tests take from the environment.
package need

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// That skips the test unless ok; what names the missing thing.
func That(t testing.TB, ok bool, what string) {
	t.Helper()
	if !ok {
		NoError(t, fmt.Errorf("missing on this machine: %s", what))
	}
}

// NoError skips the test if err says that something is missing.
func NoError(t testing.TB, err error) {
	t.Helper()
	switch {
	case err == nil:
	case os.Getenv("LIFELINE_TEST_STRICT") != "":
		t.Fatalf("%v (LIFELINE_TEST_STRICT lets no test be left out)", err)
	default:
		t.Skip(err)
	}
}

// Program returns the path of a program, or skips the test.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	That(t, err == nil, name)
	return path
}

// Programs skips a test unless every one of the programs is installed.
func Programs(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		Program(t, name)
	}
}

// Root skips a test unless root runs it.
func Root(t testing.TB) {
	t.Helper()
	That(t, os.Geteuid() == 0, "root's rights")
}

// Namespaces skips a test unless it may make namespaces for mounts and processes.
func Namespaces(t testing.TB) {
	t.Helper()
	Program(t, "unshare")
	That(t, exec.Command("unshare", "--mount", "--pid", "--fork", "--mount-proc", "true").Run() == nil,
		"the right to make namespaces")
}

// Time skips a slow test under -short.
func Time(t testing.TB, why string) {
	t.Helper()
	That(t, !testing.Short(), "time (-short): "+why)
}

// Number reads a setting of the environment, from 1 up.
func Number(t testing.TB, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n < 1 {
		t.Fatalf("%s=%q is not a number from 1 up", name, text)
	}
	return n
}
