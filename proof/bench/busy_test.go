//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/await"
	"lifeline/proof/build"
	"lifeline/proof/pid"
)

// TestBusyTickDoesNotScan checks that a tick costs the same with any number of
// processes, because it reads only the process that has the name.
func TestBusyTickDoesNotScan(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "lifeline")
	if err := build.One(program, ".", "urfave_cli_no_docs,osusergo,netgo"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pid.KillBelow(dir) })
	state := filepath.Join(dir, "state")
	ready := filepath.Join(dir, "ready")

	// The control: a start lists /proc, so the trace must show that.
	calls, err := trace(environ(), []string{program, "--dir", state, "other", "--", "true"})
	if err != nil {
		t.Fatal(err)
	}
	if len(readsProcessTable(calls)) == 0 {
		t.Fatalf("a start doesn't show that it lists /proc, so this test sees nothing: %d calls", len(calls))
	}

	holder := exec.Command(program, "--dir", state, "web", "--", "sh", "-c",
		`echo > "$1"; exec sleep 86400`, "sh", ready)
	holder.Env = environ()
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = holder.Process.Signal(os.Interrupt) // so that lifeline ends its worker
		_ = holder.Wait()
	})
	await.That(t, "the instance has started", func() bool { _, err := os.Stat(ready); return err == nil })

	tick := []string{program, "--dir", state, "web", "--", "true"}
	cmd := exec.Command(tick[0], tick[1:]...)
	cmd.Env = environ()
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("the tick said %q, %v; it should be silent and exit with 0", out, err)
	}
	calls, err = trace(environ(), tick)
	if err != nil {
		t.Fatal(err)
	}
	if found := readsProcessTable(calls); len(found) > 0 {
		t.Errorf("a tick that finds an instance looks through the process table:\n%s", strings.Join(found, "\n"))
	}
	// The tick reads at most the holder's own entries.
	others := map[string]bool{}
	for _, c := range calls {
		var n int
		if _, path, ok := strings.Cut(c.args, `"/proc/`); ok {
			if _, err := fmt.Sscanf(path, "%d/", &n); err == nil {
				others[fmt.Sprint(n)] = true
			}
		}
	}
	if len(others) > 3 {
		t.Errorf("the tick looks at %d processes: %v", len(others), others)
	}
}
