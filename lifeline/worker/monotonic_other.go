//go:build !netbsd

package worker

import "golang.org/x/sys/unix"

const clockMonotonic = unix.CLOCK_MONOTONIC
