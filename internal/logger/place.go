package logger

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// Place is where a name's pipes and its logger are found. The zero value means pipes
// without a path, which no later supervisor can find (lifeline run).
type Place struct {
	FIFO   string // a second FIFO has ".err" at its end
	Socket string // short, because a socket's address has at most about a hundred bytes
}

// pipe holds a supervisor's descriptors of a pipe.
type pipe struct {
	read  int // for the logger; keeps the pipe alive without a logger
	write int // for the worker
}

func (p pipe) close() {
	_ = unix.Close(p.read)
	_ = unix.Close(p.write)
}

// open opens pipe number i.
func (p Place) open(i int) (pipe, error) {
	if p.FIFO == "" {
		return anonymous()
	}
	path := p.FIFO
	if i > 0 {
		path += ".err"
	}
	return named(path)
}

func anonymous() (pipe, error) {
	var fd [2]int
	if err := unix.Pipe(fd[:]); err != nil {
		return pipe{}, fmt.Errorf("cannot make a pipe: %w", err)
	}
	unix.CloseOnExec(fd[0])
	unix.CloseOnExec(fd[1])
	grow(fd[0])
	byName(fd[1])
	return pipe{read: fd[0], write: fd[1]}, unix.SetNonblock(fd[0], true)
}

// named opens a FIFO, and makes the FIFO where none is. The worker's end is also open for
// reading: see the package documentation.
func named(path string) (pipe, error) {
	const flags = unix.O_NONBLOCK | unix.O_NOFOLLOW | unix.O_CLOEXEC
	if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
		return pipe{}, fmt.Errorf("cannot make the FIFO %s: %w", path, err)
	}
	write, err := unix.Open(path, unix.O_RDWR|flags, 0)
	if err != nil {
		return pipe{}, fmt.Errorf("cannot open the FIFO %s: %w", path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(write, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO || int(st.Uid) != os.Geteuid() {
		unix.Close(write)
		return pipe{}, fmt.Errorf("%s is not a FIFO of this user: refused; rm %s", path, path)
	}
	// The worker's end must be blocking. O_NONBLOCK belongs to the open file, so the
	// logger has another.
	read, err := unix.Open(path, unix.O_RDONLY|flags, 0)
	if err == nil {
		err = unix.SetNonblock(write, false)
	}
	if err != nil {
		unix.Close(write)
		return pipe{}, fmt.Errorf("cannot open the FIFO %s: %w", path, err)
	}
	grow(read)
	byName(write)
	return pipe{read, write}, nil
}

// byName lets a worker that runs as another user open its end as /dev/stderr, for which
// the kernel checks the pipe's mode (proc_pid_fd(5)). Other processes reach neither the
// worker's descriptors nor the state directory.
func byName(fd int) { _ = unix.Fchmod(fd, 0o622) }
