// Package need leaves a test out, by name, where the machine lacks what it
// needs. In CI, where LIFELINE_TEST_STRICT is set, that is a failure: a test
// that never runs proves nothing. It also reads the settings that people give
// to tests.
package need

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"testing"
)

// That leaves the test out unless ok; what is what is missing.
func That(t testing.TB, ok bool, what string) {
	t.Helper()
	if !ok {
		NoError(t, fmt.Errorf("missing on this machine: %s", what))
	}
}

// NoError leaves the test out if err says that something is missing.
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

// Program gives the path of a program.
func Program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	That(t, err == nil, name)
	return path
}

// Programs are needed all of them.
func Programs(t testing.TB, names ...string) {
	t.Helper()
	for _, name := range names {
		Program(t, name)
	}
}

// Root skips a test that needs root's rights.
func Root(t testing.TB) {
	t.Helper()
	That(t, os.Geteuid() == 0, "root's rights")
}

// Namespaces skips a test that can't have namespaces for mounts and processes,
// for a world of its own.
func Namespaces(t testing.TB) {
	t.Helper()
	Program(t, "unshare")
	That(t, exec.Command("unshare", "--mount", "--pid", "--fork", "--mount-proc", "true").Run() == nil,
		"the right to make namespaces")
}

// Time leaves out what takes minutes when only a quick look is wanted (-short).
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
