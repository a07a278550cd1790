package sdnotify

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The variables of the protocol (sd_notify(3), sd_watchdog_enabled(3)).
const (
	EnvSocket       = "NOTIFY_SOCKET"
	EnvWatchdogUSec = "WATCHDOG_USEC"
	EnvWatchdogPID  = "WATCHDOG_PID"
)

// sendTimeout is how long a message waits for room at the receiver. A manager
// that reads nothing for longer must not delay lifeline further.
const sendTimeout = time.Second

// Client tells the service manager above about this process. The methods of the zero
// Client do nothing and return nil.
type Client struct {
	// Addr is the address of the receiver: an absolute path, or "@" and an
	// abstract name (Linux only).
	Addr string
	// WatchdogPeriod is the time within which the manager wants a heartbeat,
	// 0 for never. Send one at half of it (sd_watchdog_enabled(3)).
	WatchdogPeriod time.Duration
	// Timeout is how long one message may wait for room at the receiver: 0 for
	// one second, negative to give up at once.
	Timeout time.Duration
}

// FromEnviron makes a Client from NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. It
// ignores a watchdog that WATCHDOG_PID gives to another process. The error names a
// variable that makes no sense; the Client works without that variable.
func FromEnviron() (Client, error) {
	c := Client{Addr: os.Getenv(EnvSocket)}
	var errs []error
	if c.Addr != "" {
		if err := checkAddr(c.Addr); err != nil {
			errs = append(errs, err)
			c.Addr = ""
		}
	}
	if s := os.Getenv(EnvWatchdogUSec); s != "" {
		period, ok := usec(s)
		if pid := os.Getenv(EnvWatchdogPID); pid != "" && pid != strconv.Itoa(os.Getpid()) {
			period, ok = 0, true
		} else if period == 0 {
			ok = false
		}
		if !ok {
			period = 0
			errs = append(errs, fmt.Errorf("cannot use %s=%q: it must be a positive number of microseconds",
				EnvWatchdogUSec, s))
		}
		c.WatchdogPeriod = period
	}
	return c, errors.Join(errs...)
}

// Environ returns env for a worker. It removes the protocol's variables, and adds
// NOTIFY_SOCKET unless addr is empty, and WATCHDOG_USEC if watchdog is positive. It
// leaves WATCHDOG_PID out, so that a worker behind a shell also finds its
// watchdog: without it sd_watchdog_enabled(3) applies to each reader.
func Environ(env []string, addr string, watchdog time.Duration) []string {
	out := slices.DeleteFunc(slices.Clone(env), func(s string) bool {
		name, _, _ := strings.Cut(s, "=")
		return name == EnvSocket || name == EnvWatchdogUSec || name == EnvWatchdogPID
	})
	if addr != "" {
		out = append(out, EnvSocket+"="+addr)
	}
	if watchdog > 0 {
		out = append(out, EnvWatchdogUSec+"="+strconv.FormatInt(watchdog.Microseconds(), 10))
	}
	return out
}

// Send sends state, newline-separated assignments as in sd_notify(3), with descriptors
// that stay the caller's.
func (c Client) Send(state string, fds ...int) error {
	if c.Addr == "" {
		return nil
	}
	err := checkAddr(c.Addr)
	if err == nil && len(state) > MaxMessage {
		err = fmt.Errorf("cannot notify %s: the message is longer than %d bytes, which receivers "+
			"drop; send less at once",
			c.Addr, MaxMessage)
	}
	if err == nil && len(fds) > MaxFds {
		err = fmt.Errorf("cannot notify %s: %d descriptors are more than the %d one message carries; send several",
			c.Addr,
			len(fds), MaxFds)
	}
	if err != nil {
		return err
	}
	if err := c.send(state, fds); err != nil {
		return fmt.Errorf("cannot notify %s: %w", c.Addr, err)
	}
	return nil
}

func (c Client) send(state string, fds []int) error {
	fd, err := newSocket()
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	// poll tells when the peer has room again only on a connected socket.
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: c.Addr}); err != nil {
		return fmt.Errorf("%w; no process listens there for this user", err)
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	wait := c.Timeout
	if wait == 0 {
		wait = sendTimeout
	}
	deadline := time.Now().Add(wait)
	for {
		err := unix.Sendmsg(fd, []byte(state), oob, nil, 0)
		switch err {
		case unix.EINTR:
			continue
		case unix.EAGAIN, unix.ENOBUFS: // the BSDs say ENOBUFS for a full peer
		default:
			return err
		}
		left := time.Until(deadline)
		if left <= 0 {
			return errors.New("the receiver has no room for another message; it seems to hang")
		}
		// At most 100 ms: outside Linux poll does not tell that a peer has room again.
		ms := min(int(left/time.Millisecond)+1, 100)
		if _, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, ms); err != nil &&
			err != unix.EINTR {
			return err
		}
	}
}

// checkAddr accepts the addresses of sd_notify(3) except AF_VSOCK, which reaches out of a
// virtual machine.
func checkAddr(addr string) error {
	switch {
	case strings.HasPrefix(addr, "/"):
		return nil
	case len(addr) > 1 && addr[0] == '@':
		return checkAbstract(addr)
	case strings.HasPrefix(addr, "vsock"):
		return fmt.Errorf("cannot use the notify address %s: vsock is not supported; use a path", addr)
	}
	return fmt.Errorf("cannot use the notify address %q: it must be an absolute path, or @ and a name", addr)
}

// Ready says that the start or a reload is over.
func (c Client) Ready() error { return c.Send("READY=1") }

// Stopping says that the end has begun.
func (c Client) Stopping() error { return c.Send("STOPPING=1") }

// Status sends one line for people. It replaces line breaks by spaces and cuts the line
// to what one message holds.
func (c Client) Status(text string) error {
	line := strings.Map(func(r rune) rune {
		if r == '\n' || r == '\r' || r == 0 {
			return ' '
		}
		return r
	}, text)
	return c.Send("STATUS=" + line[:cut(line, MaxMessage-len("STATUS="))])
}

// cut returns the largest length within limit that splits no UTF-8 character.
func cut(s string, limit int) int {
	if len(s) <= limit {
		return len(s)
	}
	for limit > 0 && s[limit]&0xC0 == 0x80 {
		limit--
	}
	return limit
}

// MainPID names the process that the manager is to watch.
func (c Client) MainPID(pid int) error { return c.Send("MAINPID=" + strconv.Itoa(pid)) }

// Watchdog sends the heartbeat.
func (c Client) Watchdog() error { return c.Send("WATCHDOG=1") }
