package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeline/proof/need"
)

func TestMain(m *testing.M) {
	if os.Getenv("CHILD") != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestGo(t *testing.T) {
	try(t, exec.Command(os.Args[0], "-every", "100ms"))
}

func TestShell(t *testing.T) {
	need.Program(t, "systemd-notify")
	try(t, exec.Command("./heartbeat.sh", "0.1"))
}

// room makes a directory whose name is short enough for a socket's address.
func room(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "heartbeat")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// listen makes a socket in dir for the messages of the daemon or of lifeline.
func listen(t *testing.T, dir string) (conn *net.UnixConn, path string) {
	t.Helper()
	path = filepath.Join(dir, "notify")
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn, path
}

// try starts the daemon, checks that heartbeats come, hangs it, and checks that they
// stop.
func try(t *testing.T, cmd *exec.Cmd) {
	conn, path := listen(t, room(t))
	cmd.Env = append(os.Environ(), "CHILD=1", "NOTIFY_SOCKET="+path)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()

	next := func(wait time.Duration) (string, error) {
		buf := make([]byte, 4096)
		conn.SetReadDeadline(time.Now().Add(wait))
		n, err := conn.Read(buf)
		return string(buf[:n]), err
	}
	if got, err := next(10 * time.Second); err != nil || !strings.Contains(got, "READY=1") {
		t.Fatalf("first message: %q, %v; want READY=1", got, err)
	}
	for beats := 0; beats < 3; {
		got, err := next(10 * time.Second)
		if err != nil {
			t.Fatalf("after %d heartbeats: %v", beats, err)
		}
		beats += strings.Count(got, "WATCHDOG=1")
	}
	if err := cmd.Process.Signal(syscall.SIGUSR1); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, err := next(time.Second); os.IsTimeout(err) {
			break // ten heartbeats were due
		}
		if time.Now().After(deadline) {
			t.Fatal("it goes on after SIGUSR1")
		}
	}
	if err := cmd.Process.Signal(syscall.Signal(0)); err != nil {
		t.Errorf("it should hang, but it has ended: %v", err)
	}
}
