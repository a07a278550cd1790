package tasks_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
	"lifeline/proof/await"
	"lifeline/proof/need"
)

// worker is a command that behaves badly in the ways asked for. It says where it is
// by a file, and ends when the world does.
//   - term: it ignores SIGTERM;
//   - close: it closes what it has inherited;
//   - wipe: it empties its environment;
//   - title: it writes over its environment, as a process title does;
//   - leave: it leaves a grandchild behind that holds what it has inherited, and
//     which also wipes.
const worker = `
use strict; use POSIX ();
my ($code, $work, $tag, @how) = @ARGV;
my %how = map { $_ => 1 } @how;
$SIG{TERM} = 'IGNORE' if $how{term};
if ($how{close}) { POSIX::close($_) for 3 .. 1023 }
if ($how{leave}) {
	if (!fork()) {
		POSIX::setsid();
		exec('/usr/bin/env', '-i', $^X, '-e', $code, $code, $work, "$tag-grandchild", 'term') if !fork();
		POSIX::_exit(0);
	}
	wait();
	select(undef, undef, undef, .005) until -e "$work/$tag-grandchild";
}
exec('/usr/bin/env', '-i', $^X, '-e', $code, $code, $work, $tag, grep { $_ ne 'wipe' && $_ ne 'close' } @how) if $how{wipe};
$0 = 'a title ' . ('x' x 4000) if $how{title};
open(my $f, '>', "$work/$tag.new") or die; print $f "$$\n"; close $f;
rename("$work/$tag.new", "$work/$tag") or die;
exit 0 if $how{end};
select(undef, undef, undef, .02) while -e "$work/alive" && time() < $^T + 600;
`

// init plays a worker whose first thread ends (see the worker "leaderless").
func init() {
	path := os.Getenv("TASKS_TEST_LEADERLESS")
	if path == "" {
		return
	}
	signal.Ignore(unix.SIGTERM)
	go func() {
		await.Within(patience, func() bool {
			s, err := procscan.Lookup(os.Getpid())
			return err == nil && s.State == 'Z'
		})
		_ = os.WriteFile(path+".new", fmt.Appendln(nil, os.Getpid()), 0o644)
		_ = os.Rename(path+".new", path)
		await.Within(10*time.Minute, func() bool { return !exists(filepath.Join(filepath.Dir(path), "alive")) })
		os.Exit(0)
	}()
	_, _, _ = syscall.Syscall(unix.SYS_EXIT, 0, 0, 0) // of this thread, which init runs on
}

// world is a place of its own for one test: a state directory and a directory
// in which workers leave word.
type world struct {
	t         *testing.T
	dir, work string
	lifeline  string   // the program
	wrap      []string // words that every tick is started with
	ticks     []*tick
}

func newWorld(t *testing.T) *world {
	t.Helper()
	need.That(t, exists("/usr/bin/perl"), "perl")
	top, err := os.MkdirTemp("", "lifeline-fault")
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, dir: filepath.Join(top, "state"), work: filepath.Join(top, "work")}
	if w.lifeline, err = exec.LookPath("lifeline"); err != nil {
		t.Fatal(err)
	}
	// Others are to look in and leave word.
	if err := errors.Join(os.Chmod(top, 0o755), os.Mkdir(w.work, 0o777), os.Chmod(w.work, 0o777),
		os.WriteFile(w.path("alive"), nil, 0o644)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.Remove(w.path("alive")) // every worker ends
		for _, p := range w.ticks {
			_ = p.Process.Signal(unix.SIGCONT)
			select {
			case <-p.over:
			case <-time.After(patience):
				t.Errorf("%s never ended", p.Args[0])
				_ = p.Process.Kill()
				<-p.over
			}
		}
		// What is put back as the last thing may come in between.
		if !await.Within(time.Second, func() bool { return os.RemoveAll(top) == nil }) {
			t.Errorf("%s can't be removed", top)
		}
	})
	return w
}

// patience is how long a test waits for what must come, on a busy machine.
const patience = time.Minute

func exists(path string) bool { _, err := os.Lstat(path); return err == nil }

// needRoot settles that we may make namespaces and become others.
func needRoot(t *testing.T) {
	t.Helper()
	need.Root(t)
	for _, name := range []string{"unshare", "nsenter", "setpriv", "mount"} {
		_, err := exec.LookPath(name)
		need.That(t, err == nil, name)
	}
	need.Namespaces(t)
}

func (w *world) path(name string) string { return filepath.Join(w.work, name) }

// bad returns the command line of a worker that behaves badly.
func (w *world) bad(tag string, how ...string) []string {
	return append([]string{"/usr/bin/perl", "-e", worker, worker, w.work, tag}, how...)
}

// tick is a start of lifeline.
type tick struct {
	*exec.Cmd
	t        *testing.T
	out, err *os.File
	over     chan struct{}
}

// tick starts `lifeline NAME -- argv` with options before the name.
func (w *world) tick(options []string, name string, argv ...string) *tick {
	w.t.Helper()
	line := append(append([]string{"--dir", w.dir}, options...), name, "--")
	return w.run(append(line, argv...)...)
}

