package lifeline

import (
	"os"

	"golang.org/x/sys/unix"
)

// watch wakes the keeper when one of the paths may have gone. It watches the
// two files and the directory itself, not what happens inside it: three
// hundred names in one directory don't wake each other. Removing a file that
// is held open changes its link count, which inotify reports as IN_ATTRIB.
type watch struct {
	f *os.File
	c chan struct{}
}

func newWatch(dir string, files ...string) *watch {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return &watch{} // the poll is left
	}
	const gone = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
	_, _ = unix.InotifyAddWatch(fd, dir, gone|unix.IN_ONLYDIR)
	for _, f := range files {
		_, _ = unix.InotifyAddWatch(fd, f, gone|unix.IN_ATTRIB|unix.IN_DONT_FOLLOW)
	}
	w := &watch{f: os.NewFile(uintptr(fd), "inotify"), c: make(chan struct{}, 1)}
	go func() {
		buf := make([]byte, 512)
		for {
			if _, err := w.f.Read(buf); err != nil {
				return
			}
			select {
			case w.c <- struct{}{}:
			default:
			}
		}
	}()
	return w
}

func (w *watch) changed() <-chan struct{} { return w.c }

func (w *watch) close() {
	if w.f != nil {
		w.f.Close()
	}
}
