//go:build linux

// Kernels runs a program as a kernel would that lacks system calls, or a
// container whose runtime refuses them:
//
//	kernels ENOSYS pidfd_open,clone3 lifeline web -- server
//
// A seccomp filter (seccomp(2)) answers the calls. waitid:P_PIDFD and the like
// name a call by its first argument.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is a system call, for any first argument or for one.
type call struct {
	number uint32
	first  int64 // -1: any
}

var calls = map[string]call{
	"pidfd_open":        {unix.SYS_PIDFD_OPEN, -1},
	"pidfd_send_signal": {unix.SYS_PIDFD_SEND_SIGNAL, -1},
	"clone3":            {unix.SYS_CLONE3, -1},
	"close_range":       {unix.SYS_CLOSE_RANGE, -1},
	"statx":             {unix.SYS_STATX, -1},
	"waitid:P_PIDFD":    {unix.SYS_WAITID, unix.P_PIDFD},
	"inotify_init1":     {unix.SYS_INOTIFY_INIT1, -1},
	"prctl:SUBREAPER":   {unix.SYS_PRCTL, unix.PR_SET_CHILD_SUBREAPER},
	"openat2":           {unix.SYS_OPENAT2, -1},
	"madvise":           {unix.SYS_MADVISE, -1},
	"memfd_create":      {unix.SYS_MEMFD_CREATE, -1},
	"getrandom":         {unix.SYS_GETRANDOM, -1},
	"faccessat2":        {unix.SYS_FACCESSAT2, -1},
	"timerfd_create":    {unix.SYS_TIMERFD_CREATE, -1},
}

// Of the kernel's struct seccomp_data: the call's number, and the lower half of
// its first argument on a little-endian machine.
const (
	offsetNumber = 0
	offsetFirst  = 16
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(125)
	}
}

func run(args []string) error {
	if len(args) < 3 {
		return fmt.Errorf("usage: kernels ENOSYS|EPERM CALL,... PROGRAM [ARG...]")
	}
	errno := map[string]uint32{"ENOSYS": uint32(unix.ENOSYS), "EPERM": uint32(unix.EPERM)}[args[0]]
	if errno == 0 {
		return fmt.Errorf("%s is neither ENOSYS nor EPERM", args[0])
	}
	load := func(offset uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
	}
	equal := func(k uint32, otherwise uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: otherwise, K: k}
	}
	give := func(k uint32) unix.SockFilter { return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: k} }
	var filter []unix.SockFilter
	for _, name := range strings.Split(args[1], ",") {
		c, known := calls[name]
		if !known {
			return fmt.Errorf("%s isn't in the table", name)
		}
		refuse := give(unix.SECCOMP_RET_ERRNO | errno)
		if c.first < 0 {
			filter = append(filter, load(offsetNumber), equal(c.number, 1), refuse)
		} else {
			filter = append(filter, load(offsetNumber), equal(c.number, 3), load(offsetFirst),
				equal(uint32(c.first), 1), refuse)
		}
	}
	filter = append(filter, give(unix.SECCOMP_RET_ALLOW))
	path, err := exec.LookPath(args[2])
	if err != nil {
		return err
	}
	// The filter is this thread's, and execve leaves only this thread.
	runtime.LockOSThread()
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	if err := unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&program)), 0,
		0); err != nil {
		return fmt.Errorf("cannot set the filter: %w", err)
	}
	return syscall.Exec(path, args[2:], os.Environ())
}
