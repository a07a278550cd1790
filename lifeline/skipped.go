package lifeline

import (
	"os"

	"golang.org/x/sys/unix"
)

// K.lock holds no data, so its length can count: a tick that finds it held
// makes it one byte longer, the cheapest note there is. The supervisor reads
// the length when it wants to know how many ticks its worker has kept from
// starting.

// maxSkipped is where counting begins anew: two years of ticks.
const maxSkipped = 1 << 20

// countSkipped notes a tick that has found the lock at path held. A full disk
// costs the note.
func countSkipped(path string) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = unix.Write(fd, []byte("."))
	_ = unix.Close(fd)
}

// Skipped is how many ticks have found the name held since the last call, or
// since the hold began.
func (h *Hold) Skipped() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.lock == nil {
		return 0
	}
	st, err := h.lock.Stat()
	if err != nil {
		return 0
	}
	size := st.Size()
	n := size - h.counted
	if n < 0 { // a new file, or counting has begun anew
		n = size
	}
	if h.counted = size; size > maxSkipped {
		if names(h.dir.lock(h.Name), h.lock.Stat) && os.Truncate(h.dir.lock(h.Name), 0) == nil {
			h.counted = 0
		}
	}
	return int(n)
}
