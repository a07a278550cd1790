package guard

import (
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// watch wakes the keeper when one of the paths may have gone. It watches the
// two files and the directory itself, not what happens inside it: three
// hundred names in one directory don't wake each other. Removing a file that
// is held open changes its link count, which inotify reports as IN_ATTRIB.
//
// It has a thread, and that thread a table of descriptors, of its own. Closing
// an inotify descriptor takes the kernel tens of milliseconds, and longer on a
// busy machine (it waits until nobody can be looking at the marks any more). A
// supervisor that is killed would spend them before it lets go of the lock, and
// before its worker's death signal is sent (do_exit: the files come first).
type watch struct {
	c    chan struct{}
	stop int // closed: the thread ends; -1: there is none
}

func newWatch(dir string, files ...string) *watch {
	w := &watch{c: make(chan struct{}, 1), stop: -1}
	var p [2]int
	if unix.Pipe2(p[:], unix.O_CLOEXEC) != nil {
		return w // the poll is left
	}
	w.stop = p[1]
	private := make(chan bool)
	go w.run(p[0], private, dir, files)
	if <-private {
		unix.Close(p[0]) // it has one of its own
	}
	return w
}

func (w *watch) run(stop int, private chan<- bool, dir string, files []string) {
	runtime.LockOSThread() // for good: the thread ends together with this function
	if unix.Gettid() == unix.Getpid() {
		// The first thread's table is what others see as the process's. While
		// this function sits on it, the next one gets another.
		other := make(chan bool)
		go w.run(stop, other, dir, files)
		private <- <-other
		runtime.UnlockOSThread()
		return
	}
	own := ownTable(stop)
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC)
	if err == nil {
		const gone = unix.IN_DELETE_SELF | unix.IN_MOVE_SELF
		_, _ = unix.InotifyAddWatch(fd, dir, gone|unix.IN_ONLYDIR)
		for _, f := range files {
			_, _ = unix.InotifyAddWatch(fd, f, gone|unix.IN_ATTRIB|unix.IN_DONT_FOLLOW)
		}
	}
	private <- own
	buf := make([]byte, 512)
	for events := []unix.PollFd{{Fd: int32(stop)}, {Fd: int32(fd), Events: unix.POLLIN}}; events[0].Revents == 0; {
		if _, err := unix.Poll(events, -1); err != nil || events[1].Revents == 0 {
			continue
		}
		_, _ = unix.Read(fd, buf)
		select {
		case w.c <- struct{}{}:
		default:
		}
	}
	unix.Close(stop)
	if fd >= 0 {
		unix.Close(fd)
	}
}

// ownTable leaves the calling thread a table of descriptors of its own, with
// keep in it and what the runtime's poller needs on every thread. false: it
// shares everybody's still (Linux before 5.9).
func ownTable(keep int) bool {
	kept := []int{keep}
	fds, _ := os.ReadDir("/proc/self/fd")
	for _, f := range fds {
		to, _ := os.Readlink("/proc/self/fd/" + f.Name())
		if fd, err := strconv.Atoi(f.Name()); err == nil && (to == "anon_inode:[eventpoll]" || to == "anon_inode:[eventfd]") {
			kept = append(kept, fd)
		}
	}
	slices.Sort(kept)
	flags, from := uint(unix.CLOSE_RANGE_UNSHARE), 0
	for _, fd := range append(kept, math.MaxInt32) {
		if from < fd {
			if unix.CloseRange(uint(from), uint(fd-1), flags) != nil {
				return false
			}
			flags = 0
		}
		from = fd + 1
	}
	return true
}

func (w *watch) changed() <-chan struct{} { return w.c }

func (w *watch) close() {
	if w.stop >= 0 {
		unix.Close(w.stop)
	}
}
