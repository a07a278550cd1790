package tasks_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"hash/crc64"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/lifeline/child"
	"lifeline/lifeline/clerk"
	"lifeline/procscan"
)

var crcTable = crc64.MakeTable(crc64.ECMA)

// printed is what a printer says of itself in the end.
type printed struct {
	Sum     string // of all that it has printed
	Bytes   int64
	Lines   int
	Longest time.Duration // one write(2)
	Took    time.Duration
	Error   string
	Signal  string // that reached it
}

// The test program is also a worker that prints: numbered lines of all lengths,
// in pieces of all sizes, at a rate (bytes a second), up to a number of bytes or
// until FILE.stop is there. SIGTERM doesn't end it. It waits for FILE.go after
// the first piece, if FILE.wait is there.
func init() {
	spec := os.Getenv("TASKS_TEST_PRINT")
	if spec == "" || child.IsStub() || clerk.Is() {
		return
	}
	var file string
	var total, rate int64
	if _, err := fmt.Sscanf(spec, "%s %d %d", &file, &total, &rate); err != nil {
		panic(err)
	}
	os.Exit(printer(file, total, rate))
}

func printer(file string, total, rate int64) int {
	heard := make(chan os.Signal, 10)
	signal.Notify(heard, unix.SIGTERM, unix.SIGPIPE, unix.SIGHUP)
	var p printed
	sum := crc64.New(crcTable)
	fast := rate >= 10<<20
	random := rand.New(rand.NewPCG(1, 2))
	var text, block []byte // a fast one prints a block of lines again and again
	leave := func(name string, v any) {
		line, _ := json.Marshal(v)
		_ = os.WriteFile(name+".new", line, 0o644)
		_ = os.Rename(name+".new", name)
	}
	leave(file+".pid", os.Getpid())
	began := time.Now()
	goes := func() bool { return !exists(file+".stop") && exists(filepath.Join(filepath.Dir(file), "alive")) }
	for first := true; (total == 0 || p.Bytes < total) && goes(); first = false {
		size := 1 + random.IntN(4<<10)
		if fast {
			size = 1 + random.IntN(128<<10)
		}
		if fast && len(text) < size && len(block) > 0 {
			text = append(text, block...)
		}
		for len(text) < size || fast && len(block) == 0 {
			if len(text) > 5e6 {
				block = append(block, text...)
			}
			p.Lines++
			text = fmt.Appendf(text, "<%09d ", p.Lines)
			for n := random.IntN(200); n > 0; n-- {
				text = append(text, byte('a'+n%26))
			}
			text = append(text, ">\n"...)
		}
		for rest := text[:size]; len(rest) > 0; {
			before := time.Now()
			n, err := unix.Write(1, rest)
			p.Longest = max(p.Longest, time.Since(before))
			if err == unix.EINTR {
				continue
			}
			if err != nil {
				p.Error = err.Error()
				leave(file, p)
				return 9
			}
			sum.Write(rest[:n])
			p.Bytes += int64(n)
			rest = rest[n:]
		}
		text = text[size:]
		if first && exists(file+".wait") {
			leave(file+".waits", p.Bytes)
			for !exists(file+".go") && goes() {
				time.Sleep(time.Millisecond)
			}
			began = time.Now().Add(-time.Duration(float64(p.Bytes) / float64(rate) * 1e9))
		}
		if !fast {
			leave(file+".bytes", p.Bytes)
		}
		if ahead := time.Duration(float64(p.Bytes)/float64(rate)*1e9) - time.Since(began); ahead > 0 {
			time.Sleep(ahead)
		}
	}
	p.Took = time.Since(began)
	for len(heard) > 0 {
		if sig := <-heard; sig == unix.SIGPIPE {
			p.Signal = sig.String()
		}
	}
	p.Sum = fmt.Sprintf("%x", sum.Sum64())
	leave(file, p)
	return 0
}

// print starts a printer under lifeline.
func (w *world) print(options []string, tag string, total, rate int64) *tick {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	spec := fmt.Sprintf("TASKS_TEST_PRINT=%s %d %d", w.path(tag), total, rate)
	return w.tick(append([]string{"--env", spec}, options...), "web", self)
}

