package process

import (
	"io"
	"math"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

// A launcher says whether it has executed the command, because both may end with 125. The
// command doesn't see the variable.
func TestRefusal(t *testing.T) {
	for until, refused := range map[int64]bool{1: true, math.MaxInt64: false} {
		ours, theirs, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer ours.Close()
		script := "env | grep -q REFUSAL && exit 3; exit 125"
		id, err := Start(Spec{Argv: []string{"/bin/sh", "-c", script}, Env: os.Environ(), Umask: -1, Until: until,
			Refusal: int(theirs.Fd())})
		theirs.Close()
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(ours)
		if err != nil || (len(text) == 1) != refused {
			t.Errorf("until %d: the pipe has %q, %v", until, text, err)
		}
		var status unix.WaitStatus
		if _, err := unix.Wait4(id.PID, &status, 0, nil); err != nil || status.ExitStatus() != 125 {
			t.Errorf("until %d: it ends with %d, %v", until, status.ExitStatus(), err)
		}
	}
}
