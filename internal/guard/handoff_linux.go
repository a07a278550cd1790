package guard

import (
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/procscan"
)

// Handed is a hold on its way through execve: the same process goes on as a
// newer lifeline, with the same locks. The descriptors stay open.
type Handed struct {
	Lock, Run  int
	Generation string
	Worker     procscan.ID
	Sure       bool
}

// HandOver readies the hold for execve: its descriptors survive it. Undo with
// [Hold.TakeBack] when execve fails.
func (h *Hold) HandOver() (Handed, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := Handed{Generation: h.generation, Worker: h.worker, Sure: h.sure}
	if h.lock == nil || h.run == nil {
		return out, fmt.Errorf("the locks are not held")
	}
	st, err := h.lock.Stat()
	if err != nil {
		return out, fmt.Errorf("cannot look at the lock file: %w", err)
	}
	// gofrs/flock doesn't tell its descriptor, so it is looked up by inode.
	if out.Lock, err = descriptorOf(st); err != nil {
		return out, err
	}
	out.Run = int(h.run.Fd())
	err = h.keepOpen(out, true)
	crash.Point("handover.exec")
	return out, err
}

// TakeBack undoes HandOver.
func (h *Hold) TakeBack(out Handed) { _ = h.keepOpen(out, false) }

func (h *Hold) keepOpen(out Handed, open bool) error {
	flag := unix.FD_CLOEXEC
	if open {
		flag = 0
	}
	for _, fd := range []int{out.Lock, out.Run} {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, flag); err != nil {
			return fmt.Errorf("cannot keep descriptor %d open: %w", fd, err)
		}
	}
	return nil
}

func descriptorOf(st fs.FileInfo) (int, error) {
	want := st.Sys().(*syscall.Stat_t)
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0, fmt.Errorf("cannot list the open descriptors: %w", err)
	}
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		var have unix.Stat_t
		if fd > 2 && unix.Fstat(fd, &have) == nil && have.Dev == want.Dev && have.Ino == want.Ino {
			return fd, nil
		}
	}
	return 0, fmt.Errorf("cannot find the lock file's descriptor")
}

// TakeUp takes up a hold that came through execve.
func (g Guard) TakeUp(name string, in Handed) (*Hold, error) {
	d, err := openDir(g.Dir, g.AllowNFS)
	if err != nil {
		return nil, err
	}
	h := &Hold{
		Name: name, dir: d, guard: g, restored: make(chan struct{}, 1),
		lock:       inheritedLock{os.NewFile(uintptr(in.Lock), d.lock(name))},
		generation: in.Generation, worker: in.Worker, sure: in.Sure, searched: true, since: ticksNow(),
	}
	for _, fd := range []int{in.Lock, in.Run} {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_SETFD, unix.FD_CLOEXEC); err != nil {
			return nil, fmt.Errorf("cannot take up the locks: descriptor %d: %w", fd, err)
		}
	}
	crash.Point("handover.taken")
	run := os.NewFile(uintptr(in.Run), d.run(name))
	h.useRun(run, flockNow(run) == nil) // the lock came along, or an adopted worker has it
	h.prior = priorRecord{known: true, rec: h.record()}
	h.writeRecord()
	h.Skipped()
	return h, nil
}

// inheritedLock is the lock file after execve: the lock belongs to the open file,
// which came along.
type inheritedLock struct{ *os.File }
