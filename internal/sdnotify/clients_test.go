package sdnotify

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"lifeline/proof/need"
)

// The clients below are those of real workers, unchanged. Every descendant of this test
// is a member, as every descendant of a supervisor is.

// said returns a summary of the messages, in order.
func said(all []Message) string {
	var b strings.Builder
	for _, m := range all {
		for _, e := range []struct {
			ok   bool
			text string
		}{
			{m.Ready, "ready "}, {m.Reloading, "reloading "}, {m.Stopping, "stopping "},
			{m.Watchdog, "watchdog "}, {m.WatchdogTrigger, "trigger "}, {m.HasStatus, "status=" + m.Status + " "},
			{m.MainPID != 0, "mainpid "}, {m.Errno != 0, "errno=" + strconv.Itoa(m.Errno) + " "},
			{m.FDStore, fmt.Sprintf("fdstore=%s:%d ", m.FDName, len(m.Fds))}, {m.FDStoreRemove,
				"fdremove=" + m.FDName + " "},
			{m.MonotonicUSec != 0, "monotonic "}, {m.Barrier, "barrier "},
			{m.HasWatchdogTimeout, m.WatchdogTimeout.String() + " "}, {m.ExtendTimeout != 0,
				m.ExtendTimeout.String() + " "},
			{m.Invalid != "", "invalid=" + m.Invalid + " "},
		} {
			if e.ok {
				b.WriteString(e.text)
			}
		}
		b.WriteString("| ")
	}
	return strings.TrimSuffix(b.String(), " | ")
}

func wantSaid(t *testing.T, all []Message, want string) {
	t.Helper()
	if got := said(all); got != want {
		t.Errorf("came: %s\nwant: %s", got, want)
	}
}

func TestSystemdNotify(t *testing.T) {
	need.Program(t, "systemd-notify")
	for _, tt := range []struct{ script, want string }{
		{`systemd-notify --ready --status="serving $((1+1))"`, "ready status=serving 2 | barrier"},
		{`systemd-notify --no-block --ready`, "ready"},
		{`systemd-notify --no-block --status=one; systemd-notify --no-block --status=two; systemd-notify STOPPING=1`,
			"status=one | status=two | stopping | barrier"},
		{`systemd-notify WATCHDOG=1 WATCHDOG_USEC=5000000`, "watchdog 5s | barrier"},
		{`systemd-notify WATCHDOG=trigger EXTEND_TIMEOUT_USEC=2500000`, "trigger 2.5s | barrier"},
		{`systemd-notify --pid=$$ --ready; test 1 = 1`, "ready mainpid | barrier"},
		{`(systemd-notify --ready)`, "ready | barrier"},
	} {
		t.Run(tt.script, func(t *testing.T) {
			if strings.Contains(tt.script, "--no-block") {
				need.Root(t) // only root's systemd-notify speaks for its parent; another's may be gone too soon
			}
			r := listen(t, ours())
			cmd := exec.Command("/bin/sh", "-c", tt.script)
			cmd.Env = Environ(os.Environ(), r.Addr(), 0)
			all := runServed(t, r, cmd)
			wantSaid(t, all, tt.want)
			wantNoWarnings(t, r)
			for _, m := range all {
				if m.MainPID != 0 && m.MainPID != cmd.Process.Pid {
					t.Errorf("MAINPID=%d, the shell is %d", m.MainPID, cmd.Process.Pid)
				}
				if !m.Sender.Known || m.Sender.UID != uint32(os.Getuid()) || m.Received.IsZero() {
					t.Errorf("sender %+v, received %v", m.Sender, m.Received)
				}
			}
		})
	}
}

// TestSystemdNotifyAsAnotherUser shows that a worker may change its user, as by setpriv.
func TestSystemdNotifyAsAnotherUser(t *testing.T) {
	need.Program(t, "systemd-notify")
	setpriv := need.Program(t, "setpriv")
	need.Root(t) // to start a process as another user
	dir, err := os.MkdirTemp("", "notify")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	r, err := Listen(filepath.Join(dir, "notify"), Options{Member: ours()})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	cmd := exec.Command(setpriv, "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c",
		"systemd-notify --ready; systemd-notify --status=bye")
	cmd.Env = Environ(os.Environ(), r.Addr(), 0)
	all := runServed(t, r, cmd)
	wantSaid(t, all, "ready | barrier | status=bye | barrier")
	wantNoWarnings(t, r)
	if len(all) > 0 && all[0].Sender.UID != 65534 {
		t.Errorf("sender %+v", all[0].Sender)
	}
}

