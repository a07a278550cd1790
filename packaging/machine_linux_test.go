package packaging

import (
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeline/proof/await"
	"lifeline/proof/need"
	"lifeline/proof/pid"
)

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
	boot := regexp.MustCompile(`"boot":"([^"]+)"`).FindStringSubmatch(m.kept("state/" + fileOf(files,
		"web", ".state")))[1]
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
