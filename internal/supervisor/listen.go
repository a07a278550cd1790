package supervisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"os/user"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket is the value of one --listen: [NAME=]tcp://HOST:PORT, [NAME=]udp://HOST:PORT,
// [NAME=]unix:///PATH or [NAME=]unix://@ABSTRACT, with settings behind a ?.
type Socket struct {
	Name             string // its name in LISTEN_FDNAMES
	Network, Address string
	Mode             os.FileMode // of a unix socket; 0 leaves it to the umask
	Owner            string
	Nonblock         bool // O_NONBLOCK is set, for programs that need it
	Backlog          int  // of listen(2); 0 for the system's largest
	ReusePort        bool // SO_REUSEPORT (socket(7))
}

// ParseSocket reads the value of --listen.
func ParseSocket(s string) (Socket, error) {
	bad := func(format string, args ...any) (Socket, error) {
		return Socket{}, fmt.Errorf(format+"; it is tcp://127.0.0.1:8080 or "+
			"unix:///run/x.sock?mode=0660&owner=USER:GROUP, with NAME= before it if you like", args...)
	}
	socket := Socket{Name: "listen"}
	if scheme, _, _ := strings.Cut(s, "://"); strings.Contains(scheme, "=") {
		socket.Name, s, _ = strings.Cut(s, "=")
	}
	if socket.Name == "" || len(socket.Name) > 255 || strings.ContainsFunc(socket.Name,
		func(r rune) bool { return r <= ' ' || r > '~' || r == ':' }) {
		return bad("%q is no name for a socket", socket.Name) // sd_listen_fds_with_names(3)
	}
	rest, abstract := strings.CutPrefix(s, "unix://@")
	if abstract {
		s = "unix:///" + rest
	}
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Fragment != "" {
		return bad("not an address")
	}
	switch u.Scheme {
	case "tcp", "tcp4", "tcp6", "udp", "udp4", "udp6":
		if _, _, err := net.SplitHostPort(u.Host); err != nil || u.Path != "" || u.Port() == "" {
			return bad("not HOST:PORT")
		}
		if n, err := strconv.Atoi(u.Port()); err != nil || n < 1 || n > 65535 {
			return bad("port %s isn't from 1 to 65535", u.Port())
		}
		socket.Network, socket.Address = u.Scheme, u.Host
	case "unix":
		socket.Network, socket.Address = "unix", u.Path
		switch {
		case abstract && (u.Path == "/" || runtime.GOOS != "linux"):
			return bad("an abstract socket has a name, and only Linux has such sockets")
		case abstract:
			socket.Address = "@" + u.Path[1:]
		case u.Host != "" || !strings.HasPrefix(u.Path, "/"):
			return bad("the path of a unix socket begins with /")
		}
		if len(u.Path) > 107 {
			return bad("the path has %d characters, a unix socket's at most 107", len(u.Path))
		}
	default:
		return bad("%q is not tcp or unix", u.Scheme)
	}
	settings, err := url.ParseQuery(u.RawQuery)
	if err != nil { // such as a ";": refuse rather than ignore
		return bad("%q can't be understood", u.RawQuery)
	}
	for key, values := range settings {
		if strings.EqualFold(key, "accept") {
			return Socket{}, errors.New("lifeline hands over the socket that listens, and accepts nothing itself " +
				"(Accept=yes); for a COMMAND that serves one connection on its standard input, leave out --listen " +
				"and run systemd-socket-activate --accept --inetd -l PORT COMMAND")
		}
		if len(values) > 1 {
			return bad("%s is given twice", key)
		}
		if why := socket.set(key, values[0]); why != "" {
			return bad("%s", why)
		}
	}
	return socket, nil
}

// set applies one setting; why says what is wrong with the setting.
func (s *Socket) set(key, value string) (why string) {
	file, inet := s.Network == "unix" && s.Address[0] != '@', s.Network != "unix"
	switch {
	case key == "mode" && file:
		n, err := strconv.ParseUint(value, 8, 16)
		if err != nil || n == 0 || n > 0o777 {
			return fmt.Sprintf("mode %q isn't octal", value)
		}
		s.Mode = os.FileMode(n)
	case key == "owner" && file:
		s.Owner = value
	case key == "nonblock":
		s.Nonblock = value == "" || value == "1"
		if !s.Nonblock && value != "0" {
			return fmt.Sprintf("nonblock %q is neither 0 nor 1", value)
		}
	case key == "backlog" && !s.datagrams():
		n, err := strconv.Atoi(value)
		if err != nil || n < 1 {
			return fmt.Sprintf("backlog %q isn't a number of at least 1", value)
		}
		s.Backlog = n
	case key == "reuseport" && inet:
		s.ReusePort = value == "" || value == "1"
		if !s.ReusePort && value != "0" {
			return fmt.Sprintf("reuseport %q is neither 0 nor 1", value)
		}
	case key == "mode", key == "owner", key == "backlog", key == "reuseport":
		return fmt.Sprintf("%s has no effect on %s", key, s)
	default:
		return fmt.Sprintf("there is no setting %q", key)
	}
	return ""
}

// datagrams reports whether the socket receives messages and accepts no connections.
func (s *Socket) datagrams() bool { return strings.HasPrefix(s.Network, "udp") }

func (s *Socket) String() string { return s.Network + "://" + s.Address }

// Sockets holds the values of all --listen.
type Sockets []Socket

// Set adds a socket.
func (s *Sockets) Set(text string) error {
	socket, err := ParseSocket(text)
	if err == nil {
		*s = append(*s, socket)
	}
	return err
}

func (s *Sockets) String() string { return "" }

