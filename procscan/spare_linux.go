package procscan

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// spare has the descriptor that [Reserve] keeps back; 0 while it is lost.
var spare struct {
	sync.Mutex
	reserved bool
	fd       int
}

// Reserve keeps a descriptor back, with which this process reads the process table when
// it has no other left (RLIMIT_NOFILE, getrlimit(2)). A supervisor that can't look at
// all would take what still lives for ended.
func Reserve() {
	spare.Lock()
	defer spare.Unlock()
	spare.reserved = true
	takeSpare()
}

// takeSpare takes the spare descriptor; another thread may have taken the last one.
func takeSpare() {
	if fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0); err == nil {
		spare.fd = fd
	}
}

// reading calls read, and calls it again with the spare descriptor if none was left. read
// has one descriptor open at a time.
func reading(read func() error) error {
	err := read()
	if !isShort(err) {
		return err
	}
	spare.Lock()
	defer spare.Unlock()
	if !spare.reserved {
		return err
	}
	if spare.fd != 0 {
		_ = unix.Close(spare.fd)
		spare.fd = 0
	}
	defer takeSpare()
	return read()
}

// isShort reports whether this process, or the machine, has no descriptor left.
func isShort(err error) bool { return errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) }

// shortError says that the process table can't be read for lack of descriptors.
type shortError struct{ err error }

func (e *shortError) Error() string {
	return "cannot read the process table: " + e.err.Error() + "; raise the limit (ulimit -n)"
}

func (e *shortError) Unwrap() error { return e.err }

// open has use read the open file.
func open(path string, use func(fd int) error) error {
	return reading(func() error {
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return use(fd)
	})
}

func readDir(path string) (entries []os.DirEntry, err error) {
	err = reading(func() (err error) {
		entries, err = os.ReadDir(path)
		return err
	})
	return entries, err
}

func readFile(path string) (text []byte, err error) {
	err = reading(func() (err error) {
		text, err = os.ReadFile(path)
		return err
	})
	return text, err
}
