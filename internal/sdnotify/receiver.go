package sdnotify

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Options says which senders a Receiver trusts.
type Options struct {
	// Member reports whether a process belongs to the worker. The reader goroutine or
	// Drain, but never both at once, calls Member when a message is read, because the
	// sender may end right after. Member must not call the Receiver. It should return
	// true for the caller's own children until their end is handled, because their last
	// messages may be read after they have ended.
	//
	// nil trusts every process of this user and of root.
	Member func(pid int) bool
}

// Dropped counts the messages that were not delivered, by reason.
type Dropped struct {
	Forged    uint64 // the sender isn't part of the worker
	Gone      uint64 // the sender had exited before it could be checked
	Truncated uint64 // too long, or too many descriptors
	Malformed uint64 // not text, or a BARRIER=1 against its rules
}

// Receiver is the listening end of a NOTIFY_SOCKET. Its methods may be called
// from any goroutine.
type Receiver struct {
	addr   string
	member func(int) bool
	path   fs.FileInfo // the socket file as it was bound, nil when abstract
	file   *os.File
	conn   sysConn
	ready  chan struct{}
	ending atomic.Bool
	done   chan struct{} // closed when the reader goroutine has ended

	// mu makes reading, checking and queueing one step, so that messages keep their
	// order under both readers: the reader goroutine and Drain.
	mu       sync.Mutex
	buf      []byte
	oob      []byte
	queue    []Message
	fds      int // descriptors in queue
	dropped  Dropped
	warnings []string
	warned   map[string]bool
}

// sysConn is the part of syscall.RawConn used here.
type sysConn interface {
	Control(func(fd uintptr)) error
	Read(func(fd uintptr) bool) error
}

// Listen makes a notify socket at path and starts to read it. It replaces a socket left
// there by an earlier run; any other file is an error. The socket gets mode 0666,
// because a worker may have changed its user. The directory's mode decides which
// processes reach the socket, and Options.Member which of them are trusted.
//
// Linux replaces a path longer than a socket address (107 bytes, unix(7)) by a random
// abstract address, which Addr returns. Elsewhere such a path is an error. No directory
// protects an abstract address: any process in the same network namespace can send to
// it. A worker in another network namespace can't reach it.
func Listen(path string, opts Options) (*Receiver, error) {
	addr, err := bindAddr(path)
	if err != nil {
		return nil, err
	}
	fd, err := newSocket()
	if err != nil {
		return nil, fmt.Errorf("cannot make a notify socket: %w", err)
	}
	if err := bind(fd, addr); err != nil {
		_ = unix.Close(fd)
		return nil, err
	}
	return receive(fd, addr, opts)
}

func bind(fd int, addr string) error {
	if addr[0] != '@' {
		switch info, err := os.Lstat(addr); {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return fmt.Errorf("cannot look at the notify socket: %w", err)
		case info.Mode().Type() != fs.ModeSocket:
			return fmt.Errorf("cannot make the notify socket %s: another kind of file is there; move it away", addr)
		default:
			if err := os.Remove(addr); err != nil {
				return fmt.Errorf("cannot remove the old notify socket: %w", err)
			}
		}
	}
	if err := enableCredentials(fd); err != nil {
		return fmt.Errorf("cannot ask for the senders of notify messages: %w", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: addr}); err != nil {
		return fmt.Errorf("cannot make the notify socket %s: %w; see that its directory exists and is writable", addr,
			err)
	}
	if addr[0] != '@' {
		if err := os.Chmod(addr, 0o666); err != nil {
			_ = os.Remove(addr)
			return fmt.Errorf("cannot open the notify socket to the worker: %w", err)
		}
	}
	return nil
}

// Adopt goes on with a notify socket that Detach has left, after execve. The descriptor
// belongs to the Receiver from then on; a failed Adopt closes it.
func Adopt(fd int, opts Options) (*Receiver, error) {
	addr, err := adoptable(fd)
	if err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("cannot go on with descriptor %d as the notify socket: %w", fd, err)
	}
	return receive(fd, addr, opts)
}

func adoptable(fd int) (string, error) {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return "", err
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return "", err
	}
	un, ok := sa.(*unix.SockaddrUnix)
	if !ok || kind != unix.SOCK_DGRAM || un.Name == "" {
		return "", errors.New("it is not a bound unix datagram socket; start afresh with Listen")
	}
	unix.CloseOnExec(fd)
	if err := unix.SetNonblock(fd, true); err != nil {
		return "", err
	}
	return un.Name, enableCredentials(fd)
}