// printed waits for a printer's last word.
func (w *world) printed(tag string) (p printed) {
	w.t.Helper()
	await(w.t, "the printer ends; they said "+w.said(), func() bool { return exists(w.path(tag)) })
	text, err := os.ReadFile(w.path(tag))
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	if err != nil || p.Error != "" || p.Signal != "" {
		w.t.Errorf("the printer: %v, error %q, signal %q", err, p.Error, p.Signal)
	}
	return p
}

func (w *world) touch(name string) {
	w.t.Helper()
	if err := os.WriteFile(w.path(name), nil, 0o644); err != nil {
		w.t.Fatal(err)
	}
}

// logged is all that is in the log and its older files.
func logged(path string) (text []byte, files int) {
	for n := 0; ; n++ {
		name := path
		if n > 0 {
			name += "." + strconv.Itoa(n)
		}
		part, err := os.ReadFile(name)
		if err != nil {
			return text, n
		}
		text = append(part, text...)
	}
}

// complete wants the log to be what was printed, byte by byte.
func (w *world) complete(path string, p printed) (files int) {
	w.t.Helper()
	var text []byte
	await(w.t, "as many bytes as were printed are in the log", func() bool {
		text, files = logged(path)
		return int64(len(text)) >= p.Bytes
	})
	if sum := fmt.Sprintf("%x", crc64.Checksum(text, crcTable)); sum != p.Sum || int64(len(text)) != p.Bytes {
		w.t.Errorf("%d bytes were printed and %d logged; the sums are %s and %s", p.Bytes, len(text), p.Sum, sum)
	}
	return files
}

// clerks are the processes that read the world's pipe of web.
func (w *world) clerks() (ids []procscan.ID) {
	w.t.Helper()
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, _ := os.ReadFile(f)
		if !strings.HasPrefix(string(line), "lifeline-clerk\x001\x00web\x00") {
			continue
		}
		fds, _ := filepath.Glob(filepath.Dir(f) + "/fd/*")
		for _, fd := range fds {
			if to, _ := os.Readlink(fd); strings.HasPrefix(to, w.dir+"/web-") && strings.Contains(to, ".out") {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(f)))
				if s, err := procscan.Lookup(pid); err == nil {
					ids = append(ids, s.ID)
				}
				break
			}
		}
	}
	return ids
}

// theClerk waits for one.
func (w *world) theClerk() (id procscan.ID) {
	w.t.Helper()
	await(w.t, "there is a clerk", func() bool {
		all := w.clerks()
		if len(all) > 0 {
			id = all[0]
		}
		return len(all) == 1
	})
	return id
}

// 200 MB/s through ten rotations and more.
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
	t.Logf("%.0f MB/s, %d files, the longest write took %s", float64(said.Bytes)/said.Took.Seconds()/1e6, files, said.Longest)
}

