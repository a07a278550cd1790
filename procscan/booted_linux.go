package procscan

import (
	"time"

	"golang.org/x/sys/unix"
)

// Booted returns when this machine came up, by the wall clock and for people only.
// It is zero where that isn't known.
func Booted() time.Time {
	var up unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &up) != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(up.Nano()))
}
