package worker

import (
	"fmt"
	"io"
	"net"
	"os"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// childListen shows what was handed over, and greets one client on each
// listener.
func childListen() error {
	listeners, err := Listeners()
	if err != nil {
		return err
	}
	files, err := Files()
	if err != nil {
		return err
	}
	for _, l := range listeners {
		fmt.Println("listener", l.Name, l.Addr().Network())
	}
	for _, f := range files {
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		fmt.Println("file", f.Name(), flags&unix.FD_CLOEXEC != 0, err)
	}
	env := os.Environ()
	sort.Strings(env)
	for _, e := range env {
		if strings.HasPrefix(e, "LISTEN_") {
			fmt.Println("left behind", e)
		}
	}
	for _, l := range listeners {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		io.WriteString(conn, l.Name)
		conn.Close()
	}
	for _, name := range []string{"admin", "", "", "none"} {
		l, err := Listen(name, "tcp", "127.0.0.1:0")
		fmt.Println("listen", l != nil, err)
	}
	return nil
}

// listenerFile opens a listening socket the way a supervisor has to: the
// duplicate stays non-blocking in the process that inherits it.
func listenerFile(t testing.TB, network, address string) (addr net.Addr, f *os.File) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		dup, err2 := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		if err = err2; err == nil {
			f = os.NewFile(uintptr(dup), network)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return l.Addr(), f
}

func TestListeners(t *testing.T) {
	web, webFile := listenerFile(t, "tcp", "127.0.0.1:0")
	admin, adminFile := listenerFile(t, "unix", t.TempDir()+"/s")
	_, streamFile := socketpair(t)
	regular, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	defer regular.Close()
	c := start(t, "listen", []string{"LISTEN_PID=$$", "LISTEN_FDS=4", "LISTEN_FDNAMES=web:stored::admin"},
		webFile, streamFile, regular, adminFile)
	c.expect("listener web tcp")
	c.expect("listener admin unix")
	c.expect("file stored true <nil>")
	c.expect("file unknown true <nil>")
	for i, addr := range []net.Addr{web, admin} {
		conn, err := net.Dial(addr.Network(), addr.String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(patience))
		if b, err := io.ReadAll(conn); err != nil || string(b) != []string{"web", "admin"}[i] {
			t.Errorf("%v greets with %q, %v", addr, b, err)
		}
		conn.Close()
	}
	c.expect("listen true <nil>")
	c.expect("listen true <nil>")
	for _, name := range []string{"", "none"} {
		c.expect(fmt.Sprintf("listen false cannot find an unused listening socket %q: the supervisor opened web, admin",
			name))
	}
	c.expect("")
}

func TestNoListeners(t *testing.T) {
	for name, env := range map[string][]string{
		"none":               nil,
		"for another":        {"LISTEN_FDS=1", "LISTEN_PID=1"},
		"without LISTEN_PID": {"LISTEN_FDS=1"},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t, "listen", env)
			for _, e := range env {
				c.expect("left behind " + e) // for another process
			}
			for range 4 {
				c.expect("listen true <nil>") // opened here
			}
			c.expect("")
		})
	}
}

func TestBadListeners(t *testing.T) {
	for count, want := range map[string]string{
		"x":  `cannot understand LISTEN_FDS="x": not a number of descriptors`,
		"-1": `cannot understand LISTEN_FDS="-1": not a number of descriptors`,
		"90": "cannot take over descriptor 3 (unknown) of LISTEN_FDS=90: it wasn't inherited (was it closed on the " +
			"way here?)",
	} {
		c := start(t, "listen", []string{"LISTEN_PID=$$", "LISTEN_FDS=" + count})
		c.expect("error: " + want)
	}
}
