package supervisor

import (
	"os"

	"golang.org/x/sys/unix"
)

// reserve keeps descriptors back for what must work when no other is left (RLIMIT_NOFILE,
// getrlimit(2)). It belongs to one goroutine.
type reserve struct {
	size int // 0 keeps none
	fds  []int
}

// A start needs forStart descriptors beside those that the last worker's end has freed:
// LIFELINE_FD's two ends, and the pipe of fork. The reserve leaves at least forOthers to
// checks, the logger and the journal.
const (
	forStart  = 4
	forOthers = 4
)

// newReserve returns a reserve of at most want descriptors that leaves the others their
// part.
func newReserve(want, others int) reserve {
	all := reserve{size: want + others}
	all.take()
	defer all.give()
	return reserve{size: max(len(all.fds)-others, 0)}
}

// take fills the reserve, as far as descriptors are left.
func (r *reserve) take() {
	for len(r.fds) < r.size {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		r.fds = append(r.fds, fd)
	}
}

// give frees the descriptors for use, and reports whether there were any.
func (r *reserve) give() bool {
	given := len(r.fds) > 0
	for _, fd := range r.fds {
		_ = unix.Close(fd)
	}
	r.fds = nil
	return given
}