// sockets holds the open sockets. They live as long as lifeline, so connections wait in
// the backlog while a worker restarts.
type sockets struct {
	list      []openSocket
	removed   <-chan struct{} // rings when a socket's file may have gone; nil for never
	stopWatch func()
}

type openSocket struct {
	Socket
	fd     int
	file   os.FileInfo // of a unix socket: the file that lifeline made
	missed bool        // a message has said that the file can't be put back
}

// open opens the sockets of want that aren't open or whose file has gone. When no
// generation uses the sockets (unused), open resets O_NONBLOCK, which all descriptors of
// a socket share and which a worker may have changed.
func (s *sockets) open(want []Socket, unused bool, warn func(string, ...any)) error {
	fresh := false
	defer func() {
		if fresh {
			s.watch()
		}
	}()
	for i := range want {
		if i == len(s.list) {
			o, err := want[i].open()
			if err != nil {
				return err
			}
			s.list, fresh = append(s.list, o), true
			continue
		}
		o := &s.list[i]
		if o.lost() && o.putBack() != nil {
			if again, err := want[i].open(); err != nil {
				warn("cannot put the socket back: %v", err)
			} else {
				_ = unix.Close(o.fd) // a living worker has its own descriptor
				*o, fresh = again, true
			}
		}
		if unused {
			_ = unix.SetNonblock(o.fd, o.Nonblock)
		}
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
		if st, statErr := os.Lstat(s.Address); s.Network == "unix" && statErr == nil &&
			st.Mode().Type() != os.ModeSocket {
			next = "; what is at that path isn't a socket: take it away, or use another path"
		} else if errors.Is(err, unix.EADDRINUSE) {
			next = "; another program listens there, find it with ss -ltnp, ss -lunp or ss -lxp"
		}
		return o, fmt.Errorf("cannot listen on %s://%s: %w%s", s.Network, s.Address, err, next)
	}
	if s.Network == "unix" {
		removeStale(s.Address)
		if s.Mode != 0 { // the file has at most this mode from the beginning
			defer unix.Umask(unix.Umask(int(0o777 &^ s.Mode)))
		}
	}
	l, err := s.listen()
	if err != nil {
		return fail(err)
	}
	defer l.Close()
	if unixListener, ok := l.(*net.UnixListener); ok {
		unixListener.SetUnlinkOnClose(false)
	}
	conn, err := l.SyscallConn()
	if err != nil {
		return fail(err)
	}
	if ctlErr := conn.Control(func(fd uintptr) {
		if s.Backlog > 0 {
			if err = unix.Listen(int(fd), s.Backlog); err != nil {
				return
			}
		}
		o.fd, err = unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 10)
	}); ctlErr != nil || err != nil {
		return fail(errors.Join(ctlErr, err))
	}
	// Blocking by default, as systemd and start_server do: programs in Python, Perl
	// and C expect accept(2) to wait.
	_ = unix.SetNonblock(o.fd, s.Nonblock)
	if o.hasFile() {
		if err := s.chown(); err != nil {
			_, _ = os.Remove(s.Address), unix.Close(o.fd)
			return fail(err)
		}
		o.made()
	}
	return o, nil
}

// listen makes the socket with the standard library.
func (s Socket) listen() (interface {
	io.Closer
	syscall.Conn
}, error) {
	var config net.ListenConfig
	if s.ReusePort {
		config.Control = func(_, _ string, conn syscall.RawConn) (err error) {
			ctlErr := conn.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
			})
			return errors.Join(ctlErr, err)
		}
	}
	if s.datagrams() {
		conn, err := config.ListenPacket(context.Background(), s.Network, s.Address)
		if err != nil {
			return nil, err
		}
		return conn.(*net.UDPConn), nil
	}
	l, err := config.Listen(context.Background(), s.Network, s.Address)
	if err != nil {
		return nil, err
	}
	if tcp, ok := l.(*net.TCPListener); ok {
		return tcp, nil
	}
	return l.(*net.UnixListener), nil
}

// chown sets the mode and the owner of the socket file.
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
		if n, numErr := strconv.ParseUint(name, 10, 31); err != nil && numErr == nil {
			uid = int(n) // as chown(1): a number needs no account
		} else if err != nil {
			return err
		} else {
			uid, _ = strconv.Atoi(u.Uid)
		}
	}
	if group != "" {
		g, err := user.LookupGroup(group)
		if n, numErr := strconv.ParseUint(group, 10, 31); err != nil && numErr == nil {
			gid = int(n)
		} else if err != nil {
			return err
		} else {
			gid, _ = strconv.Atoi(g.Gid)
		}
	}
	return os.Chown(s.Address, uid, gid)
}

// removeStale removes a socket file on which no process listens, because its lifeline
// was killed. A socket that answers stays, and listening on it fails.
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

// serverStarter returns SERVER_STARTER_PORT=ADDRESS=DESCRIPTOR;…, in which programs made
// for start_server find their sockets (Server::Starter).
func (s *sockets) serverStarter() []string {
	var ports []string
	for i, o := range s.list {
		if o.Address[0] != '@' {
			ports = append(ports, fmt.Sprintf("%s=%d", strings.TrimPrefix(o.Address, ":"), 3+i))
		}
	}
	if ports == nil {
		return nil
	}
	return []string{"SERVER_STARTER_PORT=" + strings.Join(ports, ";")}
}

// close closes the sockets and removes the socket files that lifeline made.
func (s *sockets) close() {
	s.unwatch()
	for i := range s.list {
		s.list[i].forget()
		_ = unix.Close(s.list[i].fd)
	}
	s.list = nil
}
