package tasks_test

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
	"lifeline/proof/await"
	"lifeline/proof/need"
)

var nobody = []string{"setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"}

// public lets every user run the program, and makes uid the owner of the world's
// state directory.
func (w *world) public(uid int) {
	w.t.Helper()
	text, err := os.ReadFile(w.lifeline)
	if err != nil {
		w.t.Fatal(err)
	}
	bin := filepath.Join(filepath.Dir(w.work), "bin")
	w.lifeline = filepath.Join(bin, "lifeline")
	if err := errors.Join(os.MkdirAll(bin, 0o755), os.WriteFile(w.lifeline, text, 0o755), os.Chmod(w.lifeline, 0o755),
		os.Mkdir(w.dir, 0o700), os.Chown(w.dir, uid, uid)); err != nil {
		w.t.Fatal(err)
	}
}

// TestStaleRecord checks a record of an earlier boot, or of a worker whose pid belongs
// to another process now. It keeps no tick from starting, and `terminate` leaves that
// process alone.
func TestStaleRecord(t *testing.T) {
	for name, tt := range map[string]struct {
		boot     string
		later    uint64
		instance bool
	}{
		"it runs":        {procscan.BootID(), 0, true}, // shows that the record is read at all
		"earlier boot":   {"00000000-0000-4000-8000-000000000000", 0, false},
		"pid used again": {procscan.BootID(), 7, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if code := w.tick(nil, "web", "true").ends(); code != 0 {
				t.Fatal(code)
			}
			other := w.start(exec.Command("/usr/bin/perl", w.bad("other")[1:]...))
			id := w.at("other")
			line := fmt.Sprintf("lifeline2 %s %d 0123456789ab 0123456789abcdef 4194304:1 %d:%d 1 "+
				"true", tt.boot, procscan.PIDNamespace(), id.PID, id.Start-tt.later)
			line += fmt.Sprintf(" %08x\n", crc32.ChecksumIEEE([]byte(line)))
			if err := os.WriteFile(w.file("web", "run"), fmt.Appendf(nil, "%-256s", line), 0o600); err != nil {
				t.Fatal(err)
			}
			if tt.instance {
				w.over(id, w.adopts(id, "second"))
				return
			}
			p := w.run("terminate", "--dir", w.dir, "web")
			if code := p.ends(); code != 0 || !p.says("is not running") {
				t.Errorf("exit code %d; it said %q", code, read(p.err))
			}
			w.tick(nil, "web", w.bad("second")...)
			w.at("second")
			p = w.run("terminate", "--dir", w.dir, "web")
			if code := p.ends(); code != 0 || !id.Alive() {
				t.Errorf("exit code %d; the other one is alive: %t", code, id.Alive())
			}
			_ = other.Process.Kill()
		})
	}
}

// TestDroppedPrivileges checks that a tick finds root's worker by the record after
// the worker dropped root's privileges.
func TestDroppedPrivileges(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	first := w.tick(nil, "web", append(append([]string(nil), nobody...), w.bad("first", "term", "close")...)...)
	id := w.at("first")
	first.kill()
	w.over(id, w.adopts(id, "second"))
}

// TestRecordIsNotTheWorkers checks that root's worker can't write another process into
// the record, which lifeline would then end. The worker has dropped its privileges and
// has the run file open.
func TestRecordIsNotTheWorkers(t *testing.T) {
	needRoot(t)
	for _, respawn := range []bool{false, true} {
		t.Run(fmt.Sprint(respawn), func(t *testing.T) {
			w := newWorld(t)
			out := filepath.Join(w.work, "out")
			if err := errors.Join(os.WriteFile(out, nil, 0o666), os.Chmod(out, 0o666), os.Chmod(w.work, 0o755),
				os.Chmod(filepath.Dir(w.work), 0o755)); err != nil {
				t.Fatal(err)
			}
			script := `for fd in /proc/$$/fd/*; do
	case $(readlink $fd) in *.run) echo has ${fd##*/} >>"$1"
		eval "echo forged >&${fd##*/}" 2>/dev/null && echo written >>"$1"
		echo forged 2>/dev/null >$fd && echo opened >>"$1";;
	esac
done
echo end >>"$1"`
			argv := append(append([]string(nil), nobody...), "bash", "-c", script, "sh", out)
			if respawn {
				p := w.run(append([]string{"--dir", w.dir, "--respawn", "--respawn-delay", "0", "--respawn-limit",
					"2/1m", "web", "--"}, argv...)...)
				p.ends()
			} else {
				w.tick(nil, "web", argv...).ends()
			}
			body, _ := os.ReadFile(out)
			text := string(body)
			if !strings.Contains(text, "has ") || !strings.Contains(text, "end") {
				t.Fatalf("the worker has no run file, so this shows nothing: %q", text)
			}
			if strings.Contains(text, "written") || strings.Contains(text, "opened") {
				t.Errorf("the worker could write the record: %q", text)
			}
		})
	}
}

