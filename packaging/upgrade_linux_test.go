package packaging

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/await"
	"lifeline/proof/need"
	"lifeline/proof/pid"
)

// The test program also plays an old supervisor, whose files record.sh has kept.
func init() {
	roles["as-supervisor"] = func(args []string) error { return play(args[0], args[1]) }
}

// present builds the present program once.
var present = sync.OnceValues(func() (string, error) {
	out := filepath.Join(work, "lifeline")
	return out, buildLifeline("..", out)
})

func buildLifeline(src, out string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-tags", "urfave_cli_no_docs,osusergo,netgo",
		"-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	return nil
}

// machine is a directory in which a release has run, and the program that continues
// there.
type machine struct {
	*testing.T
	release, top, program string
}

// releases runs test for each release in testdata, with the present program.
func releases(t *testing.T, test func(m machine)) {
	need.Programs(t, "go", "python3")
	program, err := present()
	if err != nil {
		t.Fatal(err)
	}
	found, _ := filepath.Glob("testdata/[0-9]*")
	if len(found) == 0 {
		t.Fatal("no release is kept")
	}
	for _, release := range found {
		t.Run(filepath.Base(release), func(t *testing.T) {
			top, err := filepath.EvalSymlinks(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			m := machine{t, release, top, filepath.Join(top, "lifeline")}
			run(t, nil, "cp", program, m.program)
			if err := os.Mkdir(filepath.Join(top, "dir"), 0o700); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				_ = exec.Command(program, "--dir", top+"/dir", "terminate", "--now", "web").Run()
				pid.KillBelow(top)
				for _, n := range m.workers() { // python's program is elsewhere
					if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", n)); strings.Contains(string(text), top) {
						_ = syscall.Kill(n, syscall.SIGKILL)
					}
				}
			})
			test(m)
		})
	}
}

// kept returns a file of the release, with this machine's paths in it.
func (m machine) kept(name string) string {
	m.Helper()
	text, err := keptFile(m.release, m.top, name)
	if err != nil {
		m.Fatal(err)
	}
	return text
}

func keptFile(release, top, name string) (string, error) {
	text, err := os.ReadFile(filepath.Join(release, name))
	worker, err2 := filepath.Abs("testdata/worker.py")
	if err == nil {
		err = err2
	}
	return strings.NewReplacer("DIR", top, "WORKER", worker).Replace(string(text)), err
}

// argv returns the command line with which the release started web.
func (m machine) argv() []string { return strings.Split(strings.TrimSpace(m.kept("argv")), "\n") }

// restore puts the release's state directory, written before this boot, in its place.
func (m machine) restore() {
	m.Helper()
	files, err := os.ReadDir(filepath.Join(m.release, "state"))
	if err != nil {
		m.Fatal(err)
	}
	boot := regexp.MustCompile(`"boot":"([^"]+)"`).FindStringSubmatch(m.kept("state/" + fileOf(files, "web", ".state")))[1]
	for _, f := range files {
		const before = "01234567-89ab-cdef-0123-456789abcdef"
		text := strings.ReplaceAll(m.kept("state/"+f.Name()), `"boot":"`+boot, `"boot":"`+before)
		if strings.HasSuffix(f.Name(), ".run") {
			text = changed(text, func(field []string) { field[1] = before })
		}
		if err := os.WriteFile(filepath.Join(m.top, "dir", f.Name()), []byte(text), 0o600); err != nil {
			m.Fatal(err)
		}
	}
}

func fileOf(files []os.DirEntry, name, ending string) string {
	for _, f := range files {
		if strings.HasPrefix(f.Name(), name+"-") && strings.HasSuffix(f.Name(), ending) {
			return f.Name()
		}
	}
	return "none"
}

// says runs a command of the program, and returns its code and its whole output.
func (m machine) says(args ...string) (int, string) { return saysOf(m.program, m.top, args...) }

func saysOf(program, top string, args ...string) (int, string) {
	cmd := exec.Command(program, append([]string{"--dir", top + "/dir"}, args...)...)
	out, _ := cmd.CombinedOutput()
	return cmd.ProcessState.ExitCode(), string(out)
}

// wants checks the code and the output of a command.
func (m machine) wants(code int, text string, args ...string) {
	m.Helper()
	if c, out := m.says(args...); c != code || !regexp.MustCompile(text).MatchString(out) {
		m.Errorf("%s gives %d and not %d, or it doesn't say %s:\n%s", args, c, code, text, out)
	}
}

type status struct {
	Running         bool
	PID, Supervisor int
	State, Status   string
}

