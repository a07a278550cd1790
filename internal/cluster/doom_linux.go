package cluster

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// doom is the kernel's part of the deadline: a timer whose signal is SIGKILL,
// to this very process. It strikes a process that is stopped as well, and the
// worker dies with its supervisor (PR_SET_PDEATHSIG, prctl(2)). So nobody has
// to be awake for the worker to end in time.
type doom struct {
	id    int32
	there bool
}

// sigevent is struct sigevent of timer_create(2).
type sigevent struct {
	value  uint64
	signo  int32
	notify int32 // SIGEV_SIGNAL, 0: to the process
	_      [48]byte
}

func newDoom() *doom {
	d := &doom{}
	e := sigevent{signo: int32(unix.SIGKILL)}
	_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&e)), uintptr(unsafe.Pointer(&d.id)))
	d.there = errno == 0
	return d
}

// set moves it to the time at, on the clock of [Now]; 0 for never.
func (d *doom) set(at time.Duration) {
	if !d.there {
		return // the two programs watch over each other all the same
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	const absolute = 1 // TIMER_ABSTIME
	_, _, _ = unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(d.id), absolute, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}
