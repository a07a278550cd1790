package process

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// notAdopting undoes [Adopting] until restore is called.
func notAdopting() (restore func()) {
	var was int32
	if unix.Prctl(unix.PR_GET_CHILD_SUBREAPER, uintptr(unsafe.Pointer(&was)), 0, 0, 0) != nil || was == 0 {
		return func() {}
	}
	_ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
	return func() { _ = Adopting() }
}

// dup makes to a duplicate of from. It is dup2(2), which arm64 lacks.
func dup(from, to int) error { return unix.Dup3(from, to, 0) }
