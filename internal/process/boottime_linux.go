package process

import "golang.org/x/sys/unix"

// bootTime is the time on CLOCK_BOOTTIME, in nanoseconds.
func bootTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return ts.Nano()
}
