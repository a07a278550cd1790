package guard

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// The lock file holds no data, so its length can count. A tick that finds it held
// makes it one byte longer, the cheapest note there is. The supervisor reads the
// length to know how many ticks its worker has kept from starting.

// maxSkipped is where counting starts again at zero: two years of ticks.
const maxSkipped = 1 << 20

// countSkipped notes a tick that has found the lock at path held. On a full disk
// the tick isn't counted.
func countSkipped(path string) {
	if !mayGrow(2 * maxSkipped) {
		return // the write might end this process with SIGXFSZ
	}
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = unix.Write(fd, []byte("."))
	_ = unix.Close(fd)
}

// Skipped returns how many ticks have found the name held since the last call, or
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
	if n < 0 { // a new file, or counting has started again at zero
		n = size
	}
	if h.counted = size; size > maxSkipped {
		if isFileAt(h.dir.lock(h.Name), h.lock.Stat) && os.Truncate(h.dir.lock(h.Name), 0) == nil {
			h.counted = 0
		}
	}
	return int(n)
}

// Counted returns the length of the lock file up to which Skipped has counted.
func (h *Hold) Counted() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.counted
}

// SkippedSince returns how many ticks have found name held since its lock file had
// that length.
func (g Guard) SkippedSince(name string, length int64) int {
	d, err := g.forName(name)
	if err != nil {
		return 0
	}
	st, err := os.Stat(d.lock(name))
	if err != nil {
		return 0
	}
	if st.Size() < length { // a new file, or counting has started again at zero
		return int(st.Size())
	}
	return int(st.Size() - length)
}

// CountSkipped counts the ticks that have found the same instance, for
// --on-skip-after. held is the error of [Guard.Acquire].
func (g Guard) CountSkipped(name string, held *HeldError) (n int, err error) {
	d, err := g.forName(name)
	if err != nil {
		return 0, err
	}
	path := d.skipped(name)
	f, err := os.OpenFile(path, lockFlags, 0o600)
	if err != nil {
		return 0, openError("file", path, err)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil { // two ticks at once count as two
		return 0, fmt.Errorf("cannot lock the file %s: %w", path, err)
	}
	instance := held.Generation
	if instance == "" {
		instance = fmt.Sprintf("%d:%d", held.Supervisor.PID, held.Supervisor.Start)
	}
	var was string
	text, _ := io.ReadAll(io.LimitReader(f, 256))
	if k, _ := fmt.Sscanf(string(text), "%s %d", &was, &n); k != 2 || was != instance {
		n = 0
	}
	n++
	line := fmt.Appendf(nil, "%s %d\n", instance, n)
	if _, err := f.WriteAt(line, 0); err != nil {
		return 0, fmt.Errorf("cannot write the file %s: %w", path, reason(err))
	}
	_ = f.Truncate(int64(len(line)))
	return n, nil
}
