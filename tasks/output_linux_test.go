package tasks_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"lifeline/proof/await"

	"golang.org/x/sys/unix"
)

// TestLogLosesNothing writes 200 MB/s through ten rotations and more.
func TestLogLosesNothing(t *testing.T) {
	w := newWorld(t)
	log := w.path("log")
	const size = 20 << 20
	p := w.print([]string{"--log", log, "--log-max-size", "20M", "--log-keep", "30"}, "p", 11*size, 200e6)
	if code := p.ends(); code != 0 {
		t.Errorf("exit code %d: %s", code, read(p.err))
	}
	said := w.printed("p")
	files := w.complete(log, said)
	if files < 11 {
		t.Errorf("%d files: too few rotations", files)
	}
	for n := 1; n < files; n++ {
		name := log + "." + strconv.Itoa(n)
		st, err := os.Stat(name)
		if err != nil || st.Size() > size || st.Size() < size-1000 {
			t.Errorf("%s: %d bytes, %v", name, st.Size(), err)
		}
	}
	t.Logf("%.0f MB/s, %d files, the longest write took "+
		"%s", float64(said.Bytes)/said.Took.Seconds()/1e6, files, said.Longest)
}

// TestLogSurvivesSupervisor kills the supervisor, has the worker adopted, and replaces
// the program in place. The worker prints on, and the log has it all.
func TestLogSurvivesSupervisor(t *testing.T) {
	w := newWorld(t)
	log := w.path("log")
	options := []string{"--log", log, "--log-max-size", "300k", "--log-keep", "1000"}
	first := w.print(options, "p", 0, 3e6)
	worker := w.at("p.pid")
	grown := func() {
		t.Helper()
		text, _ := logged(log)
		await.That(t, "the log grows", func() bool { now, _ := logged(log); return len(now) > len(text)+100_000 })
	}
	grown()
	logger := w.theLogger()
	first.kill()
	grown() // while the name has no supervisor
	if !worker.Alive() || !logger.Alive() {
		t.Fatalf("worker alive: %v, logger alive: %v", worker.Alive(), logger.Alive())
	}
	second := w.tick(options, "web", "never")
	await.That(t, "adopted", func() bool { return second.says("whose supervisor was killed") })
	grown()
	if now := w.theLogger(); now != logger || len(w.loggers()) != 1 {
		t.Errorf("the logger was %s and is %s; there are %d", logger, now, len(w.loggers()))
	}
	await.That(t, "the supervisor answers", func() bool {
		out, err := exec.Command(w.lifeline, "reload", "--self", "--dir", w.dir, "web").CombinedOutput()
		if err != nil {
			t.Logf("%s", out)
		}
		return err == nil
	})
	grown()
	w.touch("p.stop")
	second.ends()
	w.complete(log, w.printed("p"))
	await.That(t, "the logger has gone", func() bool { return !logger.Alive() })
}

// TestLogSurvivesLogger kills the logger. The worker doesn't notice, and another logger
// goes on. At most what the killed one had read is missing.
func TestLogSurvivesLogger(t *testing.T) {
	w := newWorld(t)
	log := w.path("log")
	p := w.print([]string{"--log", log}, "p", 0, 5e6)
	for range 3 {
		was := w.theLogger()
		text, _ := logged(log)
		await.That(t, "the log grows", func() bool { now, _ := logged(log); return len(now) > len(text)+200_000 })
		_ = unix.Kill(was.PID, unix.SIGKILL)
		await.That(t, "there is another", func() bool { return w.theLogger() != was })
	}
	w.touch("p.stop")
	if code := p.ends(); code != 0 || read(p.err) != "" {
		t.Errorf("exit code %d: %s", code, read(p.err))
	}
	said := w.printed("p")
	var text []byte
	await.That(t, "the loggers have gone", func() bool { return len(w.loggers()) == 0 })
	text, _ = logged(log)
	if missing := said.Bytes - int64(len(text)); missing < 0 || missing > 3*64<<10 {
		t.Errorf("%d bytes were printed, %d are missing", said.Bytes, missing)
	}
	last := 0
	for line := range bytes.Lines(text) {
		var n int
		if k, _ := fmt.Sscanf(string(line), "<%9d ", &n); k != 1 || len(line) < 12 ||
			!bytes.HasSuffix(line, []byte(">\n")) || bytes.Count(line, []byte("<")) > 1 {
			continue // cut by the loss
		}
		if n <= last {
			t.Fatalf("line %d comes after line %d", n, last)
		}
		last = n
	}
}

