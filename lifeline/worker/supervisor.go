package worker

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrSupervisorGone means that the supervisor was killed and left the worker
// running. The worker should end, and the next tick starts it again.
var ErrSupervisorGone = errors.New("the supervisor is gone")

// Supervised reports whether a lifeline supervisor started this process, that
// is, whether there was a supervisor at the other end of LIFELINE_FD. It stays
// true when the supervisor goes. Under `lifeline --exec`, where no supervisor
// stays, and under systemd it is false.
//
// LIFELINE_FD is a stream socket with the protocol of Perl's
// App::Base::Daemon::Supervisor, one word a line. The answer to "ping" is "pong",
// and to "takeover" "ok"; "shutdown" ends the worker. End of file means that the
// supervisor is gone.
//
// The first call of Supervised, [WithSupervisor], [PingSupervisor],
// [ReadyToTakeOver] or [Shutdown] removes LIFELINE_FD and makes the descriptor
// close-on-exec, so that no child answers in the worker's place. A worker whose
// shell scripts use `lifeline ping` leaves LIFELINE_FD to them and calls none of
// these functions, because two readers of one socket would steal each other's
// answers. LIFELINE_NAME, LIFELINE_ID and LIFELINE_FENCE stay.
func Supervised() bool {
	s, _ := inherited()
	return s != nil
}

// PingSupervisor asks the supervisor for a sign of life and waits for the
// answer. It returns nil outside lifeline. The error is [ErrSupervisorGone]
// when the supervisor has ended. It wraps ctx's cause when the supervisor
// didn't answer in time, because it is stopped for example: give ctx a
// deadline.
//
// [WithSupervisor] notices the supervisor's end at once, without a ping.
func PingSupervisor(ctx context.Context) error {
	s, err := inherited()
	if s == nil {
		return err
	}
	return s.ping(ctx)
}

// WithSupervisor returns a context that ends when parent does, when cancel is
// called, or when the supervisor is gone. In the last case [context.Cause] is
// [ErrSupervisorGone]. Outside lifeline it is an ordinary context.
//
// The kernel reports the supervisor's end by end of file on LIFELINE_FD. It
// does so even after SIGKILL, and even to a worker that has forked twice and
// belongs to init. When the descriptor was lost on the way to this process, the
// supervisor's end goes unnoticed; [PingSupervisor] returns that error.
func WithSupervisor(parent context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(parent)
	if s, _ := inherited(); s != nil {
		go func() {
			select {
			case <-s.gone:
				cancel(ErrSupervisorGone)
			case <-ctx.Done():
			}
		}()
	}
	return ctx, func() { cancel(nil) }
}

// ReadyToTakeOver says that this generation has prepared everything except what
// may exist only once. It returns when the previous generation is gone with all
// its processes. Then open what is exclusive, and call [Ready]. With no
// previous generation the supervisor answers at once; outside lifeline
// ReadyToTakeOver returns nil at once.
//
// It may take as long as the old generation needs to end. A generation takes
// over once: when ctx ended the wait, a further call goes on waiting, and after
// success it returns nil. The error is [ErrSupervisorGone], or wraps ctx's
// cause.
func ReadyToTakeOver(ctx context.Context) error {
	s, err := inherited()
	if s == nil {
		return err
	}
	return s.takeOver(ctx)
}

