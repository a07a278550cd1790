// Package nofile knows the limit on open files that this process was started
// with.
//
// Go raises the soft limit of every program in the init of package syscall, and
// gives the old one back only to children that syscall.ForkExec starts (see
// syscall/rlimit.go). This package's init runs before that one: packages whose
// imports are ready are initialized in the order of their paths (the Go
// specification, "Package initialization"), and this one has no imports.
package nofile

import "unsafe"

// Limit is RLIMIT_NOFILE as it was; zero when it couldn't be read.
var Limit struct{ Cur, Max uint64 }

// Known reports that Limit was read.
var Known bool

const resource = 7 // RLIMIT_NOFILE, getrlimit(2)

//go:linkname rawSyscall6 syscall.RawSyscall6
func rawSyscall6(trap, a1, a2, a3, a4, a5, a6 uintptr) (r1, r2, errno uintptr)

func init() {
	_, _, errno := rawSyscall6(prlimit64, 0, resource, 0, uintptr(unsafe.Pointer(&Limit)), 0, 0)
	Known = errno == 0
}
