package supervisor

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is one --listen: [NAME=]tcp://HOST:PORT or
// [NAME=]unix:///PATH[?mode=0660&owner=USER[:GROUP]].
type Socket struct {
	Name             string // its name in LISTEN_FDNAMES
	Network, Address string
	Mode             os.FileMode // of a unix socket; 0 leaves it to the umask
	Owner            string
}

// ParseSocket reads the option.
func ParseSocket(s string) (Socket, error) {
	bad := func(format string, args ...any) (Socket, error) {
		return Socket{}, fmt.Errorf(format+"; it is tcp://127.0.0.1:8080 or unix:///run/x.sock?mode=0660&owner=USER:GROUP, with NAME= before it if you like", args...)
	}
	socket := Socket{Name: "listen"}
	if scheme, _, _ := strings.Cut(s, "://"); strings.Contains(scheme, "=") {
		socket.Name, s, _ = strings.Cut(s, "=")
	}
	if socket.Name == "" || len(socket.Name) > 255 || strings.ContainsFunc(socket.Name, func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return bad("%q is no name for a socket", socket.Name) // sd_listen_fds_with_names(3)
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Fragment != "" {
		return bad("not an address")
	}
	switch u.Scheme {
	case "tcp", "tcp4", "tcp6":
		if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Path != "" || u.RawQuery != "" || u.Port() == "" {
			return bad("not HOST:PORT")
		}
		if n, err := strconv.Atoi(u.Port()); err != nil || n < 1 || n > 65535 {
			return bad("port %s isn't from 1 to 65535", u.Port())
		}
		socket.Network, socket.Address = u.Scheme, u.Host
	case "unix":
		if socket.Network, socket.Address = "unix", u.Path; u.Host != "" || !strings.HasPrefix(u.Path, "/") {
			return bad("the path of a unix socket begins with /")
		}
		if len(u.Path) > 107 {
			return bad("the path has %d characters, a unix socket's at most 107", len(u.Path))
		}
		settings, err := url.ParseQuery(u.RawQuery)
		if err != nil { // a ; in it: what can't be read must not be left out
			return bad("%q can't be understood", u.RawQuery)
		}
		for key, values := range settings {
			if len(values) > 1 {
				return bad("%s is given twice", key)
			}
			switch key {
			case "mode":
				n, err := strconv.ParseUint(values[0], 8, 16)
				if err != nil || n == 0 || n > 0o777 {
					return bad("mode %q isn't octal", values[0])
				}
				socket.Mode = os.FileMode(n)
			case "owner":
				socket.Owner = values[0]
			default:
				return bad("there is no setting %q", key)
			}
		}
	default:
		return bad("%q is not tcp or unix", u.Scheme)
	}
	return socket, nil
}

// Sockets is the flag's value.
type Sockets []Socket

// Set adds one.
func (s *Sockets) Set(text string) error {
	socket, err := ParseSocket(text)
	if err == nil {
		*s = append(*s, socket)
	}
	return err
}

func (s *Sockets) String() string { return "" }

// sockets are the open ones. They live as long as lifeline: while a worker
// restarts, connections wait in the backlog.
type sockets struct {
	list []openSocket
}

type openSocket struct {
	Socket
	fd   int
	file os.FileInfo // of a unix socket: what we made
}

// open opens them, once.
func (s *sockets) open(want []Socket) error {
	for i := len(s.list); i < len(want); i++ {
		o, err := want[i].open()
		if err != nil {
			return err
		}
		s.list = append(s.list, o)
	}
	return nil
}

func (s Socket) open() (openSocket, error) {
	o := openSocket{Socket: s}
	fail := func(err error) (openSocket, error) {
		var op *net.OpError
		if errors.As(err, &op) {
			err = op.Err
		}
		next := ""
		if st, statErr := os.Lstat(s.Address); s.Network == "unix" && statErr == nil && st.Mode().Type() != os.ModeSocket {
			next = "; what is at that path isn't a socket: take it away, or use another path"
		} else if errors.Is(err, unix.EADDRINUSE) {
			next = "; another program listens there, find it with ss -ltnp or ss -lxp"
		}
		return o, fmt.Errorf("cannot listen on %s://%s: %w%s", s.Network, s.Address, err, next)
	}
	if s.Network == "unix" {
		removeStale(s.Address)
		if s.Mode != 0 { // never more than asked for, not even for a moment
			defer unix.Umask(unix.Umask(int(0o777 &^ s.Mode)))
		}
	}
	l, err := new(net.ListenConfig).Listen(context.Background(), s.Network, s.Address)
	if err != nil {
		return fail(err)
	}
	defer l.Close()
	if unixListener, ok := l.(*net.UnixListener); ok {
		unixListener.SetUnlinkOnClose(false)
	}
	conn, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		return fail(err)
	}
	// A duplicate by number: os.File would set the shared description to
	// blocking, and an old worker would hang in accept.
	if ctlErr := conn.Control(func(fd uintptr) { o.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 10) }); ctlErr != nil || err != nil {
		return fail(errors.Join(ctlErr, err))
	}
	if s.Network == "unix" {
		if err := s.chown(); err != nil {
			_, _ = os.Remove(s.Address), unix.Close(o.fd)
			return fail(err)
		}
		o.file, _ = os.Lstat(s.Address)
	}
	return o, nil
}

// chown gives the socket file to its owner.
func (s Socket) chown() error {
	if s.Mode != 0 {
		if err := os.Chmod(s.Address, s.Mode); err != nil {
			return err
		}
	}
	if s.Owner == "" {
		return nil
	}
	name, group, _ := strings.Cut(s.Owner, ":")
	uid, gid := -1, -1
	if name != "" {
		u, err := user.Lookup(name)
		if err != nil {
			return err
		}
		uid, _ = strconv.Atoi(u.Uid)
	}
	if group != "" {
		g, err := user.LookupGroup(group)
		if err != nil {
			return err
		}
		gid, _ = strconv.Atoi(g.Gid)
	}
	return os.Chown(s.Address, uid, gid)
}

// removeStale takes away a socket file that nobody listens at: its lifeline was
// killed. One that answers is left, and listening on it fails.
func removeStale(path string) {
	st, err := os.Lstat(path)
	if err != nil || st.Mode().Type() != os.ModeSocket {
		return
	}
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		_ = os.Remove(path)
	}
}

func (s *sockets) fds() []int {
	var fds []int
	for _, o := range s.list {
		fds = append(fds, o.fd)
	}
	return fds
}

func (s *sockets) names() []string {
	var names []string
	for _, o := range s.list {
		names = append(names, o.Name)
	}
	return names
}

// close lets go of them, and takes away the socket files that are still ours.
func (s *sockets) close() {
	for _, o := range s.list {
		if now, err := os.Lstat(o.Address); o.file != nil && err == nil && os.SameFile(o.file, now) {
			_ = os.Remove(o.Address)
		}
		_ = unix.Close(o.fd)
	}
	s.list = nil
}
