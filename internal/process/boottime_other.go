//go:build !linux

package process

import "golang.org/x/sys/unix"

// bootTime is what comes nearest to Linux's CLOCK_BOOTTIME.
func bootTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}
