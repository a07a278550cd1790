package supervisor

import (
	"bytes"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// lineSocket is lifeline's end of LIFELINE_FD, which has the protocol of App::Base: one
// word a line. The answer to ping is pong, and to takeover ok. shutdown asks lifeline
// to end, too. The end of file tells the worker that lifeline is gone.
type lineSocket struct {
	f *os.File

	mu   sync.Mutex // shared by the reading goroutine and the loop
	rest []byte     // read and not yet handled
}

const lineMax = 1024 // unhandled bytes at most: far longer than any word

// openLine makes the pair of sockets; theirs is the worker's end.
func (w *worker) openLine() (theirs int, err error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, fmt.Errorf("cannot make a socket for the worker: %w", err)
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	if err := w.takeLine(pair[0], nil); err != nil {
		_ = unix.Close(pair[1])
		return 0, err
	}
	return pair[1], nil
}

// takeLine begins to listen on fd, lifeline's end; rest was read and not yet handled.
func (w *worker) takeLine(fd int, rest []byte) error {
	if err := unix.SetNonblock(fd, true); err != nil {
		return fmt.Errorf("cannot make a socket for the worker: %w", err)
	}
	s := &lineSocket{f: os.NewFile(uintptr(fd), "LIFELINE_FD"), rest: rest}
	conn, err := s.f.SyscallConn()
	if err != nil {
		return fmt.Errorf("cannot make a socket for the worker: %w", err)
	}
	w.line = s
	go func() { // waits with the runtime's poller: no thread
		for open := true; open; {
			err := conn.Read(func(fd uintptr) bool {
				var some bool
				some, open = s.read(int(fd))
				return some || !open
			})
			if err != nil {
				return
			}
			w.l.post(func() {
				if w.line == s {
					w.onLine()
				}
			})
		}
	}()
	return nil
}

// read appends what has come in to rest. The mutex keeps the bytes in order, because
// both the loop and the goroutine read.
func (s *lineSocket) read(fd int) (some, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var buf [256]byte
	for {
		n, err := unix.Read(fd, buf[:])
		switch {
		case n > 0:
			some = true
			if s.rest = append(s.rest, buf[:n]...); len(s.rest) > lineMax {
				s.rest = nil // not the protocol
			}
		case err == unix.EINTR:
		case err == unix.EAGAIN:
			return some, true
		default:
			return some, false
		}
	}
}

// words returns the finished lines. It reads once more first, because the last word of
// a worker that has ended may have just come in.
func (s *lineSocket) words() []string {
	if conn, err := s.f.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) { s.read(int(fd)) })
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var words []string
	for {
		word, rest, ok := bytes.Cut(s.rest, []byte("\n"))
		if !ok {
			return words
		}
		words = append(words, string(bytes.TrimSpace(word)))
		s.rest = rest
	}
}

// onLine handles all words that the worker has said on LIFELINE_FD up to now.
func (w *worker) onLine() {
	for _, word := range w.line.words() {
		w.onWord(word)
	}
}

func (s *lineSocket) say(word string) {
	// The write never blocks, because lifeline's end is non-blocking. A worker that
	// doesn't read its answers loses them.
	conn, err := s.f.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) { _, _ = unix.Write(int(fd), []byte(word+"\n")) })
}

func (s *lineSocket) close() { _ = s.f.Close() }

// onWord handles one word from LIFELINE_FD.
func (w *worker) onWord(word string) {
	if w.state == gone || w.line == nil {
		return
	}
	switch word {
	case "ping":
		w.line.say("pong")
	case "takeover":
		w.onTakeover()
	case "shutdown":
		w.l.endAll()
		w.stop(w.l.o.stopSignal())
	case "":
	default:
		w.l.job.Warn("the worker said %q on LIFELINE_FD, which can't be understood", word)
	}
}
