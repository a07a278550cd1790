//go:build !linux && !netbsd

package cluster

import "golang.org/x/sys/unix"

const clockMonotonic = unix.CLOCK_MONOTONIC
