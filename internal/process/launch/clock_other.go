//go:build !linux && !netbsd

package launch

import "golang.org/x/sys/unix"

// clock is the nearest to Linux's CLOCK_BOOTTIME.
const clock = unix.CLOCK_MONOTONIC
