package worker

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const patience = 60 * time.Second // for an event that must come

// children are the programs that this test binary becomes when a test starts it as
// a worker or as a supervisor: CHILD names the function.
var children = map[string]func() error{
	"ask":        childAsk,
	"watch":      childWatch,
	"supervisor": childSupervisor,
	"inherit":    childInherit,
	"listen":     childListen,
	"http":       childHTTP,
}

func TestMain(m *testing.M) {
	if name := os.Getenv("CHILD"); name != "" {
		if err := children[name](); err != nil {
			fmt.Println("error:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child is this test binary, running the function that CHILD names.
type child struct {
	*exec.Cmd
	t     *testing.T
	lines *bufio.Scanner
}

// start starts a child with these descriptors from 3 on. With LISTEN_PID=$$ in
// env a shell sets its own pid before it becomes the child, as lifeline does before
// execve.
func start(t *testing.T, name string, env []string, files ...*os.File) *child {
	t.Helper()
	if children[name] == nil {
		t.Fatalf("no child %q", name)
	}
	script := `exec "$0" "$@"`
	clean := []string{"CHILD=" + name, "GORACE=atexit_sleep_ms=0"} // the race detector would sleep at each end
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "LISTEN_") && !strings.HasPrefix(e, "LIFELINE_") &&
			!strings.HasPrefix(e, "NOTIFY_SOCKET=") {
			clean = append(clean, e)
		}
	}
	for _, e := range env {
		if e == "LISTEN_PID=$$" {
			script = `LISTEN_PID=$$ exec "$0" "$@"`
			continue
		}
		clean = append(clean, e)
	}
	cmd := exec.Command("/bin/sh", "-c", script, os.Args[0])
	cmd.Env = clean
	cmd.ExtraFiles = files
	cmd.Stderr = os.Stderr
	out, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = in
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	c := &child{Cmd: cmd, t: t, lines: bufio.NewScanner(out)}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		out.Close()
	})
	out.SetReadDeadline(time.Now().Add(2 * patience))
	return c
}

// expect waits for the child's next line of output. "" stands for the end of
// output, when every process that has the pipe has ended.
func (c *child) expect(want string) {
	c.t.Helper()
	line := ""
	if c.lines.Scan() {
		line = c.lines.Text()
	} else if err := c.lines.Err(); err != nil {
		c.t.Fatalf("waiting for %q: %v", want, err)
	}
	if line != want {
		c.t.Fatalf("child said %q, want %q", line, want)
	}
}

// end waits until the child has ended, and fails the test if it ended badly.
func (c *child) end() {
	c.t.Helper()
	late := time.AfterFunc(2*patience, func() { c.Process.Kill() })
	defer late.Stop()
	if err := c.Wait(); err != nil {
		c.t.Errorf("child: %v", err)
	}
}

// socketpair returns both ends of a unix stream socket.
func socketpair(t testing.TB) (ours *net.UnixConn, theirs *os.File) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	unix.CloseOnExec(fds[0])
	unix.CloseOnExec(fds[1])
	f := os.NewFile(uintptr(fds[0]), "supervisor's end")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "worker's end")
	t.Cleanup(func() {
		conn.Close()
		theirs.Close()
	})
	return conn.(*net.UnixConn), theirs
}

// expectLine reads a request from the worker.
func expectLine(t *testing.T, r *bufio.Reader, want string) {
	t.Helper()
	if line, err := r.ReadString('\n'); err != nil || line != want+"\n" {
		t.Fatalf("worker sent %q, %v; want %q", line, err, want)
	}
}

func reply(t *testing.T, w io.Writer, lines string) {
	t.Helper()
	if _, err := io.WriteString(w, lines); err != nil {
		t.Fatal(err)
	}
}

// notifySocket makes a receiver of sd_notify messages.
func notifySocket(t testing.TB) (*net.UnixConn, string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "worker") // t.TempDir is too long for a socket on macOS
	if err != nil {
		t.Fatal(err)
	}
	path := dir + "/notify"
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		conn.Close()
		os.RemoveAll(dir)
	})
	return conn, path
}

func message(t testing.TB, conn *net.UnixConn) string {
	t.Helper()
	buf := make([]byte, 4096)
	conn.SetReadDeadline(time.Now().Add(patience))
	n, err := conn.Read(buf)
	if err != nil {
		t.Fatalf("waiting for a message: %v", err)
	}
	return string(buf[:n])
}

func terminated() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), syscall.SIGTERM)
}
