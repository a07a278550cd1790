package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"github.com/gofrs/flock" // flock(2), the same on every system
	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
)

// errBusy says that another process holds the lock.
var errBusy = errors.New("locked by another process")

// lockFlags refuses links, because a link's target would be created and locked,
// and opens a FIFO without waiting for its other end.
const lockFlags = os.O_CREATE | os.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK

// lockPath takes the name's lock file (step 2), and waits for it only if wait is
// set. The lock counts only if the path still names the locked file. A file that
// was removed between open and lock guards nothing, so lockPath starts over.
// lifeline itself leaves lock files in place.
func lockPath(path string, wait bool) (*flock.Flock, error) {
	return inPlace("lock file", path, func() (*flock.Flock, error) {
		f := flock.New(path, flock.SetFlag(lockFlags), flock.SetPermissions(0o600))
		ok, err := true, error(nil)
		if wait {
			err = f.Lock()
		} else {
			ok, err = f.TryLock()
		}
		switch {
		case err != nil:
			err = openError("lock file", path, err)
		case !ok:
			err = errBusy
		default:
			crash.Point("lock.taken")
			return f, nil
		}
		f.Close()
		return nil, err
	})
}

// inPlace opens a file of the name, and opens it again when path no longer names
// the opened file.
func inPlace[F interface {
	Stat() (fs.FileInfo, error)
	Close() error
}](what, path string, open func() (F, error)) (none F, err error) {
	for range 1000 {
		f, err := open()
		if err != nil {
			return none, err
		}
		st, err := f.Stat()
		if err != nil {
			f.Close()
			return none, fmt.Errorf("cannot look at the %s %s: %w", what, path, reason(err))
		}
		same, err := checkFile(what, path, st)
		if err == nil && same {
			return f, nil
		}
		f.Close()
		if err != nil {
			return none, err
		}
	}
	return none, fmt.Errorf("cannot open the %s %s: another process removes it again and again; find that process "+
		"(inotifywait, auditctl) and stop it", what, path)
}

// runFlags returns the flags that open the run file for reading only, because the
// worker inherits it and may have dropped root's privileges. Such a worker may hold the lock and read the
// record; lifeline writes the record through a descriptor of its own. On NFS,
// flock(2) is a lock of the other kind, which needs a file open for writing.
func runFlags(nfs bool) int {
	if nfs {
		return lockFlags
	}
	return lockFlags&^os.O_RDWR | os.O_RDONLY
}

// openRun opens the run file, and makes it if it is missing.
func openRun(path string, nfs bool) (*os.File, error) {
	return inPlace("run file", path, func() (*os.File, error) {
		f, err := os.OpenFile(path, runFlags(nfs), 0o600)
		if err != nil {
			return nil, openError("run file", path, err)
		}
		return f, nil
	})
}

// checkFile refuses an open file unless it is a regular file of this user. same
// says whether path still names the file.
func checkFile(what, path string, st fs.FileInfo) (same bool, err error) {
	if err := judgeFile(what, path, st); err != nil {
		return false, err
	}
	now, err := os.Lstat(path)
	if err != nil {
		return false, nil // removed just now
	}
	if !os.SameFile(st, now) {
		return false, nil
	}
	if st.Mode().Perm() != 0o600 { // the umask took something away
		if err := os.Chmod(path, 0o600); err != nil {
			return false, fmt.Errorf("cannot set the mode of the %s %s: %w", what, path, reason(err))
		}
	}
	return true, nil
}

// judgeFile refuses a file unless it is a regular file of this user with one name.
func judgeFile(what, path string, st fs.FileInfo) error {
	sys := st.Sys().(*syscall.Stat_t)
	switch {
	case st.IsDir():
		return openError(what, path, unix.EISDIR)
	case !st.Mode().IsRegular():
		return fmt.Errorf("the %s %s is %s, not a regular file: refused; rm %s", what, path, kindOf(st.Mode()), path)
	case int(sys.Uid) != os.Geteuid():
		return fmt.Errorf("the %s %s belongs to uid %d, not to uid %d: refused; rm %s", what, path, sys.Uid,
			os.Geteuid(), path)
	case sys.Nlink > 1:
		return fmt.Errorf("the %s %s has %d links: refused; rm %s", what, path, sys.Nlink, path)
	}
	return nil
}

func kindOf(m fs.FileMode) string {
	switch {
	case m&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case m&fs.ModeDevice != 0:
		return "a device"
	}
	return "something else"
}

func openError(what, path string, err error) error {
	switch {
	case errors.Is(err, unix.ELOOP), errors.Is(err, unix.EMLINK): // EMLINK is FreeBSD's word for it
		return fmt.Errorf("the %s %s is a symbolic link: refused; rm %s", what, path, path)
	case errors.Is(err, unix.EISDIR):
		return fmt.Errorf("the %s %s is a directory: refused; rmdir %s", what, path, path)
	case errors.Is(err, unix.ENXIO):
		return fmt.Errorf("the %s %s is a socket or device: refused; rm %s", what, path, path)
	case errors.Is(err, unix.EMFILE), errors.Is(err, unix.ENFILE):
		return fmt.Errorf("cannot open the %s %s: %w; raise the limit (ulimit -n)", what, path, reason(err))
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("cannot make the %s %s: %w; free some space or inodes", what, path, reason(err))
	case errors.Is(err, unix.EROFS), errors.Is(err, unix.EACCES):
		return fmt.Errorf("cannot open the %s %s: %w; give another directory with --dir", what, path, reason(err))
	}
	return fmt.Errorf("cannot open the %s %s: %w", what, path, reason(err))
}

// flockNow takes an exclusive flock on f; errBusy when another has it.
func flockNow(f *os.File) error {
	if without.runLock {
		return nil
	}
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch err {
		case nil:
			return nil
		case unix.EINTR:
		case unix.EWOULDBLOCK:
			return errBusy
		default:
			return err
		}
	}
}
