package supervisor

import (
	"time"

	"golang.org/x/sys/unix"
)

// nap sleeps to the microsecond and holds its thread meanwhile.
func nap(d time.Duration) {
	t := unix.NsecToTimespec(int64(d))
	_ = unix.Nanosleep(&t, nil)
}