func TestLibsystemd(t *testing.T) {
	gcc := need.Program(t, "gcc")
	bin := filepath.Join(t.TempDir(), "client")
	if out, err := exec.Command(gcc, "-o", bin, "testdata/client.c", "-lsystemd").CombinedOutput(); err != nil {
		if strings.Contains(string(out), "systemd/sd-daemon.h") || strings.Contains(string(out), "-lsystemd") {
			need.That(t, false, "libsystemd's development files")
		}
		t.Fatalf("gcc: %v\n%s", err, out)
	}
	client := func(r *Receiver, steps ...string) *exec.Cmd {
		cmd := exec.Command(bin, steps...)
		cmd.Env = Environ(os.Environ(), r.Addr(), 20*time.Second)
		return cmd
	}
	t.Run("states", func(t *testing.T) {
		r := listen(t, ours())
		all := runServed(t, r, client(r, "ready", "notifyf", "reloading", "watchdog", "stopping", "barrier"))
		wantSaid(t, all, "ready status=from C | mainpid errno=2 | reloading monotonic | watchdog | stopping | barrier")
		wantNoWarnings(t, r)
	})
	t.Run("store", func(t *testing.T) {
		before := openFds(t)
		r := listen(t, ours())
		var s Store
		all := runServed(t, r, client(r, "fdstore", "barrier"))
		wantSaid(t, all, "fdstore=state:2 | barrier")
		for i := range all {
			if err := s.Apply(&all[i]); err != nil {
				t.Error(err)
			}
		}
		files, names, err := s.Files()
		if err != nil || len(files) != 1 || names[0] != "state" {
			t.Fatalf("stored %v %v %v", files, names, err)
		}
		buf := make([]byte, 8)
		if n, _ := files[0].ReadAt(buf, 0); string(buf[:n]) != "kept" {
			t.Errorf("stored file has %q", buf[:n])
		}
		files[0].Close()
		all = runServed(t, r, client(r, "remove", "barrier"))
		wantSaid(t, all, "fdremove=state | barrier")
		if err := s.Apply(&all[0]); err != nil || len(s.List()) != 0 {
			t.Errorf("after the removal: %v %v", s.List(), err)
		}
		r.Close()
		eventually(t, "all descriptors closed", func() bool { return openFds(t) == before })
	})
	t.Run("watchdog enabled behind a shell", func(t *testing.T) {
		cmd := exec.Command("/bin/sh", "-c", `"$0" enabled; exit 0`, bin)
		cmd.Env = Environ(append(os.Environ(), EnvWatchdogPID+"=1"), "", 20*time.Second)
		out, err := cmd.Output()
		if err != nil || strings.TrimSpace(string(out)) != "1 20000000" {
			t.Errorf("sd_watchdog_enabled: %q %v", out, err)
		}
	})
	t.Run("abstract address", func(t *testing.T) {
		need.That(t, runtime.GOOS == "linux", "Linux's abstract sockets")
		long := filepath.Join(t.TempDir(), strings.Repeat("d", 120), "notify")
		r, err := Listen(long, Options{Member: ours()})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if r.Addr()[0] != '@' || len(r.Addr()) > 107 {
			t.Fatalf("address %q", r.Addr())
		}
		wantSaid(t, runServed(t, r, client(r, "ready", "barrier")), "ready status=from C | barrier")
	})
}

func TestGoSystemd(t *testing.T) {
	r := listen(t, ours())
	program := filepath.Join(t.TempDir(), "go-systemd")
	build := exec.Command(need.Program(t, "go"), "build", "-C", "testdata/go-systemd", "-o", program)
	build.Env = append(os.Environ(), "GOWORK=off")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", build, err, out)
	}
	wantSaid(t, runServed(t, r, child(t, "go-systemd", r.Addr(), "GO_SYSTEMD="+program)),
		"ready | watchdog | stopping | barrier")
	wantNoWarnings(t, r)
}

func TestScripts(t *testing.T) {
	for _, tt := range []struct {
		name, program string
		args          []string
		want          string
	}{
		{"python's own sockets", "python3", []string{"-c", `
import os, socket
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect(os.environ["NOTIFY_SOCKET"])
s.sendall(b"READY=1\nSTATUS=h\xc3\xa9")
r, w = os.pipe()
socket.send_fds(s, [b"FDSTORE=1\nFDNAME=p"], [r, w])
socket.send_fds(s, [b"BARRIER=1"], [w])
os.close(w)
s.sendall(b"STOPPING=1")
import sys; sys.stdin.read()
`}, "ready status=hé | fdstore=p:2 | barrier | stopping"},
		{"python3-systemd", "/usr/bin/python3", []string{"-c", `
from systemd import daemon
import sys
daemon.notify("READY=1")
daemon.notify("STATUS=py", pid=0)
daemon.notify("WATCHDOG=1")
sys.stdin.read()
`}, "ready | status=py | watchdog"},
		{"perl's own sockets", "perl", []string{"-MIO::Socket::UNIX", "-e", `
my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Peer => $ENV{NOTIFY_SOCKET}) or die "$!";
$s->send("READY=1\nSTATUS=perl\n") or die; $s->send("WATCHDOG=1") or die; $s->send("STOPPING=1") or die;
<STDIN>;
`}, "ready status=perl | watchdog | stopping"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := need.Program(t, tt.program)
			if strings.Contains(tt.name, "systemd") {
				need.That(t, exec.Command(path, "-c", "from systemd import daemon").Run() == nil, "python3-systemd")
			}
			r := listen(t, ours())
			cmd := exec.Command(path, tt.args...)
			cmd.Env = Environ(os.Environ(), r.Addr(), 0)
			cmd.Stderr = os.Stderr
			in, err := cmd.StdinPipe() // the sender lives until it is closed
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			all := serve(t, r, atLeast(strings.Count(tt.want, "|")+1))
			in.Close()
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			wantSaid(t, all, tt.want)
			wantNoWarnings(t, r)
			for i := range all {
				all[i].Close()
			}
		})
	}
}
