package process

import (
	"path/filepath"
	"unsafe"

	"golang.org/x/sys/unix"
)

// executed returns the path with which execve(2) started this program: AT_EXECFN of
// getauxval(3). It needs neither /proc nor argv[0]. A relative path is left out, because
// the directory may have changed.
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
