//go:build proof && linux

// Package crash kills this program at one of its own steps.
// LIFELINE_PROOF_CRASH=STEP kills the first process that reaches STEP. Before its
// end that process writes its pid into the new file LIFELINE_PROOF_CRASHED.
package crash

import (
	"errors"
	"os"
	"runtime/coverage"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var (
	at      = os.Getenv("LIFELINE_PROOF_CRASH")
	file, _ = unix.BytePtrFromString(os.Getenv("LIFELINE_PROOF_CRASHED"))
)

// Point kills this process if step is the step of LIFELINE_PROOF_CRASH.
func Point(step string) {
	if dir := os.Getenv("GOCOVERDIR"); dir != "" && strings.HasSuffix(step, ".exec") {
		// execve would lose the coverage so far. A test program that is called as
		// lifeline can't write coverage, so the error doesn't count.
		_ = errors.Join(coverage.WriteMetaDir(dir), coverage.WriteCountersDir(dir))
	}
	if step == at {
		die()
	}
}

func die() {
	cwd := unix.AT_FDCWD
	fd, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(cwd), uintptr(unsafe.Pointer(file)),
		unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600, 0, 0)
	if errno != 0 {
		return // another process has been killed there already
	}
	pid, _, _ := syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	own := uint32(pid) // for the driver, which waits for this process's end
	syscall.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&own)), 4)
	syscall.RawSyscall(unix.SYS_KILL, pid, uintptr(unix.SIGKILL), 0)
	for {
	}
}