func (m machine) status() status {
	var list []status
	if _, out := m.says("status", "--json", "web"); json.Unmarshal([]byte(out), &list) != nil || len(list) != 1 {
		return status{}
	}
	return list[0]
}

// lines returns the lines that the workers have written.
func (m machine) lines() []string {
	text, _ := os.ReadFile(filepath.Join(m.top, "pids"))
	return strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
}

// workers returns the pids of the workers that have started, the last worker last.
func (m machine) workers() (pids []int) {
	for _, line := range m.lines() {
		if first, _, ok := strings.Cut(line, " "); ok {
			n, _ := strconv.Atoi(first)
			pids = append(pids, n)
		}
	}
	return pids
}

// supervise starts web with the release's command line; over gets its exit code.
func (m machine) supervise(program string) (p *os.Process, over chan int) {
	m.Helper()
	return m.start(exec.Command(program, m.argv()...))
}

func (m machine) start(cmd *exec.Cmd) (p *os.Process, over chan int) {
	m.Helper()
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		m.Fatal(err)
	}
	over = make(chan int, 1)
	go func() {
		_ = cmd.Wait()
		over <- cmd.ProcessState.ExitCode()
	}()
	return cmd.Process, over
}

// ends terminates web with program, and checks its supervisor's code.
func (m machine) ends(program string, over chan int, want int) {
	m.Helper()
	if code, out := saysOf(program, m.top, "terminate", "web"); code != 0 {
		m.Errorf("terminate: %d: %s", code, out)
	}
	select {
	case code := <-over:
		if code != want {
			m.Errorf("the supervisor ended with %d, not %d", code, want)
		}
	case <-time.After(await.Limit):
		m.Error("the supervisor doesn't end")
	}
	for _, n := range m.workers() {
		if s, err := pid.Look(n); err == nil && s.State != 'Z' {
			m.Errorf("worker %d lives on", n)
		}
	}
}

const terminated = 128 + int(syscall.SIGTERM)

// goesOn checks that supervisor has web with the same worker, and that all the worker's
// descriptors work: notify socket, line, listening socket, kept descriptor.
func (m machine) goesOn(supervisor, worker int) {
	m.Helper()
	await.That(m, "the worker is the supervisor's", func() bool {
		s := m.status()
		return s.Running && s.Supervisor == supervisor && s.PID == worker && s.State == "ready" && s.Status == "serving"
	})
	m.wants(9, "", "-E", "9", "web", "--", "false")
	m.wants(0, "", "signal", "web", "USR1")
	await.That(m, "the worker's ping is answered", func() bool { return m.lines()[len(m.lines())-1] == "pong" })
	await.That(m, "the worker's status arrives", func() bool { return m.status().Status == "asked" })
	conn, err := net.Dial("unix", m.top+"/socket")
	if err != nil {
		m.Fatalf("nothing listens any more: %v", err)
	}
	conn.Close()
	n := len(m.workers())
	if err := syscall.Kill(worker, syscall.SIGKILL); err != nil {
		m.Fatal(err)
	}
	await.That(m, "it is respawned", func() bool { return len(m.workers()) == n+1 })
	if last := m.lines()[len(m.lines())-1]; !strings.HasSuffix(last, " 1") {
		m.Errorf("the kept descriptor is lost: %s", last)
	}
	await.That(m, "the next worker is ready", func() bool { return m.status().State == "ready" })
	m.wants(0, `(?m)^2.* SIGKILL `, "history", "web")
}

// TestUpgradeState checks that a release's journals, pauses and records are read after a
// reboot.
func TestUpgradeState(t *testing.T) {
	releases(t, func(m machine) {
		m.restore()
		m.wants(0, `(?ms)^2.* ok .*^2.* exit 3 .*2 runs: 1 ok, 0 stopped, 1 failed`, "history", "job")
		m.wants(1, `WARNING - job: last success .* last run: exit 3`, "check", "job", "--max-age", "36500d")
		m.wants(2, `CRITICAL - job: last success`, "check", "job", "--max-age", "1s")
		m.wants(0, "", "report", "--out", m.top+"/page.html")
		page, err := os.ReadFile(m.top + "/page.html")
		if err != nil || !strings.Contains(string(page), "what it printed last") {
			m.Errorf("the page lacks the failed job's output: %v", err)
		}
		m.wants(3, `paused until`, "status", "app")
		m.wants(0, `app: paused`, "-v", "app", "--", "touch", m.top+"/ran")
		if _, err := os.Stat(m.top + "/ran"); err == nil {
			m.Error("the pause is forgotten")
		}
		m.wants(3, `web +not running`, "status", "web")
		_, over := m.supervise(m.program)
		await.That(m, "it starts again", func() bool { return m.status().State == "ready" })
		m.wants(0, `the machine went down`, "history", "web")
		m.ends(m.program, over, terminated)
	})
}

