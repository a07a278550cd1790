package packaging

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/await"
	"lifeline/proof/need"
)

// init adds the role of an old supervisor, whose files record.sh has kept.
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
			m.Logf("this clone's history lacks %s, from which %s was built: its own commit stands for it", commit,
				m.release)
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
			if code, out := saysOf(program, m.top, "reload", "--self", "web"); code != 0 ||
				!strings.Contains(out, "goes on") {
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