// run starts lifeline with arguments.
func (w *world) run(args ...string) *tick {
	w.t.Helper()
	all := append(append(append([]string(nil), w.wrap...), w.lifeline), args...)
	return w.start(exec.Command(all[0], all[1:]...))
}

func (w *world) start(cmd *exec.Cmd) *tick {
	w.t.Helper()
	p := &tick{Cmd: cmd, t: w.t, over: make(chan struct{})}
	for _, f := range []**os.File{&p.out, &p.err} {
		file, err := os.CreateTemp(w.work, ".out")
		if err != nil {
			w.t.Fatal(err)
		}
		w.t.Cleanup(func() { file.Close() })
		*f = file
	}
	if p.Stdout == nil {
		p.Stdout = p.out
	}
	if p.Stderr == nil {
		p.Stderr = p.err
	}
	p.Env = append(environ(), "GORACE=atexit_sleep_ms=0")
	if os.Getenv("GOCOVERDIR") != "" && len(w.wrap) > 0 { // another user may not write into that one
		p.Env = append(p.Env, "GOCOVERDIR="+w.work)
	}
	if err := p.Start(); err != nil {
		w.t.Fatal(err)
	}
	w.ticks = append(w.ticks, p)
	go func() { _ = p.Wait(); close(p.over) }()
	return p
}

// environ returns this process's environment without what would tell lifeline
// something.
func environ() []string {
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, "LIFELINE_") && !strings.HasPrefix(kv, "INVOCATION_ID=") { // see dismiss
			env = append(env, kv)
		}
	}
	return env
}

func read(f *os.File) string {
	text, _ := os.ReadFile(f.Name())
	return string(text)
}

func (p *tick) says(text string) bool { return strings.Contains(read(p.err), text) }

// ends waits for the end and gives the exit code.
func (p *tick) ends() int {
	p.t.Helper()
	select {
	case <-p.over:
	case <-time.After(patience):
		p.t.Fatalf("%s goes on and on; it said %q", p.Args[0], read(p.err))
	}
	if status := p.ProcessState.Sys().(syscall.WaitStatus); status.Signaled() {
		return 128 + int(status.Signal())
	}
	return p.ProcessState.ExitCode()
}

// silent wants it to end with the code, saying nothing.
func (p *tick) silent(code int) {
	p.t.Helper()
	if got := p.ends(); got != code || read(p.out)+read(p.err) != "" {
		p.t.Fatalf("exit code %d, not %d; it said %q", got, code, read(p.out)+read(p.err))
	}
}

// id returns the supervisor.
func (p *tick) id() procscan.ID { return lookup(p.t, p.Process.Pid) }

func lookup(t *testing.T, pid int) procscan.ID {
	t.Helper()
	s, err := procscan.Lookup(pid)
	if err != nil {
		t.Fatal(err)
	}
	return s.ID
}

// kill ends it without a chance to do anything.
func (p *tick) kill() {
	p.t.Helper()
	_ = p.Process.Kill()
	if code := p.ends(); code != 137 {
		p.t.Fatalf("exit code %d before the kill; it said %q", code, read(p.err))
	}
}

// at waits until a worker has left word, and says who it is.
func (w *world) at(tag string) procscan.ID {
	w.t.Helper()
	if !await.Within(patience, func() bool { return exists(w.path(tag)) }) {
		w.t.Fatalf("%s never came; so far they said %q", tag, w.said())
	}
	text, err := os.ReadFile(w.path(tag))
	if err != nil {
		w.t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text)))
	if err != nil {
		w.t.Fatal(err)
	}
	return lookup(w.t, pid)
}

func (w *world) said() string {
	var s strings.Builder
	for _, p := range w.ticks {
		s.WriteString(read(p.err))
	}
	return s.String()
}

// not wants that no worker left word.
func (w *world) not(tag string) {
	w.t.Helper()
	if exists(w.path(tag)) {
		w.t.Errorf("%s was started", tag)
	}
}

func (w *world) stop(id procscan.ID) {
	w.t.Helper()
	if err := unix.Kill(id.PID, unix.SIGSTOP); err != nil {
		w.t.Fatal(err)
	}
	await.That(w.t, "stopped", func() bool { s, err := procscan.Lookup(id.PID); return err == nil && s.Stopped() })
}

// file returns the path of the name's lock or run file.
func (w *world) file(name, ending string) string {
	found, _ := filepath.Glob(filepath.Join(w.dir, name+"-????????????."+ending))
	if len(found) != 1 {
		return ""
	}
	return found[0]
}

func (w *world) inode(name, ending string) uint64 {
	var st unix.Stat_t
	_ = unix.Lstat(w.file(name, ending), &st)
	return st.Ino
}

// recorded are the pids in the run file.
type recorded struct{ supervisor, worker string }

// record returns what stands in the run file, nil when it can't be read.
func (w *world) record(name string) *recorded {
	text, _ := os.ReadFile(w.file(name, "run"))
	fields := strings.Fields(string(text))
	if len(text) != 256 || len(fields) != 10 || fields[0] != "lifeline2" {
		return nil
	}
	supervisor, _, _ := strings.Cut(fields[5], ":")
	worker, _, _ := strings.Cut(fields[6], ":")
	return &recorded{supervisor, worker}
}
