package sdnotify

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeline/proof/need"

	"golang.org/x/sys/unix"
)

func TestForgedSender(t *testing.T) {
	before := openFds(t)
	worker := startHolder(t)
	r := listen(t, below(worker)) // this test itself is outside the worker's tree
	open := openFds(t)
	send(t, r, "READY=1")
	send(t, r, "FDSTORE=1", 0, 1, 2)
	send(t, r, "STOPPING=1")
	eventually(t, "three dropped", func() bool { return r.Dropped() == Dropped{Forged: 3} })
	if all := r.Drain(); len(all) != 0 {
		t.Errorf("came: %s", said(all))
	}
	select {
	case <-r.C():
	case <-time.After(patience):
		t.Error("no signal for the warning")
	}
	w := r.Warnings()
	if len(w) != 1 || !strings.Contains(w[0], "not part of the worker") ||
		!strings.Contains(w[0], strconv.Itoa(os.Getpid())) {
		t.Errorf("warnings %q", w)
	}
	if now := openFds(t); now != open {
		t.Errorf("%d descriptors, %d before (%d at first)", now, open, before)
	}
	// A forged barrier is answered, too, by its close.
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := (Client{Addr: r.Addr()}).Barrier(ctx); err != nil {
		t.Error(err)
	}
}

// TestTruncatedDescriptors shows that the descriptors in truncated control data are
// closed.
func TestTruncatedDescriptors(t *testing.T) {
	r := listen(t, nil)
	before := openFds(t)
	r.mu.Lock()
	r.oob = r.oob[:unix.CmsgSpace(unix.SizeofUcred)+unix.CmsgSpace(4*2)]
	r.mu.Unlock()
	send(t, r, "FDSTORE=1", 0, 0, 0, 0, 0, 0)
	send(t, r, "READY=1")
	wantSaid(t, serve(t, r, atLeast(1)), "ready")
	if d := r.Dropped(); d != (Dropped{Truncated: 1}) {
		t.Errorf("dropped %+v", d)
	}
	if now := openFds(t); now != before {
		t.Errorf("%d descriptors, %d before", now, before)
	}
}

// TestSenderGone shows the warning for a sender that ended before its message was read:
// it says what to do.
func TestSenderGone(t *testing.T) {
	need.Program(t, "python3")
	r := listen(t, ours())
	fd, rest, err := r.Detach() // no receiver reads
	if err != nil || len(rest) != 0 {
		t.Fatal(rest, err)
	}
	cmd := exec.Command("python3", "-c", `
import os, socket
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
`)
	cmd.Env = Environ(os.Environ(), r.Addr(), 0)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
	r, err = Adopt(fd, Options{Member: ours()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if all := r.Drain(); len(all) != 0 {
		t.Errorf("came: %s", said(all))
	}
	w := r.Warnings()
	if d := r.Dropped(); d != (Dropped{Gone: 1}) || len(w) != 1 || !strings.Contains(w[0],
		strconv.Itoa(cmd.Process.Pid)) || !strings.Contains(w[0], "sd_notify_barrier") {
		t.Errorf("%+v %q", d, w)
	}
}

// TestSenderIsZombie shows that a Member that goes by parents accepts a zombie's last
// messages, because a zombie still has a parent.
func TestSenderIsZombie(t *testing.T) {
	need.Program(t, "python3")
	r := listen(t, ours())
	fd, _, err := r.Detach()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("python3", "-c", `
import os, socket
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"STATUS=last words", os.environ["NOTIFY_SOCKET"])
print("sent", flush=True)
`)
	cmd.Env = Environ(os.Environ(), r.Addr(), 0)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	readLine(t, bufio.NewReader(out))
	var info unix.Siginfo
	for { // ended, but not yet reaped
		if err := unix.Waitid(unix.P_PID, cmd.Process.Pid, &info, syscall.WEXITED|syscall.WNOWAIT,
			nil); err != syscall.EINTR {
			break
		}
	}
	if !exited(cmd.Process.Pid) {
		t.Error("a zombie isn't seen as ended")
	}
	r, err = Adopt(fd, Options{Member: ours()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	wantSaid(t, r.Drain(), "status=last words")
	_ = cmd.Wait()
}

// startHolder starts a process that lives until the test ends, as a worker
// with a tree of its own, and returns its process id.
func startHolder(t *testing.T) int {
	t.Helper()
	cmd := exec.Command(need.Program(t, "cat"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		_ = cmd.Wait()
	})
	return cmd.Process.Pid
}

// readLine reads one line that a child prints.
func readLine(t *testing.T, r *bufio.Reader) string {
	t.Helper()
	line, err := r.ReadString('\n')
	if err != nil && !errors.Is(err, os.ErrClosed) {
		t.Fatalf("the child said nothing: %v", err)
	}
	return strings.TrimSpace(line)
}