// TestUpgradeControl checks that the control socket answers a release's commands as the
// release did.
func TestUpgradeControl(t *testing.T) {
	numbers := regexp.MustCompile(`[0-9N]+(\.[0-9N]+)?(ms|µs|s|m)?`)
	releases(t, func(m machine) {
		_, over := m.supervise(m.program)
		await.That(m, "it starts", func() bool { return m.status().State == "ready" })
		sockets, _ := filepath.Glob(m.top + "/dir/*.ctl")
		if len(sockets) != 1 {
			m.Fatalf("control sockets: %q", sockets)
		}
		for talk := m.kept("control"); talk != ""; {
			var request, want string
			request, talk, _ = strings.Cut(talk, "\n")
			want, talk, _ = strings.Cut(talk, "\n")
			got := ask(m.T, sockets[0], request)
			if numbers.ReplaceAllString(got, "N") != numbers.ReplaceAllString(want, "N") {
				m.Errorf("%s is answered with %q and was with %q", request, got, want)
			}
		}
		<-over
	})
}

func ask(t *testing.T, path, request string) string {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(await.Limit))
	fmt.Fprintln(conn, request)
	answer, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		t.Fatalf("%s: %v", request, err)
	}
	return strings.TrimSpace(answer)
}

// TestUpgradeOrphan checks that an orphan of a release is adopted by its record, its marker
// and its lock.
func TestUpgradeOrphan(t *testing.T) {
	releases(t, func(m machine) {
		m.restore()
		_, over := m.asSupervisor("orphan", nil)
		if code := <-over; code != 0 {
			m.Fatal("no orphan")
		}
		p, over := m.supervise(m.program)
		await.That(m, "the worker is adopted", func() bool {
			s := m.status()
			return s.Supervisor == p.Pid && s.PID == m.workers()[0]
		})
		if n := len(m.workers()); n != 1 {
			m.Errorf("%d workers", n)
		}
		m.ends(m.program, over, 0) // an adopted worker's code isn't known
	})
}

// TestUpgradeHandOver checks that the present program takes up a release's hand-over.
func TestUpgradeHandOver(t *testing.T) {
	releases(t, func(m machine) {
		m.restore()
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			m.Fatal(err)
		}
		reply, theirs := os.NewFile(uintptr(pair[0]), "reply"), os.NewFile(uintptr(pair[1]), "theirs")
		defer reply.Close()
		p, over := m.asSupervisor("hand-over", theirs)
		theirs.Close()
		answer, err := bufio.NewReader(reply).ReadString('\n')
		if err != nil || answer != fmt.Sprintf("ok pid %d goes on\n", p.Pid) {
			m.Fatalf("who asked for it hears %q, %v", answer, err)
		}
		await.That(m, "the worker starts", func() bool { return len(m.workers()) == 1 })
		m.goesOn(p.Pid, m.workers()[0])
		m.ends(m.program, over, terminated)
	})
}

