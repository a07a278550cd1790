package guard

import (
	"io/fs"
	"os"
	"time"

	"lifeline/internal/crash"
	"lifeline/procscan"
)

// keepPoll is the slow look at both files, for what no notification tells: a
// parent directory that was moved, a system without inotify.
const keepPoll = 5 * time.Second

// keepRest is how long a worker must have stayed for memory to be given back:
// a short job shouldn't pay for that.
const keepRest = 2 * time.Second

// Keep is step 8: from now on a file of the name that is gone from its path is
// made again, locked, and the record written again. A removed file can't be
// linked back, and its lock keeps nobody out. The function it gives ends that;
// it doesn't wait for the watch to be taken down, which takes the kernel some
// milliseconds, in which the name could be free already.
func (h *Hold) Keep() (stop func()) {
	quit := make(chan struct{})
	w := newWatch(h.dir.path, h.dir.lock(h.Name), h.dir.run(h.Name))
	go func() {
		tidy := lockDir(h.dir.path)
		var retry time.Duration
		worker := procscan.ID{PID: -1} // at the last look
		for {
			again := keepPoll
			if put, err := h.putBack(); put {
				w.close()
				w = newWatch(h.dir.path, h.dir.lock(h.Name), h.dir.run(h.Name))
				tidy.Close()
				tidy = nil
				again = 0 // once more: it may have gone again before the watch stood
				if err != nil {
					retry = min(max(2*retry, time.Millisecond), 50*time.Millisecond)
					again = retry
				}
			}
			if tidy == nil {
				tidy = lockDir(h.dir.path)
			}
			if now := h.Worker(); now != worker {
				worker, again = now, min(again, keepRest)
			} else if again == keepPoll { // nothing has happened since
				slim()
			}
			select {
			case <-quit:
				w.close()
				tidy.Close()
				return
			case <-w.changed():
			case <-time.After(again):
			}
		}
	}()
	return func() {
		close(quit)
		h.abandon()
	}
}

// Intact reports whether both files have been ours and in their place all the
// time since the hold began.
func (h *Hold) Intact() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return !h.replaced && h.lock != nil && h.run != nil && h.inPlaceLocked()
}

func (h *Hold) inPlaceLocked() bool {
	return (h.lock == nil || names(h.dir.lock(h.Name), h.lock.Stat)) &&
		(h.run == nil || names(h.dir.run(h.Name), h.run.Stat))
}

// putBack makes what is missing again, and tells whether anything was. A tick
// that came first and holds the new files is an error until it has let go: its
// stub sees our worker and yields.
func (h *Hold) putBack() (missing bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released || h.inPlaceLocked() {
		return false, nil
	}
	crash.Point("keep.missing")
	h.replaced = true
	err = h.remake()
	switch {
	case err == nil:
		h.complained = ""
		select {
		case h.restored <- struct{}{}:
		default:
		}
	case err != errBusy && err.Error() != h.complained: // told once, not at every try
		h.complained = err.Error()
		h.guard.warn("cannot put back what was removed: %v", err)
	}
	return true, err
}

func (h *Hold) remake() error {
	if _, err := openDir(h.dir.path, h.guard.AllowNFS); err != nil {
		return err
	}
	if h.lost() != nil {
		return errBusy
	}
	if h.lock != nil && !names(h.dir.lock(h.Name), h.lock.Stat) {
		fresh, err := lockPath(h.dir.lock(h.Name), false)
		if err != nil {
			return err
		}
		// Those that stood in the queue at the old file wake up, see that it
		// is not the one any more, and queue up at the new one.
		h.lock.Close()
		h.lock = fresh
		crash.Point("keep.locked")
	}
	if h.run == nil || names(h.dir.run(h.Name), h.run.Stat) {
		return nil
	}
	fresh, err := openRun(h.dir.run(h.Name), h.guard.AllowNFS)
	if err != nil {
		return err
	}
	crash.Point("keep.opened")
	if err := flockNow(fresh); err != nil {
		fresh.Close()
		return err
	}
	// The worker goes on holding the old file, which costs nothing; the new
	// one's record tells of it.
	crash.Point("keep.held")
	if h.lost() != nil { // whoever has made it has been killed, and its worker lives
		fresh.Close()
		return errBusy
	}
	h.useRun(fresh, true)
	h.writeRecord()
	return nil
}

// names reports whether path names the file that stat looks at.
func names(path string, stat func() (fs.FileInfo, error)) bool {
	held, err := stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(held, now)
}

func (h *Hold) abandon() {
	h.mu.Lock()
	h.released = true
	h.mu.Unlock()
}

// Worker is the worker that the record names.
func (h *Hold) Worker() procscan.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.worker
}

// lockDir keeps systemd-tmpfiles out of the directory, which passes over those
// that somebody has locked (tmpfiles.d(5)). One supervisor at a time has the
// lock; when it ends, another takes it within the poll.
func lockDir(path string) *os.File {
	f, err := os.Open(path)
	if err != nil {
		return nil
	}
	if flockNow(f) != nil {
		f.Close()
		return nil
	}
	return f
}
