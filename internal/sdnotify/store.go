package sdnotify

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// DefaultStoreMax is how many descriptors a Store keeps unless told otherwise.
const DefaultStoreMax = 512

// Store keeps a worker's descriptors from one start to the next, as FDSTORE=1 and
// FDSTOREREMOVE=1 of sd_notify(3) ask. Files returns them for
// sd_listen_fds_with_names(3). The zero Store is ready for use. A Store belongs to one
// goroutine.
type Store struct {
	// Max is the most descriptors kept: 0 for DefaultStoreMax, negative to keep
	// none.
	Max     int
	entries []Stored
}

// Stored is one descriptor in a Store, which still owns the descriptor.
type Stored struct {
	Name string
	FD   int
	Poll bool // dropped when it hangs up
}

// Apply does what m says about the store, and takes the descriptors of m. It ignores
// other messages. The error says how many descriptors were closed, because the store is
// full.
func (s *Store) Apply(m *Message) error {
	switch {
	case m.FDStoreRemove:
		s.Remove(m.FDName)
	case m.FDStore:
		fds := m.Fds
		m.Fds = nil
		for i, fd := range fds {
			if err := s.Add(m.FDName, fd, !m.NoPoll); err != nil {
				closeAll(fds[i+1:])
				return fmt.Errorf("cannot keep %d of %d descriptors named %q: %w", len(fds)-i, len(fds), m.FDName, err)
			}
		}
	}
	return nil
}

// Add keeps fd, which belongs to the Store from then on. If the Store has the same open
// file under any name, Add closes fd and returns nil. It also closes fd on an error: the
// name is invalid or the Store is full.
func (s *Store) Add(name string, fd int, poll bool) error {
	if !validFDName(name) {
		closeAll([]int{fd})
		return fmt.Errorf("cannot store a descriptor as %q: a name has at most 255 characters of printable ASCII, and "+
			"no colon", name)
	}
	for _, e := range s.entries {
		if e.FD != fd && sameFile(e.FD, fd) {
			closeAll([]int{fd})
			return nil
		}
	}
	limit := s.Max
	if limit == 0 {
		limit = DefaultStoreMax
	}
	if len(s.entries) >= limit {
		s.Sweep()
	}
	if len(s.entries) >= limit {
		closeAll([]int{fd})
		return fmt.Errorf("the store holds its maximum of %d; let the worker remove some with FDSTOREREMOVE=1",
			max(limit, 0))
	}
	unix.CloseOnExec(fd)
	s.entries = append(s.entries, Stored{Name: name, FD: fd, Poll: poll})
	return nil
}

// Remove drops the descriptors of that name, and returns how many.
func (s *Store) Remove(name string) int {
	return s.drop(func(i int) bool { return s.entries[i].Name == name })
}

// Sweep drops the descriptors that have hung up or failed (POLLHUP, POLLERR, poll(2)),
// except those stored with FDPOLL=0. It returns how many. systemd drops such descriptors
// at once. Here Files and a full Add sweep first, so kept descriptors cost no wake-ups.
func (s *Store) Sweep() int {
	if len(s.entries) == 0 {
		return 0
	}
	polled := make([]unix.PollFd, len(s.entries))
	for i, e := range s.entries {
		polled[i].Fd = int32(e.FD) // no Events: poll always tells of hang-up and error
		if !e.Poll {
			polled[i].Fd = -1 // poll skips it
		}
	}
	for {
		switch _, err := unix.Poll(polled, 0); err {
		case nil:
			return s.drop(func(i int) bool { return polled[i].Revents&(unix.POLLHUP|unix.POLLERR) != 0 })
		case unix.EINTR:
		default:
			return 0 // on an error keep all
		}
	}
}

func (s *Store) drop(which func(i int) bool) int {
	var kept []Stored
	var gone []int
	for i, e := range s.entries {
		if which(i) {
			gone = append(gone, e.FD)
		} else {
			kept = append(kept, e)
		}
	}
	s.entries = kept
	closeAll(gone)
	return len(gone)
}

// List returns the kept descriptors in the order they came, to hand them on through
// execve.
func (s *Store) List() []Stored { return append([]Stored(nil), s.entries...) }

// Files sweeps, and returns duplicates of the kept descriptors and their names, in the
// order they came, for LISTEN_FDS and LISTEN_FDNAMES of the next start. The caller
// closes the duplicates after the start; after an error there are none. Non-blocking
// descriptors stay non-blocking.
func (s *Store) Files() ([]*os.File, []string, error) {
	s.Sweep()
	files := make([]*os.File, 0, len(s.entries))
	names := make([]string, 0, len(s.entries))
	for _, e := range s.entries {
		fd, err := unix.FcntlInt(uintptr(e.FD), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, nil, fmt.Errorf("cannot duplicate a stored descriptor: %w; raise the limit of open files", err)
		}
		files = append(files, os.NewFile(uintptr(fd), e.Name))
		names = append(names, e.Name)
	}
	return files, names, nil
}

// sameInode compares inodes, where the kernel can't compare open files. A socket has one open
// file, and the two ends of a pipe differ in their flags. For other files the inode
// proves nothing: all eventfds share one, and two opens of a file have two positions.
// sameInode then returns false, because a duplicate costs less than lost state.
func sameInode(a, b int) bool {
	var sa, sb unix.Stat_t
	if unix.Fstat(a, &sa) != nil || unix.Fstat(b, &sb) != nil || sa.Dev != sb.Dev || sa.Ino != sb.Ino {
		return false
	}
	switch kind := sa.Mode & unix.S_IFMT; {
	case kind != sb.Mode&unix.S_IFMT:
		return false
	case kind == unix.S_IFSOCK:
		return sa.Ino != 0 // some systems number no sockets
	case kind == unix.S_IFIFO:
		fa, errA := unix.FcntlInt(uintptr(a), unix.F_GETFL, 0)
		fb, errB := unix.FcntlInt(uintptr(b), unix.F_GETFL, 0)
		return errA == nil && errB == nil && fa == fb
	}
	return false
}