// TestApart checks that names of two directories, or of two users, never meet.
func TestApart(t *testing.T) {
	t.Run("directories", func(t *testing.T) {
		w := newWorld(t)
		for _, tag := range []string{"first", "second"} {
			w.dir = filepath.Join(filepath.Dir(w.work), tag)
			w.tick(nil, "web", w.bad(tag)...)
			w.at(tag)
			w.tick([]string{"-E", "75"}, "web", w.bad("third")...).silent(75)
		}
		if p := w.run("terminate", "--dir", w.dir, "web"); p.ends() != 0 {
			t.Error(read(p.err))
		}
		w.dir = filepath.Join(filepath.Dir(w.work), "first")
		w.tick([]string{"-E", "75"}, "web", w.bad("third")...).silent(75)
	})
	t.Run("users", func(t *testing.T) {
		needRoot(t)
		w := newWorld(t)
		w.public(65534)
		w.wrap = nobody
		w.tick(nil, "web", w.bad("first")...)
		id := w.at("first")
		p := w.tick(nil, "web", "true")
		p.silent(0)
		// Root refuses another user's directory, and that user's instance doesn't count.
		w.wrap = nil
		p = w.tick(nil, "web", w.bad("second")...)
		if code := p.ends(); code != 125 || !p.says("belongs to uid 65534, not to uid 0: refused") {
			t.Errorf("exit code %d; it said %q", code, read(p.err))
		}
		w.not("second")
		w.dir += "-root"
		w.tick(nil, "web", w.bad("second")...)
		w.at("second")
		if !id.Alive() {
			t.Error("the first one has ended")
		}
		// And the other way round.
		w.wrap = nobody
		p = w.tick(nil, "web", w.bad("third")...)
		if code := p.ends(); code != 125 || !p.says("refused") {
			t.Errorf("exit code %d; it said %q", code, read(p.err))
		}
		w.not("third")
	})
}

// TestClosedOutput starts lifeline with standard output and error closed, or without a
// reader.
func TestClosedOutput(t *testing.T) {
	for name, redirect := range map[string]string{"closed": ">&- 2>&-", "closed input": "<&- >&- 2>&-"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			p := w.start(exec.Command("sh", "-c",
				`exec "$0" --dir "$1" web -- sh -c 'echo out; echo err >&2; touch "$0"; exit 7' "$2" `+redirect, w.lifeline, w.dir, w.path("ran")))
			if code := p.ends(); code != 7 || !exists(w.path("ran")) {
				t.Errorf("exit code %d", code)
			}
		})
	}
	t.Run("reader gone", func(t *testing.T) {
		w := newWorld(t)
		r, pipe, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		r.Close()
		cmd := exec.Command(w.lifeline, "--dir", w.dir, "--kill-after", "1s", "web", "--", "sh", "-c",
			`trap "" PIPE; sleep 600 & echo $! >"$0"; echo x; exit 7`, w.path("left"))
		cmd.Stdout, cmd.Stderr = pipe, pipe
		p := w.start(cmd)
		pipe.Close()
		// lifeline says what was left behind, into a pipe without a reader.
		if code := p.ends(); code != 7 {
			t.Errorf("exit code %d", code)
		}
		text, _ := os.ReadFile(w.path("left"))
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		if s, err := procscan.Lookup(pid); err == nil && !s.Dead() {
			t.Errorf("%+v was left behind", s)
		}
	})
}

