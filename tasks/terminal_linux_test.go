package tasks_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
	"lifeline/proof/await"
)

// typist is a shell with job control on a terminal of its own, and what it has
// printed.
type typist struct {
	t     *testing.T
	keys  *os.File
	dir   string
	shell *os.Process
	mu    sync.Mutex
	seen  bytes.Buffer
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
	dir, err := os.MkdirTemp("", "lifeline-terminal")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { // a lifeline that is just ending may still write its last word
		if !await.Within(20*time.Second, func() bool { return os.RemoveAll(dir) == nil }) {
			t.Errorf("cannot remove %s", dir)
		}
	})
	shell := exec.Command("bash", "--norc", "--noprofile", "-i")
	shell.Dir = dir
	shell.Env = append(os.Environ(), "LIFELINE_DIR="+filepath.Join(dir, "state"), "PS1=> ", "TERM=dumb", "HISTFILE=")
	shell.Stdin, shell.Stdout, shell.Stderr = tty, tty, tty
	shell.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := shell.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	p := &typist{t: t, keys: keys, dir: dir, shell: shell.Process}
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

// TestTerminal checks that the command has the terminal, as under flock. Before, it was
// in a process group of its own, and was stopped for ever when it read.
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

// SIGINT from elsewhere reaches a command on a terminal once, by lifeline signal. kill -INT
// of lifeline counts as typed: the command has it from the terminal, or not at all.
func TestInterruptFromElsewhere(t *testing.T) {
	p := atTerminal(t)
	p.types(`lifeline a -- sh -c 'trap "n=\$((n+1)); echo int-\$n" INT; echo up-$((1+1)); read x; read x; echo ended-$n; exit 7'; echo code-$?` + "\n")
	p.sees("up-2")
	dir := filepath.Join(p.dir, "state")
	if out, err := exec.Command("lifeline", "signal", "--dir", dir, "a", "INT").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	p.sees("int-1")
	list, err := exec.Command("lifeline", "status", "--json", "--dir", dir, "a").Output()
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(list), `"supervisor": `)
	pid, _, _ := strings.Cut(rest, ",")
	if n, err := strconv.Atoi(pid); err != nil || syscall.Kill(n, syscall.SIGINT) != nil {
		t.Fatalf("no supervisor in %s", list)
	}
	p.types("\n")
	p.sees("ended-1")
	p.sees("code-7")
}

// TestForeground asks lifeline what coreutils' tests ask of timeout --foreground.
func TestForeground(t *testing.T) {
	for name, steps := range map[string][][2]string{ // keys, and what is seen then
		// The time runs out while the command waits for the terminal.
		"time runs out": {{`lifeline --max-runtime 1s a -- sh -c 'echo wait-$((1+1)); read x'; echo code-$?` + "\n",
			"code-124"}},
		// Its exit code and its signal are lifeline's.
		"exit code": {{"lifeline a -- sh -c 'exit 7'; echo code-$?\n", "code-7"}},
		"signal":    {{"lifeline a -- sh -c 'kill -KILL $$'; echo code-$?\n", "code-137"}},
		"Ctrl-C": {{"lifeline a -- sh -c 'echo on-$((1+1)); exec sleep 60'; echo code-$?\n", "on-2"},
			{"\x03", "code-130"}},
		"Ctrl-\\": {{"ulimit -c 0; lifeline a -- sh -c 'echo on-$((1+1)); exec sleep 60'; echo code-$?\n", "on-2"},
			{"\x1c", "code-131"}},
		// In a script, which has no job control, and behind a pipe.
		"script": {{`sh -c 'lifeline a -- sh -c "echo ask; read x; echo got-\$x"; echo code-$?'` + "\n", "ask"},
			{"word\n", "got-word"}, {"", "code-0"}},
		"pipe": {{`lifeline a -- sh -c 'echo ask >&2; read x; echo got-$x' | tr a-z A-Z` + "\n", "ask"},
			{"word\n", "GOT-WORD"}},
		// In the background it is stopped when it reads, as every job is.
		"background": {{`lifeline a -- sh -c 'read x; echo got-$x' &` + "\n", ""},
			{"until jobs | grep -q Stopped; do sleep .1; done; echo is-$((1+1))\n",
				"is-2"}, {"fg\nword\n", "got-word"}},
		// The caller ignores the end of its children.
		"SIGCHLD ignored": {{`(trap '' CHLD; exec lifeline a -- sh -c 'exit 5'); echo code-$?` + "\n", "code-5"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := atTerminal(t)
			for _, step := range steps {
				p.types(step[0])
				p.sees(step[1])
			}
		})
	}
}

// TestHangUp checks that a terminal that goes ends what runs on it, as without
// lifeline. Before, --respawn passed the hangup on, and the next worker lived on
// unseen. --on-hup pass asks for that.
func TestHangUp(t *testing.T) {
	for options, survives := range map[string]bool{"": false, "--respawn": false, "--respawn --on-hup pass": true} {
		t.Run(options, func(t *testing.T) {
			p := atTerminal(t)
			p.types("lifeline " + options + ` a -- sh -c 'trap "echo hup >>hupped" HUP; echo $PPID >parent; while :; do sleep 0.05; done'` + "\n")
			var id procscan.ID
			await.That(t, "the worker", func() bool {
				text, _ := os.ReadFile(filepath.Join(p.dir, "parent"))
				pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
				if err == nil {
					var s procscan.Stat
					s, err = procscan.Lookup(pid)
					id = s.ID
				}
				return err == nil
			})
			_ = p.shell.Kill() // the end of the session's leader hangs up the terminal (credentials(7))
			if !survives {
				await.That(t, "the supervisor's end", func() bool { return !id.Alive() })
				return
			}
			await.That(t, "the hangup", func() bool { return exists(filepath.Join(p.dir, "hupped")) })
			if !id.Alive() {
				t.Error("the supervisor has ended")
			}
			end := exec.Command("lifeline", "terminate", "--dir", filepath.Join(p.dir, "state"), "a")
			if out, err := end.CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		})
	}
}
