package process

import (
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// executed is the path that execve(2) was called with to start this program:
// AT_EXECFN of getauxval(3). It needs no /proc, and argv[0] may be anything.
// A path that was relative to the caller's directory is of no use later.
func executed() string {
	const execFN = 31
	values, err := unix.Auxv()
	if err != nil {
		return ""
	}
	for i := range values {
		if values[i][0] != execFN {
			continue
		}
		if path := unix.BytePtrToString(*(**byte)(unsafe.Pointer(&values[i][1]))); filepath.IsAbs(path) {
			return path
		}
	}
	return ""
}