// Shutdown asks the supervisor to end this worker and not to start it again.
// It returns when the request is written; the stop signal follows. Outside
// lifeline it does nothing. A worker that is about to exit anyway can exit
// with 125 instead.
func Shutdown(ctx context.Context) error {
	s, err := inherited()
	if s == nil {
		return err
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.send("shutdown")
}

// Fence returns the fencing token of a worker that runs once in a whole
// cluster. The token is a number that rises with every grant of the name and
// never falls. Pass it to the resource, which refuses a lower token than it has
// seen. That stops a holder that was paused past its lease. ok is false when
// the worker runs without --cluster.
func Fence() (token uint64, ok bool) {
	token, err := strconv.ParseUint(os.Getenv("LIFELINE_FENCE"), 10, 64)
	return token, err == nil
}

// inherited is the conversation with the supervisor that started this process,
// nil without a supervisor. An error says that LIFELINE_FD is set and unusable.
var inherited = sync.OnceValues(func() (*supervisor, error) {
	value, ok := os.LookupEnv("LIFELINE_FD")
	if !ok || value == "" {
		return nil, nil
	}
	if err := os.Unsetenv("LIFELINE_FD"); err != nil {
		return nil, err
	}
	conn, err := takeConn(value)
	if err != nil {
		return nil, fmt.Errorf("cannot reach the supervisor by LIFELINE_FD=%s: %w", value, err)
	}
	return newSupervisor(conn), nil
})

// takeConn makes the descriptor this process's own. It checks the descriptor
// first, because a program in between may have closed the number, which may now
// belong to another file.
func takeConn(value string) (net.Conn, error) {
	fd, err := strconv.Atoi(value)
	if err != nil || fd < 3 {
		return nil, errors.New("not a descriptor's number")
	}
	if err := checkInherited(fd); err != nil {
		return nil, err
	}
	addr, _ := unix.Getsockname(fd)
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if _, local := addr.(*unix.SockaddrUnix); err != nil || !local || kind != unix.SOCK_STREAM {
		return nil, errors.New("not a unix stream socket")
	}
	f := os.NewFile(uintptr(fd), "LIFELINE_FD")
	defer f.Close()
	return net.FileConn(f) // a duplicate, close-on-exec
}

// supervisor is the conversation with the supervisor. One goroutine, receive,
// owns its reading side.
//
// At most one ping is unanswered at a time. So the socket stays below its
// limit, and write returns, while the supervisor is stopped for days.
type supervisor struct {
	conn io.ReadWriteCloser
	gone chan struct{} // closed at end of file
	turn chan struct{} // holds a token while no pong is owed
	ok   chan struct{} // closed at the answer to takeover

	mu    sync.Mutex
	pong  chan struct{} // closed when the owed pong comes; nil: none is owed
	asked bool          // takeover was sent
	done  bool          // ok was closed
}

func newSupervisor(conn io.ReadWriteCloser) *supervisor {
	s := &supervisor{
		conn: conn,
		gone: make(chan struct{}),
		turn: make(chan struct{}, 1),
		ok:   make(chan struct{}),
	}
	s.turn <- struct{}{}
	go s.receive()
	return s
}

// receive passes each answer to the request it belongs to, also when the caller
// has given up. A pong may overtake the ok of a takeover that takes long.
func (s *supervisor) receive() {
	defer close(s.gone)
	defer s.conn.Close()
	for in := bufio.NewScanner(s.conn); in.Scan(); {
		s.mu.Lock()
		switch in.Text() {
		case "pong":
			if s.pong != nil {
				close(s.pong)
				s.pong = nil
				s.turn <- struct{}{}
			}
		case "ok":
			if s.asked && !s.done {
				close(s.ok)
				s.done = true
			}
		}
		s.mu.Unlock()
	}
}

func (s *supervisor) ping(ctx context.Context) error {
	if err := s.wait(ctx, s.turn); err != nil {
		return err
	}
	pong := make(chan struct{})
	s.mu.Lock()
	s.pong = pong
	err := s.send("ping")
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.wait(ctx, pong)
}

func (s *supervisor) takeOver(ctx context.Context) error {
	var err error
	s.mu.Lock()
	if !s.asked {
		s.asked = true
		err = s.send("takeover")
	}
	s.mu.Unlock()
	if err != nil {
		return err
	}
	return s.wait(ctx, s.ok)
}

// send writes one line; mu is held.
func (s *supervisor) send(line string) error {
	if _, err := io.WriteString(s.conn, line+"\n"); err != nil {
		return fmt.Errorf("%w: cannot send %q: %w", ErrSupervisorGone, line, err)
	}
	return nil
}

// wait waits for an answer, which counts even if the supervisor went after it.
func (s *supervisor) wait(ctx context.Context, answer <-chan struct{}) error {
	select {
	case <-answer:
		return nil
	case <-s.gone:
	case <-ctx.Done():
		return fmt.Errorf("no answer from the supervisor: %w", context.Cause(ctx))
	}
	select {
	case <-answer:
		return nil
	default:
		return ErrSupervisorGone
	}
}
