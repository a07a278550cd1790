package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestMain(m *testing.M) {
	if os.Getenv("CHILD") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// supervisor plays the part of a supervisor that the web server needs.
type supervisor struct {
	t        *testing.T
	url      string
	listener *os.File
	notify   *net.UnixConn
}

func newSupervisor(t *testing.T) *supervisor {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	// This duplicate stays non-blocking when it is passed on. A duplicate from l.File()
	// would block, and accept in an older generation would hang.
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var f *os.File
	raw.Control(func(fd uintptr) {
		dup, dupErr := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0)
		err, f = dupErr, os.NewFile(uintptr(dup), "listener")
	})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "webserver")
	if err != nil {
		t.Fatal(err)
	}
	notify, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/notify", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		l.Close()
		f.Close()
		notify.Close()
		os.RemoveAll(dir)
	})
	return &supervisor{t, "http://" + l.Addr().String(), f, notify}
}

// start starts a generation. talk is the supervisor's end of LIFELINE_FD.
func (s *supervisor) start(args ...string) (cmd *exec.Cmd, talk net.Conn) {
	s.t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer ours.Close()
	defer theirs.Close()
	if talk, err = net.FileConn(ours); err != nil {
		s.t.Fatal(err)
	}
	cmd = exec.Command("/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`, os.Args[0]}, args...)...)
	cmd.Env = append(os.Environ(), "CHILD=1", "GORACE=atexit_sleep_ms=0", "LISTEN_FDS=1", "LIFELINE_FD=4",
		"NOTIFY_SOCKET="+s.notify.LocalAddr().String())
	cmd.ExtraFiles = []*os.File{s.listener, theirs}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		talk.Close()
	})
	return cmd, talk
}

// await waits for a message, passing over others.
func (s *supervisor) await(want string) {
	s.t.Helper()
	buf := make([]byte, 4096)
	s.notify.SetReadDeadline(time.Now().Add(10 * time.Second))
	for {
		n, err := s.notify.Read(buf)
		if err != nil {
			s.t.Fatalf("waiting for %q: %v", want, err)
		}
		if strings.HasPrefix(string(buf[:n]), want) {
			return
		}
	}
}

func (s *supervisor) end(cmd *exec.Cmd) {
	s.t.Helper()
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		s.t.Error(err)
	}
}

func (s *supervisor) expectEcho(version string) {
	s.t.Helper()
	c := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	resp, err := c.Post(s.url+"/echo", "text/plain", strings.NewReader("hello"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "hello" || resp.Header.Get("Version") != version {
		s.t.Errorf("got %q from version %q, %v; want version %q", body, resp.Header.Get("Version"), err, version)
	}
}

func TestReload(t *testing.T) {
	s := newSupervisor(t)
	one, _ := s.start("-version", "1")
	s.await("READY=1")
	s.expectEcho("1")
	s.await("STATUS=version 1, 1 requests")
	two, _ := s.start("-version", "2")
	s.await("READY=1")
	s.end(one)
	s.expectEcho("2")
	s.end(two)
}

func TestTakeover(t *testing.T) {
	s := newSupervisor(t)
	file := t.TempDir() + "/exclusive"
	takeover := func(talk net.Conn) {
		talk.SetReadDeadline(time.Now().Add(10 * time.Second))
		if line, err := bufio.NewReader(talk).ReadString('\n'); line != "takeover\n" {
			t.Fatalf("worker sent %q, %v", line, err)
		}
	}
	one, talk := s.start("-version", "1", "-takeover", file)
	takeover(talk)
	io.WriteString(talk, "ok\n")
	s.await("READY=1")
	s.expectEcho("1")
	two, talk := s.start("-version", "2", "-takeover", file)
	takeover(talk)
	s.end(one)
	io.WriteString(talk, "ok\n")
	s.expectEcho("2") // the request waits in the socket until the lock is taken
	s.await("READY=1")
	s.end(two)
}

func TestBadVersions(t *testing.T) {
	s := newSupervisor(t)
	crash, _ := s.start("-crash-after", "1ms", "-hang")
	if err := crash.Wait(); err == nil {
		t.Error("-crash-after ends with 0")
	}
	hang, talk := s.start("-hang")
	talk.Close()
	if err := hang.Wait(); err != nil { // ends because its supervisor is gone
		t.Error(err)
	}
}

func TestAlone(t *testing.T) {
	cmd := exec.Command(os.Args[0], "-listen", "no such address")
	cmd.Env = append(os.Environ(), "CHILD=1")
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "no such address") {
		t.Errorf("%v: %s", err, out)
	}
}
