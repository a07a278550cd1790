//go:build linux

package nofile_test

import (
	"os"
	"os/exec"
	"syscall"
	"testing"

	"lifeline/internal/process/nofile"
)

// The test stands in a package of its own: what it imports must not delay the
// init of nofile.
//
// TestLimit starts this program with a limit of its own: by the time main runs,
// Go has raised it, and Limit still has what it was.
func TestLimit(t *testing.T) {
	if os.Getenv("NOFILE_CHILD") != "" {
		var now syscall.Rlimit
		if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &now); err != nil {
			t.Fatal(err)
		}
		if !nofile.Known || nofile.Limit.Cur != 123 || nofile.Limit.Max != 456 || now.Cur == 123 {
			t.Fatalf("started with %+v (known: %t), and now it is %+v", nofile.Limit, nofile.Known, now)
		}
		return
	}
	me, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("sh", "-c", `ulimit -Sn 123; ulimit -Hn 456; exec "$0" -test.run=TestLimit`, me)
	cmd.Env = append(os.Environ(), "NOFILE_CHILD=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
