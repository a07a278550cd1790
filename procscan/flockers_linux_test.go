package procscan

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// Who took the lock holds it, and who has inherited it; who only has the file
// open doesn't, and nobody does when it is let go.
func TestFlockers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	open := func() *os.File {
		t.Helper()
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	pids := func() (list []int) {
		for _, id := range Flockers(path) {
			list = append(list, id.PID)
		}
		slices.Sort(list)
		return list
	}
	f := open()
	open()
	if got := pids(); got != nil {
		t.Errorf("nobody has locked it, and it is held by %v", got)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	if got := pids(); !slices.Equal(got, []int{os.Getpid()}) {
		t.Errorf("held by %v, not by %d alone", got, os.Getpid())
	}
	heir := exec.Command("sleep", "600")
	heir.ExtraFiles = []*os.File{f}
	if err := heir.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = heir.Process.Kill(); _ = heir.Wait() }()
	want := []int{os.Getpid(), heir.Process.Pid}
	slices.Sort(want)
	if got := pids(); !slices.Equal(got, want) {
		t.Errorf("held by %v, not by %v", got, want)
	}
	_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
	if got := pids(); got != nil {
		t.Errorf("it was let go, and is held by %v", got)
	}
}
