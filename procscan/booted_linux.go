package procscan

import (
	"time"

	"golang.org/x/sys/unix"
)

// Booted is when this machine came up, by the wall clock: for people only.
// Zero where it can't be told.
func Booted() time.Time {
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(up.Nano()))
}