func receive(fd int, addr string, opts Options) (*Receiver, error) {
	r := &Receiver{
		addr:   addr,
		member: opts.Member,
		file:   os.NewFile(uintptr(fd), addr), // non-blocking: the runtime's poller waits, not a thread
		ready:  make(chan struct{}, 1),
		done:   make(chan struct{}),
		buf:    make([]byte, MaxMessage),
		oob:    make([]byte, oobSize),
	}
	if addr[0] != '@' {
		r.path, _ = os.Lstat(addr) // on error Close has no file to remove
	}
	conn, err := r.file.SyscallConn()
	if err != nil {
		r.file.Close()
		return nil, fmt.Errorf("cannot wait for notify messages: %w", err)
	}
	r.conn = conn
	go r.read()
	return r, nil
}

// Addr returns the worker's NOTIFY_SOCKET.
func (r *Receiver) Addr() string { return r.addr }

// C returns a channel that gets a value when Drain or Warnings may have something to
// return. A value may be stale. The channel is never closed.
func (r *Receiver) C() <-chan struct{} { return r.ready }

func (r *Receiver) signal() {
	select {
	case r.ready <- struct{}{}:
	default: // the channel has a value already
	}
}

func (r *Receiver) read() {
	defer close(r.done)
	// Read calls the function whenever messages come, until the file is closed. Under a
	// flood, ending stops the function itself.
	_ = r.conn.Read(func(fd uintptr) bool {
		for {
			r.mu.Lock()
			drained := r.pump(int(fd), maxQueued)
			full := r.full()
			news := len(r.queue)+len(r.warnings) > 0
			r.mu.Unlock()
			if news {
				r.signal()
			}
			if r.ending.Load() {
				return true
			}
			// The poller tells of new messages only. Drain reads the rest after a full
			// queue.
			if drained || full {
				return false
			}
		}
	})
}

// Drain returns all messages that were sent before the call and not returned yet, in the
// order sent. Call it before you handle the end of the worker or let a watchdog expire.
// Close each message when done with it.
//
// Under a flood Drain returns at most 4,096 datagrams or a few hundred descriptors, and
// C announces the rest.
func (r *Receiver) Drain() []Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Message
	drained := false
	err := r.conn.Control(func(fd uintptr) {
		for read := 0; read < maxDrained && !drained; read += maxQueued {
			drained = r.pump(int(fd), maxQueued)
			fds := r.fds
			out = append(out, r.take()...)
			if fds >= maxQueuedFds {
				break
			}
		}
	})
	if err != nil { // closed: return the messages that were read before
		return append(out, r.take()...)
	}
	if !drained {
		r.signal()
	}
	return out
}

// Warnings returns the new reasons for dropped messages: one line for each kind, the
// first time it happens. Dropped has the numbers.
func (r *Receiver) Warnings() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	w := r.warnings
	r.warnings = nil
	return w
}

// Dropped returns the numbers of dropped messages so far, by reason.
func (r *Receiver) Dropped() Dropped {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.dropped
}

// Detach ends the reading and returns the socket, for a process that is about to execve.
// fd, which Adopt takes, is close-on-exec until the caller clears that flag. rest has
// the messages of the queue; unread messages stay in the socket. The socket file stays.
func (r *Receiver) Detach() (fd int, rest []Message, err error) {
	var dupErr error
	if err := r.conn.Control(func(old uintptr) {
		fd, dupErr = unix.FcntlInt(old, unix.F_DUPFD_CLOEXEC, 3)
	}); err != nil {
		return -1, nil, fmt.Errorf("cannot hand over the notify socket: %w", err)
	}
	if dupErr != nil {
		return -1, nil, fmt.Errorf("cannot hand over the notify socket: %w; raise the limit of open files", dupErr)
	}
	r.stop()
	r.mu.Lock()
	defer r.mu.Unlock()
	return fd, r.take(), nil
}

func (r *Receiver) stop() {
	r.ending.Store(true)
	_ = r.file.Close() // ends the Read of the reader goroutine
	<-r.done
}

// Close ends the reading, closes the queued messages and removes the socket file, unless
// another file has taken its place.
func (r *Receiver) Close() error {
	r.stop()
	r.mu.Lock()
	for _, m := range r.take() {
		m.Close()
	}
	r.mu.Unlock()
	if r.path == nil {
		return nil
	}
	now, err := os.Lstat(r.addr)
	if err != nil || !os.SameFile(now, r.path) {
		return nil // gone, or another's
	}
	if err := os.Remove(r.addr); err != nil {
		return fmt.Errorf("cannot remove the notify socket: %w", err)
	}
	return nil
}
