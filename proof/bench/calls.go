//go:build linux

package main

import (
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
)

var errNoStrace = errors.New("strace is missing: apt-get install strace")

// call is one system call of a trace.
type call struct{ name, args string }

var callLine = regexp.MustCompile(`^(?:\[pid +\d+\] |\d+ +)?([a-z0-9_]+)\((.*)`)

// trace runs argv under strace. It returns the system calls of argv, its threads and
// its children.
func trace(env, argv []string) (calls []call, err error) {
	strace := look("strace")
	if strace == "" {
		return nil, errNoStrace
	}
	cmd := exec.Command(strace, append([]string{"-f", "-qq", "-s", "200"}, argv...)...)
	cmd.Env = env
	var text strings.Builder
	cmd.Stderr = &text
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("cannot trace %s (may this user ptrace?): %w\n%s", argv[0], err, text.String())
	}
	for line := range strings.Lines(text.String()) {
		if m := callLine.FindStringSubmatch(line); m != nil {
			calls = append(calls, call{m[1], m[2]})
		}
	}
	return calls, nil
}

// readsProcessTable returns the calls that list a directory, which for a guard is
// /proc.
func readsProcessTable(calls []call) (found []string) {
	for _, c := range calls {
		if c.name == "getdents64" || c.name == "getdents" || strings.HasPrefix(c.args, `AT_FDCWD, "/proc", `) ||
			strings.HasPrefix(c.args, `AT_FDCWD, "/proc/", `) {
			found = append(found, c.name+"("+strings.TrimSpace(c.args))
		}
	}
	return found
}

// calls returns the line on the system calls of a busy tick and of an empty program.
func (b *bench) calls() string {
	count := func(argv ...string) string {
		calls, err := trace(environ(), argv)
		if err != nil {
			return err.Error()
		}
		return fmt.Sprintf("%d (%d of them list a directory)", len(calls), len(readsProcessTable(calls)))
	}
	return fmt.Sprintf("\nSystem calls, counted with strace -f: lifeline's tick that finds an instance %s; an empty "+
		"Go program %s.\n",
		count(b.lifeline, "--dir", b.path("state"), "tick", "--", "true"), count(b.floor))
}