// TestLogSurvivesBoth kills supervisor and logger at once. The worker may print on
// without a signal or an error, and the next tick finds what it has printed in the
// pipe.
func TestLogSurvivesBoth(t *testing.T) {
	w := newWorld(t)
	log := w.path("log")
	w.touch("p.wait")
	options := []string{"--log", log}
	first := w.print(options, "p", 50_000, 5e6)
	await.That(t, "the printer waits", func() bool { return exists(w.path("p.waits")) })
	began, _ := os.ReadFile(w.path("p.waits"))
	await.That(t, "its first words are in the log", func() bool {
		text, _ := logged(log)
		return strconv.Itoa(len(text)) == string(began)
	})
	worker, logger := w.at("p.pid"), w.theLogger()
	_ = unix.Kill(first.Process.Pid, unix.SIGSTOP) // so that it starts no other one
	_ = unix.Kill(logger.PID, unix.SIGKILL)
	first.kill()
	await.That(t, "the logger is dead", func() bool { return !logger.Alive() })
	w.touch("p.go")
	said := w.printed("p") // it ends, although no process reads
	await.That(t, "the worker has ended", func() bool { return !worker.Alive() })
	// A pipe that no process has open is gone, so a logger took over before.
	if text, _ := logged(log); int64(len(text)) >= said.Bytes {
		t.Fatalf("who has written %d bytes?", len(text))
	}
}

// TestLogAdoptsPipe does the same with a worker that lives to see the next tick.
// Nothing is lost.
func TestLogAdoptsPipe(t *testing.T) {
	w := newWorld(t)
	log := w.path("log")
	w.touch("p.wait")
	options := []string{"--log", log}
	first := w.print(options, "p", 0, 5e4)
	await.That(t, "the printer waits", func() bool { return exists(w.path("p.waits")) })
	began, _ := os.ReadFile(w.path("p.waits"))
	await.That(t, "its first words are in the log", func() bool {
		text, _ := logged(log)
		return strconv.Itoa(len(text)) == string(began)
	})
	logger := w.theLogger()
	_ = unix.Kill(first.Process.Pid, unix.SIGSTOP)
	_ = unix.Kill(logger.PID, unix.SIGKILL)
	first.kill()
	await.That(t, "the logger is dead", func() bool { return !logger.Alive() })
	w.touch("p.go")
	await.That(t, "it prints into the pipe", func() bool {
		now, _ := os.ReadFile(w.path("p.bytes"))
		was, _ := strconv.Atoi(string(began))
		n, _ := strconv.Atoi(string(now))
		return n > was+10_000
	})
	second := w.tick(options, "web", "never")
	await.That(t, "adopted", func() bool { return second.says("whose supervisor was killed") })
	w.touch("p.stop")
	second.ends()
	w.complete(log, w.printed("p"))
}

