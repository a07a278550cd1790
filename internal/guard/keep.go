package guard

import (
	"io/fs"
	"os"
	"time"

	"lifeline/internal/crash"
)

const (
	// keepPoll is the interval at which both files are checked. It covers what
	// inotify misses: a parent directory that was moved.
	keepPoll = time.Minute
	// keepPollBlind is the interval without inotify, or after the user's instances of
	// it are used up (inotify(7)).
	keepPollBlind = 6 * time.Second
	// keepFirst is the delay before the first check, so that a shorter job pays
	// nothing.
	keepFirst = 100 * time.Millisecond
)

// Keep puts back removed files (step 9), until stop is called. When a file of the
// name is gone from its path, Keep makes and locks a new file, and writes the
// record again. The lock of a removed file guards nothing, and a removed file
// can't be linked back.
func (h *Hold) Keep() (stop func()) {
	quit := make(chan struct{})
	go func() {
		var tidy *os.File
		defer func() { tidy.Close() }() // nil is fine
		var w *watch
		defer func() { w.close() }()
		var retry time.Duration
		for first, again := true, keepFirst; ; first = false {
			select {
			case <-quit:
				return
			case <-w.changed():
			case <-time.After(again):
			}
			put, err := h.putBack()
			if put || first || w == nil {
				w.close()
				w = newWatch(h.dir.path, h.dir.lock(h.Name), h.dir.run(h.Name))
				h.setWatch(w)
				tidy.Close()
				tidy = nil
			}
			switch {
			case err != nil:
				retry = min(max(2*retry, time.Millisecond), 50*time.Millisecond)
				again = retry
				continue
			case put || first:
				again = time.Millisecond // a file may have gone again before the watch was set
			case w == nil:
				again = keepPollBlind
			default:
				again = keepPoll
			}
			retry = 0
			if tidy == nil {
				tidy = lockDir(h.dir.path)
			}
		}
	}()
	return func() {
		close(quit)
		h.abandon()
	}
}

func (h *Hold) inPlaceLocked() bool {
	return (h.lock == nil || isFileAt(h.dir.lock(h.Name), h.lock.Stat)) &&
		(h.run == nil || isFileAt(h.dir.run(h.Name), h.run.Stat))
}

// putBack makes missing files again, and reports whether a file was missing. The
// error is errBusy while a tick holds the new files. That tick sees the worker
// and stands down.
func (h *Hold) putBack() (missing bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.released || h.inPlaceLocked() {
		return false, nil
	}
	crash.Point("keep.missing")
	h.breaks, h.sure = h.breaks+1, false
	err = h.remake()
	switch {
	case err == nil:
		h.complained = ""
		select {
		case h.restored <- struct{}{}:
		default:
		}
	case err != errBusy && err.Error() != h.complained: // one warning, not one a try
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
	if h.lock != nil && !isFileAt(h.dir.lock(h.Name), h.lock.Stat) {
		fresh, err := lockPath(h.dir.lock(h.Name), false)
		if err != nil {
			return err
		}
		// The processes that queued for the old file wake up, see that the path
		// names another file, and queue for that file.
		h.lock.Close()
		h.lock = fresh
		crash.Point("keep.locked")
	}
	if h.run == nil || isFileAt(h.dir.run(h.Name), h.run.Stat) {
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
	// The worker goes on holding the old file. The record in the new file names
	// the worker.
	crash.Point("keep.held")
	if h.lost() != nil { // the new file's maker was killed, and its worker lives
		fresh.Close()
		return errBusy
	}
	h.useRun(fresh, true)
	h.writeRecord()
	return nil
}

// isFileAt reports whether path names the file that stat looks at.
func isFileAt(path string, stat func() (fs.FileInfo, error)) bool {
	held, err := stat()
	if err != nil {
		return false
	}
	now, err := os.Lstat(path)
	return err == nil && os.SameFile(held, now)
}

func (h *Hold) setWatch(w *watch) {
	h.mu.Lock()
	h.watch = w
	h.mu.Unlock()
}

func (h *Hold) abandon() {
	h.mu.Lock()
	h.released = true
	h.mu.Unlock()
}

// lockDir locks the directory, because systemd-tmpfiles passes over locked
// directories (tmpfiles.d(5)). One supervisor at a time has the lock. After its
// end the next supervisor that polls takes the lock.
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