// TestUpgradeFromRelease builds the release, and upgrades from it in place, by adoption,
// and with both programs at once.
func TestUpgradeFromRelease(t *testing.T) {
	need.Time(t, "compiles a release")
	releases(t, func(m machine) {
		commit := "v" + filepath.Base(m.release)
		if exec.Command("git", "cat-file", "-e", commit+"^{commit}").Run() != nil {
			commit = regexp.MustCompile("commit ([0-9a-f]+)").FindStringSubmatch(m.kept("version"))[1]
		}
		if exec.Command("git", "cat-file", "-e", commit+"^{commit}").Run() != nil {
			m.Logf("this clone's history lacks %s, from which %s was built: its own commit stands for it", commit, m.release)
			commit = "HEAD"
		}
		src, old, now := m.top+"/src", m.top+"/old", m.program
		run(m.T, nil, "sh", "-c", `mkdir "$1" && cd "$(git rev-parse --show-toplevel)" &&
git archive "$0" | tar -C "$1" -xf -`, commit, src)
		if err := buildLifeline(src, old); err != nil {
			m.Fatal(err)
		}
		installed := m.top + "/installed"
		install := func(program string) {
			run(m.T, nil, "sh", "-c", `cp "$0" "$1.new" && mv "$1.new" "$1"`, program, installed)
		}

		// In place: reload --self, by either program's command.
		install(old)
		p, over := m.supervise(installed)
		await.That(m, "the release starts", func() bool { return m.status().State == "ready" })
		install(now)
		for _, program := range []string{now, old} {
			if code, out := saysOf(program, m.top, "reload", "--self", "web"); code != 0 || !strings.Contains(out, "goes on") {
				m.Fatalf("reload --self: %d: %s", code, out)
			}
		}
		if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", p.Pid)); exe != installed {
			m.Errorf("the supervisor is %q, %v", exe, err)
		}
		m.goesOn(p.Pid, m.workers()[0])
		for _, program := range []string{now, old} {
			for _, command := range []string{"restart", "reload"} {
				if code, out := saysOf(program, m.top, command, "web"); code != 0 {
					m.Errorf("%s: %d: %s", command, code, out)
				}
			}
		}
		if n := len(m.workers()); n != 6 {
			m.Errorf("%d workers, not 6: %q", n, m.lines())
		}
		m.ends(old, over, terminated)

		// By adoption: forward and back.
		p, over = m.supervise(old)
		await.That(m, "the release starts again", func() bool {
			s := m.status()
			return s.State == "ready" && s.Supervisor == p.Pid
		})
		n := len(m.workers())
		for _, program := range []string{now, old} {
			_ = p.Kill()
			<-over
			p, over = m.supervise(program)
			await.That(m, "the worker is adopted", func() bool {
				s := m.status()
				return s.Supervisor == p.Pid && s.PID == m.workers()[n-1]
			})
		}
		if got := len(m.workers()); got != n {
			m.Errorf("%d workers, not %d", got, n)
		}
		m.ends(now, over, 0)

		// Of ten concurrent starts of each program a single start runs.
		var all []chan int
		for i := range 20 {
			program := now
			if i%2 == 0 {
				program = old
			}
			_, over := m.start(exec.Command(program, "--dir", m.top+"/dir", "race", "--",
				"sh", "-c", `echo x >>"$0"; exec sleep 600`, m.top+"/raced"))
			all = append(all, over)
		}
		codes := make(chan int)
		for _, over := range all {
			go func() { codes <- <-over }()
		}
		for range 19 {
			if code := <-codes; code != 0 {
				m.Errorf("one that stands down ends with %d", code)
			}
		}
		await.That(m, "one runs", func() bool { text, _ := os.ReadFile(m.top + "/raced"); return len(text) > 0 })
		m.wants(0, "", "terminate", "race")
		if code := <-codes; code != terminated {
			m.Errorf("the one that ran ended with %d", code)
		}
		if text, _ := os.ReadFile(m.top + "/raced"); string(text) != "x\n" {
			m.Errorf("it ran %q", text)
		}
	})
}

// asSupervisor starts the test program as the release's supervisor.
func (m machine) asSupervisor(how string, reply *os.File) (*os.Process, chan int) {
	m.Helper()
	self, err := os.Executable()
	if err != nil {
		m.Fatal(err)
	}
	cmd := exec.Command(self, "as-supervisor", how, m.release)
	cmd.Env = append(os.Environ(), "TOP="+m.top)
	if reply != nil {
		cmd.ExtraFiles = []*os.File{reply}
	}
	return m.start(cmd)
}

