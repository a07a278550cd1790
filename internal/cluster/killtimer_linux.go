package cluster

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// killTimer is the kernel's part of the deadline: a timer that sends this process
// SIGKILL, which also ends a stopped process. The worker dies with its supervisor
// (PR_SET_PDEATHSIG, prctl(2)). So the worker ends in time even if both programs are
// stopped.
type killTimer struct {
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

func newKillTimer() *killTimer {
	d := &killTimer{}
	e := sigevent{signo: int32(unix.SIGKILL)}
	_, _, errno := unix.Syscall(unix.SYS_TIMER_CREATE, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&e)),
		uintptr(unsafe.Pointer(&d.id)))
	d.there = errno == 0
	return d
}

// set moves the timer to the time at, on the clock of [Now]; 0 for never.
func (d *killTimer) set(at time.Duration) {
	if !d.there {
		return // the two programs still watch each other
	}
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	const absolute = 1 // TIMER_ABSTIME
	_, _, _ = unix.Syscall6(unix.SYS_TIMER_SETTIME, uintptr(d.id), absolute, uintptr(unsafe.Pointer(&spec)), 0, 0, 0)
}
