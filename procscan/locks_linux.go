package procscan

import (
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Flock is one lock of flock(2), as /proc/locks shows it (proc_locks(5)).
type Flock struct {
	// PID took the lock. It may have ended if other processes inherited the lock.
	PID int
	Ino uint64
}

// Flocks lists the locks of flock(2) that are held. ok is false where the list
// is incomplete: in a pid namespace of its own the kernel leaves out locks
// whose taker has ended.
func Flocks() (locks []Flock, ok bool) {
	text, err := readFile("/proc/locks")
	if err != nil || !ours() {
		return nil, false
	}
	return ParseFlocks(string(text)), PIDNamespace() == initialPIDNamespace
}

// initialPIDNamespace is the inode of the first pid namespace (PROC_PID_INIT_INO,
// include/linux/proc_ns.h).
const initialPIDNamespace = 0xEFFFFFFC

// ParseFlocks reads the held locks from the text of /proc/locks, and leaves out the
// processes that wait for a lock.
func ParseFlocks(text string) (locks []Flock) {
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		// 1: FLOCK  ADVISORY  WRITE 2345 fe:00:1234 0 EOF
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		pid, err := strconv.Atoi(f[4])
		ino, err2 := strconv.ParseUint(f[5][strings.LastIndexByte(f[5], ':')+1:], 10, 64)
		if err == nil && err2 == nil {
			locks = append(locks, Flock{pid, ino})
		}
	}
	return locks
}

// Open is an open descriptor of a process.
type Open struct {
	ID
	FD   int
	Path string // as readlink shows it, without the mark of a deleted file
	// Deleted says that the file is gone from its path.
	Deleted bool
}

// OpenFiles lists the descriptors of the process whose path match accepts. ok is
// false when the descriptors may not be seen.
func OpenFiles(id ID, match func(path string) bool) (open []Open, ok bool) {
	dir := procPath(id.PID, "fd/")
	fds, err := readDir(dir)
	if err != nil {
		return nil, false
	}
	for _, fd := range fds {
		link, err := os.Readlink(dir + fd.Name())
		if err != nil {
			continue
		}
		path, deleted := strings.CutSuffix(link, " (deleted)")
		if n, err := strconv.Atoi(fd.Name()); err == nil && match(path) {
			open = append(open, Open{ID: id, FD: n, Path: path, Deleted: deleted})
		}
	}
	return open, true
}

// HoldsInode reports whether the process has a file with that inode number open;
// true where that can't be seen.
func HoldsInode(pid int, ino uint64) bool {
	dir := procPath(pid, "fd/")
	fds, err := readDir(dir)
	if err != nil {
		return true
	}
	for _, fd := range fds {
		var st unix.Stat_t
		if unix.Stat(dir+fd.Name(), &st) == nil && st.Ino == ino {
			return true
		}
	}
	return false
}

// ReadAt reads from the beginning of the open file, even if the file was removed.
func (o Open) ReadAt(buf []byte) (n int, err error) {
	err = open(procPath(o.PID, "fd/")+strconv.Itoa(o.FD), func(fd int) (err error) {
		n, err = unix.Pread(fd, buf, 0)
		return err
	})
	return n, err
}

// Access returns the uid that owns the file, and the file's permission bits; ok is
// false where these can't be seen.
func (o Open) Access() (uid int, perm uint32, ok bool) {
	var st unix.Stat_t
	if unix.Stat(procPath(o.PID, "fd/")+strconv.Itoa(o.FD), &st) != nil {
		return 0, 0, false
	}
	return int(st.Uid), st.Mode & 0o777, true
}

// Info describes the descriptor (proc_pid_fdinfo(5)). locked says that flock(2)
// locked the file through this descriptor, here or in a process that handed it
// down. closeOnExec implies that the process opened the file since its last execve.
func (o Open) Info() (locked, closeOnExec bool) {
	text, err := readFile(procPath(o.PID, "fdinfo/") + strconv.Itoa(o.FD))
	if err != nil {
		return false, false
	}
	for line := range strings.Lines(string(text)) {
		if flags, ok := strings.CutPrefix(line, "flags:"); ok {
			n, err := strconv.ParseUint(strings.TrimSpace(flags), 8, 64)
			closeOnExec = err == nil && n&unix.O_CLOEXEC != 0
		}
		locked = locked || strings.HasPrefix(line, "lock:") && strings.Contains(line, "FLOCK")
	}
	return locked, closeOnExec
}

// CgroupOf returns the path of the process's version 2 cgroup, "" for none.
func CgroupOf(pid int) string {
	text, err := readFile(procPath(pid, "cgroup"))
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok {
			return path
		}
	}
	return ""
}

// CgroupOwner returns the uid that owns a version 2 cgroup; ok is false where that
// can't be seen. A cgroup's name proves nothing: users make cgroups of any name in
// their part of the tree.
func CgroupOwner(path string) (uid int, ok bool) {
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} { // cgroups(7)
		var st unix.Stat_t
		if path != "" && unix.Stat(mount+path, &st) == nil {
			return int(st.Uid), true
		}
	}
	return 0, false
}

// CanSeeFlocks says whether this system shows the holder of a lock.
const CanSeeFlocks = true