// play acts as the release's supervisor with a worker. It has the release's locks, sockets
// and record, with this machine's pids. Then it ends, or hands over to TOP/lifeline.
func play(how, release string) error {
	top, self := os.Getenv("TOP"), os.Getpid()
	os.Unsetenv("TOP")
	kept := func(name string) string {
		text, err := keptFile(release, top, name)
		if err != nil {
			panic(err)
		}
		return text
	}
	open := func(ending string, flags int) int {
		found, _ := filepath.Glob(top + "/dir/web-*" + ending)
		fd, err := unix.Open(found[0], flags, 0)
		if err == nil {
			err = unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		}
		if err != nil {
			panic(err)
		}
		return fd
	}
	lock, runFile := open(".lock", unix.O_RDWR), open(".run", unix.O_RDONLY)
	listening, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err == nil {
		err = unix.Bind(listening, &unix.SockaddrUnix{Name: top + "/socket"})
	}
	if err == nil {
		err = unix.Listen(listening, 10)
	}
	if err != nil {
		return err
	}
	env := append(strings.Split(strings.TrimSpace(kept("environ")), "\n"), "PATH="+os.Getenv("PATH"))
	notify, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM, 0)
	for i, v := range env {
		if address, ok := strings.CutPrefix(v, "NOTIFY_SOCKET="); ok && err == nil {
			err = unix.Bind(notify, &unix.SockaddrUnix{Name: address})
		}
		if strings.HasPrefix(v, "LISTEN_FDNAMES=") {
			env[i] += ":kept"
		}
	}
	if err == nil {
		err = unix.SetsockoptInt(notify, unix.SOL_SOCKET, unix.SO_PASSCRED, 1)
	}
	line, err2 := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	keptFD, err3 := unix.Open("/dev/null", unix.O_RDONLY, 0)
	if err != nil || err2 != nil || err3 != nil {
		return fmt.Errorf("%v, %v, %v", err, err2, err3)
	}

	argv := strings.Split(strings.TrimSpace(kept("argv")), "\n")
	var command []string
	for i, word := range argv {
		if word == "--" {
			command = argv[i+1:]
		}
	}
	python, err := exec.LookPath(command[0])
	if err != nil {
		return err
	}
	files := make([]uintptr, 253)
	for i := range files {
		files[i] = ^uintptr(0)
	}
	files[0], files[1], files[2], files[3], files[4] = 0, 1, 2, uintptr(listening), uintptr(keptFD)
	files[251], files[252] = uintptr(runFile), uintptr(line[1])
	worker, err := syscall.ForkExec(python, command,
		&syscall.ProcAttr{Env: env, Files: files, Sys: &syscall.SysProcAttr{Setpgid: true}})
	if err != nil {
		return err
	}
	unix.Close(line[1])
	me, err := pid.Look(self)
	its, err2 := pid.Look(worker)
	if err != nil || err2 != nil {
		return fmt.Errorf("%v, %v", err, err2)
	}
	if err := writeRecord(top, me.ID, its.ID); err != nil {
		return err
	}
	if how == "orphan" {
		for said := make([]byte, 1000); ; {
			if n, err := unix.Read(notify, said); err != nil || strings.Contains(string(said[:n]), "READY=1") {
				return err
			}
		}
	}

	var handed struct {
		Hold, Loop map[string]any
	}
	if err := json.Unmarshal([]byte(kept("handed.json")), &handed); err != nil {
		return err
	}
	handed.Hold["Lock"], handed.Hold["Run"] = lock, runFile
	handed.Hold["Worker"] = map[string]any{"PID": worker, "Start": its.Ticks}
	w := handed.Loop["Worker"].(map[string]any)
	w["PID"], w["Start"], w["Group"], w["Notify"], w["Line"] = worker, its.Ticks, worker, notify, line[0]
	handed.Loop["Sockets"].([]any)[0].(map[string]any)["FD"] = listening
	handed.Loop["Store"].([]any)[0].(map[string]any)["FD"] = keptFD
	handed.Loop["Reply"] = 3
	text, err := json.Marshal(handed)
	if err != nil {
		return err
	}
	state, err := unix.MemfdCreate("handed", 0)
	if err == nil {
		_, err = unix.Write(state, text)
	}
	if err != nil {
		return err
	}
	// Descriptor 3 is the reply's: ExtraFiles.
	return syscall.Exec(top+"/lifeline", append([]string{top + "/lifeline"}, argv...),
		append(os.Environ(), "LIFELINE_HANDED="+strconv.Itoa(state)))
}

// writeRecord puts this machine's pids into the record that the release has
// written. Its fields are: version, boot, pid namespace, hash of the directory,
// generation, supervisor, worker, time, searched, sum.
func writeRecord(top string, supervisor, worker pid.ID) error {
	found, _ := filepath.Glob(top + "/dir/web-*.run")
	text, err := os.ReadFile(found[0])
	if err != nil {
		return err
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	var namespace unix.Stat_t
	if err == nil {
		err = unix.Stat("/proc/self/ns/pid", &namespace)
	}
	if err != nil {
		return err
	}
	hash := fnv.New64a()
	hash.Write([]byte(top + "/dir"))
	record := changed(string(text), func(f []string) {
		f[1], f[2], f[3] = strings.TrimSpace(string(boot)), fmt.Sprint(namespace.Ino), fmt.Sprintf("%012x", hash.Sum64()>>16)
		f[5], f[6] = fmt.Sprintf("%d:%d", supervisor.PID, supervisor.Ticks), fmt.Sprintf("%d:%d", worker.PID, worker.Ticks)
		f[7] = fmt.Sprint(worker.Ticks)
	})
	return os.WriteFile(found[0], []byte(record), 0o600)
}

// changed returns a record with other fields, and with the right length and sum.
func changed(record string, change func(field []string)) string {
	f := strings.Fields(record)
	change(f)
	body := strings.Join(f[:9], " ")
	return fmt.Sprintf("%-*s", len(record), fmt.Sprintf("%s %08x\n", body, crc32.ChecksumIEEE([]byte(body))))
}
