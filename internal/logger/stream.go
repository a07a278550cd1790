package logger

import (
	"errors"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/logger/output"
)

// chunk is the most that one read takes, and so the most that is lost when the logger is
// killed.
const chunk = 64 << 10

// stream is one pipe that the worker writes into.
type stream struct {
	f    *os.File
	conn syscall.RawConn
	dev  uint64
	ino  uint64
	to   int // 0 for standard output (and error, if there is one pipe), 1 for standard error

	mu    sync.Mutex // guards all fields below, for the reader and for drain
	sink  sink
	buf   [chunk]byte
	ended bool // the reader has seen the end of the pipe
}

// sink says where a stream's output goes.
type sink struct {
	log   *output.LogFile     // nil: none
	stamp *output.Stamper     // nil: no stamps
	sys   *output.SyslogLines // nil: none
	spool *output.Spool       // nil: not quiet
	pass  *os.File            // nil: not passed on
	tail  *tail               // nil: the last output isn't kept
}

// tail keeps the last output of both streams.
type tail struct {
	mu sync.Mutex
	output.Tail
}

func newStream(fd int) (*stream, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, err
	}
	s := &stream{f: os.NewFile(uintptr(fd), "output"), dev: uint64(st.Dev), ino: st.Ino}
	var err error
	s.conn, err = s.f.SyscallConn()
	return s, err
}

// same reports whether fd is an end of the pipe that s reads.
func (s *stream) same(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && uint64(st.Dev) == s.dev && st.Ino == s.ino
}

// read reads until the last writer has closed the pipe.
func (s *stream) read() {
	for {
		open := true
		err := s.conn.Read(func(fd uintptr) bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			var n int
			n, open = s.some(int(fd))
			return n > 0 || !open
		})
		if err != nil || !open {
			break
		}
	}
	s.mu.Lock()
	if s.sink.sys != nil {
		s.sink.sys.Flush()
	}
	s.ended = true
	s.mu.Unlock()
}

// some reads once. open is false at the end.
func (s *stream) some(fd int) (n int, open bool) {
	for {
		n, err := unix.Read(fd, s.buf[:])
		switch {
		case n > 0:
			s.take(s.buf[:n])
			return n, true
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return 0, true
		default:
			return 0, false
		}
	}
}

// drain reads what is in the pipe now. It reads a little more than two full pipes at
// most, so a worker that writes without end can't hold it up.
func (s *stream) drain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.conn.Control(func(fd uintptr) {
		for left := 2 * pipeSize; left > 0; {
			n, open := s.some(int(fd))
			if n == 0 || !open {
				return
			}
			left -= n
		}
	})
}

func (s *stream) take(p []byte) {
	k := &s.sink
	if k.tail != nil {
		k.tail.mu.Lock()
		k.tail.Write(p)
		k.tail.mu.Unlock()
	}
	if k.pass != nil {
		if _, err := k.pass.Write(p); err != nil && !errors.Is(err, unix.EAGAIN) {
			k.pass = nil // its reader has gone; without a logger the worker would get SIGPIPE
		}
	}
	if k.sys != nil {
		k.sys.Write(p)
	}
	if k.stamp != nil {
		p = k.stamp.Stamp(p, time.Now())
	}
	if k.log != nil {
		k.log.Write(p)
	}
	if k.spool != nil {
		k.spool.Write(p)
	}
}

// direct sends standard output to the syslog as information, and standard error as
// errors.
func (k *sink) direct(to *output.Syslog, stream int) {
	switch {
	case to == nil:
		k.sys = nil
		return
	case k.sys == nil:
		k.sys = new(output.SyslogLines)
	}
	k.sys.To, k.sys.Priority = to, output.SyslogInfo
	if stream == 1 {
		k.sys.Priority = output.SyslogError
	}
}

// cut returns the spool of the run that has ended, and begins another.
func (s *stream) cut() *output.Spool {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.sink.spool
	if old != nil {
		s.sink.spool = new(output.Spool)
	}
	return old
}
