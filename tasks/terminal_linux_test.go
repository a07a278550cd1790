package tasks_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/await"
)

// typist is a shell with job control on a terminal of its own, and what it has
// printed.
type typist struct {
	t    *testing.T
	keys *os.File
	mu   sync.Mutex
	seen bytes.Buffer
}

func atTerminal(t *testing.T) *typist {
	t.Helper()
	keys, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	fd := int(keys.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	shell := exec.Command("bash", "--norc", "--noprofile", "-i")
	shell.Dir = dir
	shell.Env = append(os.Environ(), "LIFELINE_DIR="+filepath.Join(dir, "state"), "PS1=> ", "TERM=dumb", "HISTFILE=")
	shell.Stdin, shell.Stdout, shell.Stderr = tty, tty, tty
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	p := &typist{t: t, keys: keys}
	go func() {
		buf := make([]byte, 4096)
		for {
			n, err := keys.Read(buf)
			p.mu.Lock()
			p.seen.Write(buf[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = shell.Process.Kill()
		_ = shell.Wait()
		keys.Close()
	})
	return p
}

func (p *typist) types(keys string) {
	if _, err := p.keys.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// sees waits until text is on the screen.
func (p *typist) sees(text string) {
	p.t.Helper()
	has := func() bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		return bytes.Contains(p.seen.Bytes(), []byte(text))
	}
	if !await.Within(20*time.Second, has) {
		p.t.Fatalf("never seen: %q\n%s", text, p.seen.String())
	}
}

// On a terminal the command has the terminal, as under flock. In a process group
// of its own it was stopped for ever when it read.
func TestTerminal(t *testing.T) {
	for _, how := range []string{"lifeline", "lifeline run"} {
		t.Run(how, func(t *testing.T) {
			p := atTerminal(t)
			p.types(how + ` a -- sh -c 'echo ask-$((1+1)); stty -echo; read x; stty echo; echo "read-$x"'` + "\n")
			p.sees("ask-2")
			p.types("secret\n")
			p.sees("read-secret")

			// Ctrl-C reaches the command once, which decides what it means.
			p.types(how + ` b -- sh -c 'trap "n=\$((n+1)); echo int-\$n" INT; trap "echo term" TERM; echo on-$((1+1)); read x; read x; echo ended-$n; exit 7'; echo code-$?` + "\n")
			p.sees("on-2")
			p.types("\x03")
			p.sees("int-1")
			p.types("\n\n")
			p.sees("ended-1")
			p.sees("code-7")

			// Ctrl-Z stops both, fg goes on with both.
			p.types(how + ` c -- sh -c 'echo wait-$((1+1)); read x; echo again-$x'; echo stopped-$?` + "\n")
			p.sees("wait-2")
			p.types("\x1a")
			p.sees("stopped-148")
			p.types("fg\nback\n")
			p.sees("again-back")
		})
	}
}
