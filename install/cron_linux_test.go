package install

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeline/proof/need"
)

// privateCron runs the real cron with a spool, a /run and an /etc/cron.d of its own. The
// machine's crontabs and cron stay as they are. With an empty /run, cron believes that the
// machine has just booted, and runs the @reboot lines at once.
const privateCron = `
mount -t tmpfs none /run && mount -t tmpfs none /var/spool/cron && mount -t tmpfs none /etc/cron.d || exit 77
mkdir /var/spool/cron/crontabs && chgrp crontab /var/spool/cron/crontabs && chmod 1730 /var/spool/cron/crontabs || exit 77
crontab "$1/user" && cp "$1"/lifeline-* /etc/cron.d/ || exit 1
exec cron -f
`

// TestRealCronStartsTheWords checks with a real cron and shell that the words of the
// block, and of the file for /etc/cron.d, arrive as Quote got them.
func TestRealCronStartsTheWords(t *testing.T) {
	need.Root(t)
	need.Program(t, "cron")
	need.NoError(t, exec.Command("unshare", "--mount", "--pid", "--fork", "mount", "-t", "tmpfs", "none", "/run").Run())

	// t.TempDir's names are too long for a socket.
	dir, err := os.MkdirTemp("", "ll")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "s")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}

	random := rand.New(rand.NewPCG(5, 6))
	want := map[string][]string{}
	crontab := ""
	entry := func(name string) Entry {
		e := Entry{Name: name, Binary: self, Options: []string{dumpWord, socket}, Schedule: "@reboot"}
		for range 20 {
			e.Command = append(e.Command, randomWord(random))
		}
		want[name] = e.Command
		return e
	}
	for i := range 12 {
		crontab, err = Add(crontab, entry(fmt.Sprintf("user%d", i)))
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "user"), []byte(crontab), 0o600); err != nil {
		t.Fatal(err)
	}
	system := CronD{Dir: dir}
	for _, name := range []string{"a.b_c:d@e+f", "plain"} {
		e := entry(name)
		e.User = "root"
		_, text, err := addTo(system, e)
		if err != nil {
			t.Fatal(err)
		}
		if err := system.Write(name, text); err != nil {
			t.Fatal(err)
		}
	}

	var output strings.Builder
	cron := exec.Command("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c",
		privateCron, "sh", dir)
	cron.Stdout, cron.Stderr = &output, &output
	// A test run that is killed takes its cron with it. The signal comes when the
	// thread that started cron ends, so the thread must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cron.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cron.Start(); err != nil {
		t.Fatal(err)
	}
	// --kill-child ends the namespace, and everything in it, with unshare.
	defer cron.Wait()
	defer cron.Process.Kill()

	if err := listener.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	for len(want) > 0 {
		conn, err := listener.Accept()
		if err != nil {
			cron.Process.Kill()
			cron.Wait()
			t.Fatalf("%v; %d jobs did not start; cron said %q", err, len(want), output.String())
		}
		text, err := io.ReadAll(conn)
		conn.Close()
		if err != nil {
			t.Fatal(err)
		}
		words := strings.Split(string(text), "\x00")
		if command := want[words[0]]; !slices.Equal(words[2:], command) {
			t.Errorf("%s: got  %q\nwant %q", words[0], words[2:], command)
		}
		delete(want, words[0])
	}
}