// The supervisor is killed, the worker adopted, the program replaced in place:
// the worker prints on, and the log has it all.
func TestLogSurvivesSupervisor(t *testing.T) {
	w := newWorld(t)
	log := w.path("log")
	options := []string{"--log", log, "--log-max-size", "300k", "--log-keep", "1000"}
	first := w.print(options, "p", 0, 3e6)
	worker := w.at("p.pid")
	grown := func() {
		t.Helper()
		text, _ := logged(log)
		await(t, "the log grows", func() bool { now, _ := logged(log); return len(now) > len(text)+100_000 })
	}
	grown()
	clerk := w.theClerk()
	first.kill()
	grown() // with nobody there
	if !worker.Alive() || !clerk.Alive() {
		t.Fatalf("worker alive: %v, clerk alive: %v", worker.Alive(), clerk.Alive())
	}
	second := w.tick(options, "web", "never")
	await(t, "adopted", func() bool { return second.says("whose supervisor was killed") })
	grown()
	if now := w.theClerk(); now != clerk || len(w.clerks()) != 1 {
		t.Errorf("the clerk was %s and is %s; there are %d", clerk, now, len(w.clerks()))
	}
	await(t, "the supervisor answers", func() bool {
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
	await(t, "the clerk has gone", func() bool { return !clerk.Alive() })
}

// The clerk is killed: the worker doesn't notice, another one goes on, and what
// is missing is no more than the one had in its hands.
func TestLogSurvivesClerk(t *testing.T) {
	w := newWorld(t)
	log := w.path("log")
	p := w.print([]string{"--log", log}, "p", 0, 5e6)
	for range 3 {
		was := w.theClerk()
		text, _ := logged(log)
		await(t, "the log grows", func() bool { now, _ := logged(log); return len(now) > len(text)+200_000 })
		_ = unix.Kill(was.PID, unix.SIGKILL)
		await(t, "there is another", func() bool { return w.theClerk() != was })
	}
	w.touch("p.stop")
	if code := p.ends(); code != 0 || read(p.err) != "" {
		t.Errorf("exit code %d: %s", code, read(p.err))
	}
	said := w.printed("p")
	var text []byte
	await(t, "the clerks have gone", func() bool { return len(w.clerks()) == 0 })
	text, _ = logged(log)
	if missing := said.Bytes - int64(len(text)); missing < 0 || missing > 3*64<<10 {
		t.Errorf("%d bytes were printed, %d are missing", said.Bytes, missing)
	}
	last := 0
	for line := range bytes.Lines(text) {
		var n int
		if k, _ := fmt.Sscanf(string(line), "<%9d ", &n); k != 1 || len(line) < 12 || !bytes.HasSuffix(line, []byte(">\n")) || bytes.Count(line, []byte("<")) > 1 {
			continue // cut by the loss
		}
		if n <= last {
			t.Fatalf("line %d comes after line %d", n, last)
		}
		last = n
	}
}

// Both are killed at once: the worker may print on without a signal or an
// error, and the next tick finds what it has printed in the pipe.
func TestLogSurvivesBoth(t *testing.T) {
	w := newWorld(t)
	log := w.path("log")
	w.touch("p.wait")
	options := []string{"--log", log}
	first := w.print(options, "p", 50_000, 5e6)
	await(t, "the printer waits", func() bool { return exists(w.path("p.waits")) })
	began, _ := os.ReadFile(w.path("p.waits"))
	await(t, "its first words are in the log", func() bool {
		text, _ := logged(log)
		return strconv.Itoa(len(text)) == string(began)
	})
	worker, clerk := w.at("p.pid"), w.theClerk()
	_ = unix.Kill(first.Process.Pid, unix.SIGSTOP) // so that it starts no other one
	_ = unix.Kill(clerk.PID, unix.SIGKILL)
	first.kill()
	await(t, "the clerk is dead", func() bool { return !clerk.Alive() })
	w.touch("p.go")
	said := w.printed("p") // it ends, although nobody reads
	await(t, "the worker has ended", func() bool { return !worker.Alive() })
	// A pipe that nobody has open is gone: somebody had to take over before.
	if text, _ := logged(log); int64(len(text)) >= said.Bytes {
		t.Fatalf("who has written %d bytes?", len(text))
	}
}

// The same with a worker that lives to see the next tick: nothing is lost.
func TestLogAdoptsPipe(t *testing.T) {
	w := newWorld(t)
	log := w.path("log")
	w.touch("p.wait")
	options := []string{"--log", log}
	first := w.print(options, "p", 0, 5e4)
	await(t, "the printer waits", func() bool { return exists(w.path("p.waits")) })
	began, _ := os.ReadFile(w.path("p.waits"))
	await(t, "its first words are in the log", func() bool {
		text, _ := logged(log)
		return strconv.Itoa(len(text)) == string(began)
	})
	clerk := w.theClerk()
	_ = unix.Kill(first.Process.Pid, unix.SIGSTOP)
	_ = unix.Kill(clerk.PID, unix.SIGKILL)
	first.kill()
	await(t, "the clerk is dead", func() bool { return !clerk.Alive() })
	w.touch("p.go")
	await(t, "it prints into the pipe", func() bool {
		now, _ := os.ReadFile(w.path("p.bytes"))
		was, _ := strconv.Atoi(string(began))
		n, _ := strconv.Atoi(string(now))
		return n > was+10_000
	})
	second := w.tick(options, "web", "never")
	await(t, "adopted", func() bool { return second.says("whose supervisor was killed") })
	w.touch("p.stop")
	second.ends()
	w.complete(log, w.printed("p"))
}

// A full disk neither ends nor stops the worker; it is told once, and so is
// that there is room again.
func TestLogFullDisk(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	disk := w.path("disk")
	if err := os.Mkdir(disk, 0o755); err != nil {
		t.Fatal(err)
	}
	w.wrap = []string{"unshare", "--mount", "sh", "-c", `mount -t tmpfs -o size=2m tmpfs "$0" && head -c 1500000 /dev/zero >"$0/filler" && exec "$@"`, disk}
	log := filepath.Join(disk, "log")
	p := w.print([]string{"--log", log, "--log-max-size", "100k", "--log-keep", "100"}, "p", 0, 4e6)
	worker := w.at("p.pid")
	inside := func(name string) string { return fmt.Sprintf("/proc/%d/root%s", worker.PID, name) }
	await(t, "the disk is full: "+read(p.err), func() bool { return p.says("cannot write the log") })
	bytesNow := func() int64 {
		text, _ := os.ReadFile(w.path("p.bytes"))
		n, _ := strconv.ParseInt(string(text), 10, 64)
		return n
	}
	before := bytesNow()
	await(t, "it prints on", func() bool { return bytesNow() > before+8e6 }) // more than any buffer
	if n := strings.Count(read(p.err), "cannot write"); n != 1 || !p.says("no space left on device") {
		t.Errorf("told %d times: %s", n, read(p.err))
	}
	if err := os.Remove(inside(disk + "/filler")); err != nil {
		t.Fatal(err)
	}
	await(t, "there is room again", func() bool { return p.says("can be written again") })
	w.touch("p.stop")
	var text []byte
	await(t, "the printer ends", func() bool {
		now, _ := logged(inside(log))
		if len(now) > 0 {
			text = now
		}
		return exists(w.path("p"))
	})
	if code := p.ends(); code != 0 {
		t.Errorf("exit code %d: %s", code, read(p.err))
	}
	said := w.printed("p")
	if !bytes.Contains(text, []byte("bytes are missing here")) {
		t.Errorf("the log doesn't say what is missing; %d bytes were printed", said.Bytes)
	}
}

// A descendant that outlives the worker (--leftovers keep) holds nobody up, and
// what it says is written down.
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
	// The next instance has the same clerk.
	old := w.theClerk()
	next := w.tick([]string{"--log", log, "--leftovers", "keep"}, "web", "echo", "next")
	if code := next.ends(); code != 0 {
		t.Fatalf("exit code %d: %s", code, read(next.err))
	}
	if !old.Alive() || len(w.clerks()) != 1 {
		t.Errorf("the clerk has gone, or there are two")
	}
	w.touch("late")
	await(t, "the last word is in the log", func() bool { text, _ := logged(log); return string(text) == "early\nnext\nlate\n" })
	await(t, "the clerk has gone", func() bool { return !old.Alive() })
}

// As pid 1 of a container lifeline is the parent of whatever has none: the
// clerk is no leftover of the worker.
func TestLogPidOne(t *testing.T) {
	needRoot(t)
	w := newWorld(t)
	w.wrap = []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	log := w.path("log")
	p := w.tick([]string{"--log", log, "--respawn", "--respawn-delay", "1ms", "--respawn-limit", "3/1m", "--kill-after", "1s"}, "web", "sh", "-c", "echo run; exit 3")
	if code := p.ends(); code != 3 || p.says("left") {
		t.Errorf("exit code %d: %s", code, read(p.err))
	}
	if text, _ := logged(log); string(text) != "run\nrun\nrun\n" {
		t.Errorf("the log has %q; %s", text, read(p.err))
	}
}

// A FIFO that can't be made is no reason not to run.
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
	if code := p.ends(); code != 0 || !p.says("nobody will write the output down") {
		t.Errorf("exit code %d: %s", code, read(p.err))
	}
	if text, _ := logged(log); string(text) != "said\n" {
		t.Errorf("the log has %q", text)
	}
}