// TestLogFullDisk checks that a full disk neither ends nor stops the worker. lifeline
// reports it once, and once that there is room again.
func TestLogFullDisk(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	disk := w.path("disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	w.wrap = []string{"unshare", "--mount", "sh", "-c",
		`mount -t tmpfs -o size=2m tmpfs "$0" && head -c 1500000 /dev/zero >"$0/filler" && exec "$@"`, disk}
	log := filepath.Join(disk, "log")
	p := w.print([]string{"--log", log, "--log-max-size", "100k", "--log-keep", "100"}, "p", 0, 4e6)
	worker := w.at("p.pid")
	inside := func(name string) string { return fmt.Sprintf("/proc/%d/root%s", worker.PID, name) }
	await.That(t, "the disk is full: "+read(p.err), func() bool { return p.says("cannot write the log") })
	bytesNow := func() int64 {
		text, _ := os.ReadFile(w.path("p.bytes"))
		n, _ := strconv.ParseInt(string(text), 10, 64)
		return n
	}
	before := bytesNow()
	await.That(t, "it prints on", func() bool { return bytesNow() > before+8e6 }) // more than any buffer
	if n := strings.Count(read(p.err), "cannot write"); n != 1 || !p.says("no space left on device") {
		t.Errorf("told %d times: %s", n, read(p.err))
	}
	if err := os.Remove(inside(disk + "/filler")); err != nil {
		t.Fatal(err)
	}
	await.That(t, "there is room again", func() bool { return p.says("can be written again") })
	await.That(t, "the log says what is missing", func() bool {
		text, _ := logged(inside(log))
		return bytes.Contains(text, []byte("bytes are missing here"))
	})
	w.touch("p.stop")
	await.That(t, "the printer ends", func() bool { return exists(w.path("p")) })
	if code := p.ends(); code != 0 {
		t.Errorf("exit code %d: %s", code, read(p.err))
	}
}

// TestLogLeftovers checks that a descendant that outlives the worker (--leftovers keep)
// delays neither tick nor cron, and that its output is in the log.
func TestLogLeftovers(t *testing.T) {
	w := newWorld(t)
	log := w.path("log")
	p := w.tick([]string{"--log", log, "--leftovers", "keep"}, "web", "sh", "-c",
		`echo early; (trap "" TERM; while [ ! -e "$0/late" ]; do sleep .01; done; echo late) & exit 0`, w.work)
	if code := p.ends(); code != 0 {
		t.Fatalf("exit code %d: %s", code, read(p.err))
	}
	if text, _ := logged(log); string(text) != "early\n" {
		t.Errorf("the log has %q when lifeline has ended", text)
	}
	// The next instance has the same logger.
	old := w.theLogger()
	next := w.tick([]string{"--log", log, "--leftovers", "keep"}, "web", "echo", "next")
	if code := next.ends(); code != 0 {
		t.Fatalf("exit code %d: %s", code, read(next.err))
	}
	if !old.Alive() || len(w.loggers()) != 1 {
		t.Errorf("the logger has gone, or there are two")
	}
	w.touch("late")
	await.That(t, "the last word is in the log",
		func() bool { text, _ := logged(log); return string(text) == "early\nnext\nlate\n" })
	await.That(t, "the logger has gone", func() bool { return !old.Alive() })
}

// TestLogPidOne checks that the logger is no leftover of the worker where lifeline, as
// pid 1 of a container, is the parent of every orphan.
func TestLogPidOne(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.wrap = []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	log := w.path("log")
	p := w.tick([]string{"--log", log, "--respawn", "--respawn-delay", "1ms", "--respawn-limit", "3/1m", "--kill-after",
		"1s"}, "web", "sh", "-c", "echo run; exit 3")
	if code := p.ends(); code != 3 || p.says("left") {
		t.Errorf("exit code %d: %s", code, read(p.err))
	}
	if text, _ := logged(log); string(text) != "run\nrun\nrun\n" {
		t.Errorf("the log has %q; %s", text, read(p.err))
	}
}

// TestLogNoFIFO checks that the command runs where the FIFO can't be made.
func TestLogNoFIFO(t *testing.T) {
	w := newWorld(t)
	log := w.path("log")
	if code := w.tick(nil, "web", "true").ends(); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if err := os.Mkdir(strings.TrimSuffix(w.file("web", "lock"), "lock")+"out", 0o700); err != nil {
		t.Fatal(err)
	}
	p := w.tick([]string{"--log", log}, "web", "echo", "said")
	if code := p.ends(); code != 0 || !p.says("the output is written nowhere") {
		t.Errorf("exit code %d: %s", code, read(p.err))
	}
	if text, _ := logged(log); string(text) != "said\n" {
		t.Errorf("the log has %q", text)
	}
}