// TestInheritance checks that the command starts with the signals, mask and descriptors
// of lifeline's caller, and with the run file on a high descriptor.
func TestInheritance(t *testing.T) {
	signals := func(pid int) string {
		t.Helper()
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			t.Fatal(err)
		}
		var out []string
		for line := range strings.Lines(string(text)) {
			if strings.HasPrefix(line, "SigBlk") || strings.HasPrefix(line, "SigIgn") ||
				strings.HasPrefix(line, "SigCgt") {
				out = append(out, strings.Join(strings.Fields(line), ""))
			}
		}
		return strings.Join(out, " ")
	}
	for name, tt := range map[string]struct {
		wrap []string
		exec bool
	}{
		"plain":  {wrap: []string{"sh", "-c", `exec "$0" "$@"`}},
		"nohup":  {wrap: []string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`}},
		"limit":  {wrap: []string{"sh", "-c", `ulimit -n 64; exec "$0" "$@"`}},
		"--exec": {wrap: []string{"sh", "-c", `trap "" HUP; exec "$0" "$@"`}, exec: true},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.wrap = tt.wrap
			direct := w.start(exec.Command(tt.wrap[0], append(tt.wrap[1:], "sleep", "600")...))
			defer func() { _ = direct.Process.Kill() }()
			var options []string
			if tt.exec {
				options = append(options, "--exec")
			}
			p := w.tick(options, "web", "sleep", "600")
			defer func() { _ = p.Process.Signal(unix.SIGTERM) }()
			var pid int
			isSleep := func(pid int) bool {
				line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
				return string(line) == "sleep\x00600\x00"
			}
			await.That(t, "the command", func() bool {
				pid = p.Process.Pid
				if r := w.record("web"); r != nil && !tt.exec {
					pid, _ = strconv.Atoi(r.worker)
				}
				return isSleep(pid) && isSleep(direct.Process.Pid)
			})
			if got, want := signals(pid), signals(direct.Process.Pid); got != want {
				t.Errorf("signals %s, without lifeline %s", got, want)
			}
			if hup := ignores(signals(pid), unix.SIGHUP); hup != strings.Contains(strings.Join(tt.wrap, " "), "HUP") {
				t.Errorf("SIGHUP ignored: %t (%s)", hup, signals(pid))
			}
			// The loader has some files open for a moment.
			wrong := ""
			if !await.Within(patience, func() bool {
				wrong = w.descriptors(pid, direct.Process.Pid)
				return wrong == ""
			}) {
				t.Error(wrong)
			}
			if strings.Contains(name, "nohup") {
				_ = p.Process.Signal(unix.SIGHUP)
				w.tick([]string{"-E", "75"}, "web", "true").silent(75)
			}
			_ = p.Process.Signal(unix.SIGTERM)
			p.ends()
		})
	}
}

// ignores reports whether sig is ignored.
func ignores(signals string, sig unix.Signal) bool {
	_, rest, _ := strings.Cut(signals, "SigIgn:")
	mask, _ := strconv.ParseUint(rest[:min(16, len(rest))], 16, 64)
	return mask&(1<<(sig-1)) != 0
}

// descriptors says what is wrong with the descriptors of pid, beside those of a
// process that was started without lifeline.
func (w *world) descriptors(pid, direct int) string {
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	run := 0
	for _, link := range links {
		fd, _ := strconv.Atoi(filepath.Base(link))
		to, _ := os.Readlink(link)
		switch {
		case to == w.file("web", "run") && fd > 9:
			run++
		case strings.HasPrefix(to, "socket:") && fd > 9: // LIFELINE_FD
		case fd > 2:
			// Descriptors that the caller of this test left open may stay open.
			if plain, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", direct, fd)); plain != to {
				return fmt.Sprintf(": descriptor %d is %s", fd, to)
			}
		}
	}
	if run != 1 || len(links) < 4 {
		return fmt.Sprintf(": descriptors %v, %d of them the run file", links, run)
	}
	return ""
}

// TestExampleTasks runs a program that guards itself.
func TestExampleTasks(t *testing.T) {
	go1, err := exec.LookPath("go")
	need.That(t, err == nil, "go")
	w := newWorld(t)
	w.lifeline = w.path("tasks")
	if out, err := exec.Command(go1, "build", "-tags", "urfave_cli_no_docs,osusergo,netgo", "-o", w.lifeline,
		"../examples/tasks").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	counts := func(p *tick) func() bool {
		return func() bool { return read(p.out) != "" && strings.HasPrefix(read(p.out), "environment loaded\n1\n") }
	}
	first := w.run("counter:lifeline", "--dir", w.dir)
	await.That(t, "it counts", counts(first))
	w.run("counter:lifeline", "--dir", w.dir).silent(0)
	by := w.run("counter:run") // without the guard
	await.That(t, "it counts as well", counts(by))
	id := first.id()
	if p := w.run("counter:terminate", "--dir", w.dir); p.ends() != 0 || read(p.err) != "" {
		t.Errorf("terminate: %q", read(p.err))
	}
	if id.Alive() {
		t.Error("it is terminated and still there")
	}
	if code := first.ends(); code != 0 || !strings.HasSuffix(read(first.out), "asked to end\n") {
		t.Errorf("exit code %d; it said %q", code, read(first.out))
	}
	if p := w.run("counter:terminate", "--dir", w.dir); p.ends() != 0 || !p.says("is not running") {
		t.Errorf("terminate: %q", read(p.err))
	}
	select {
	case <-by.over:
		t.Error("what runs without the guard was ended with the other")
	default:
	}
	_ = by.Process.Signal(unix.SIGINT)
	by.ends()
	second := w.run("counter:lifeline", "--dir", w.dir)
	await.That(t, "it counts again", counts(second))
	second.kill()
	third := w.run("counter:lifeline", "--dir", w.dir)
	await.That(t, "it counts after a kill", counts(third))
	_ = third.Process.Signal(unix.SIGTERM)
	third.ends()
}
