package guard

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// watch wakes Keep when one of the paths may have gone. It watches the two
// files and the directory itself. It doesn't watch the directory's entries, so that
// the names of one directory don't wake each other. Removing a file that is held open
// changes its link count, which inotify reports as IN_ATTRIB.
type watch struct {
	c     chan struct{}
	f     *os.File
	fd    int
	dirty atomic.Bool // run has read an event since the last call of pending
}

// newWatch returns nil without inotify; Keep then polls.
func newWatch(dir string, files ...string) *watch {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil
	}
	const gone = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	_, _ = unix.InotifyAddWatch(fd, dir, gone|unix.IN_ONLYDIR)
	for _, f := range files {
		_, _ = unix.InotifyAddWatch(fd, f, gone|unix.IN_ATTRIB|unix.IN_DONT_FOLLOW)
	}
	w := &watch{c: make(chan struct{}, 1), f: os.NewFile(uintptr(fd), "inotify"), fd: fd}
	go w.run()
	return w
}

// run waits with the runtime's poller, which needs no thread.
func (w *watch) run() {
	buf := make([]byte, 512)
	for {
		if _, err := w.f.Read(buf); err != nil {
			return
		}
		w.dirty.Store(true)
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
}

// changed returns the channel on which run sends when a path may have gone; nil
// for a nil watch.
func (w *watch) changed() <-chan struct{} {
	if w == nil {
		return nil
	}
	return w.c
}

// pending reports whether a path may have gone since the last call, even before
// changed has received it. Without a watch it is always true.
func (w *watch) pending() bool {
	if w == nil {
		return true
	}
	events := []unix.PollFd{{Fd: int32(w.fd), Events: unix.POLLIN}}
	n, err := unix.Poll(events, 0)
	return w.dirty.Swap(false) || err == nil && n > 0
}

func (w *watch) close() {
	if w != nil {
		_ = w.f.Close()
	}
}
