//go:build linux

// Package crash kills lifeline at each of its own steps, by SIGKILL, and judges what
// the next tick does. There must be at most one instance at any time, and one after
// that tick. The end of the instance must leave no process. Package internal/crash
// lists the steps, which only a program built with the tag proof has.
//
//	make crash        every step 200 times
package crash

import (
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/await"
	"lifeline/proof/build"
	"lifeline/proof/check"
	"lifeline/proof/need"
	"lifeline/proof/pid"
)

var programs build.Programs

func TestMain(m *testing.M) {
	os.Exit(build.Around("crash", func(p build.Programs) int {
		programs = p
		if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil { // see orphans
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}))
}

// patience is a limit for a machine under load.
const patience = 30 * time.Second

// scene is what brings lifeline to a step.
type scene struct {
	options []string
	worker  []string
	before  func(*stage) // runs before the armed lifeline starts
	trigger func(*stage) // runs when the armed lifeline is up; nil: the start itself reaches the step
	after   func(*stage) // runs when the armed lifeline is dead
}

var (
	start = scene{}
	again = scene{options: []string{"--respawn", "--respawn-delay", "0"},
		trigger: func(s *stage) { s.worker(unix.SIGKILL) }}
	removed = scene{trigger: func(s *stage) { os.RemoveAll(s.path("state")) }}
	ended   = scene{trigger: func(s *stage) { s.worker(unix.SIGKILL) }}
	orphan  = scene{before: func(s *stage) {
		s.running("-ignore-term")
		s.kill(s.ticks[0])
	}}
	leaked = scene{before: func(s *stage) {
		s.running("-daemon", "keep")
		s.kill(s.ticks[0])
		s.worker(unix.SIGKILL)
	}}
	reload = scene{worker: []string{"-takeover"}, trigger: func(s *stage) {
		s.command("reload", "--dir", s.path("state"),
			"crash")
	}}
	// The step is armed when the first worker is up.
	beside = scene{worker: reload.worker, before: second.before, trigger: func(s *stage) {
		os.Remove(s.path("crashed"))
		reload.trigger(s)
	}}
	alone = scene{options: []string{"--exec"}}
	self  = scene{trigger: func(s *stage) { s.command("reload", "--self", "--dir", s.path("state"), "crash") }}
)

// steps has each step of package internal/crash, and the scenes that lead to it.
// TestEveryStep compares the two lists.
var steps = []struct {
	name string
	scene
}{
	{"lock.taken", start}, {"lock.checked", start}, {"run.opened", start}, {"run.locked",
		start}, {"record.read", start},
	{"lock.taken", orphan}, {"run.locked", orphan}, {"record.read", orphan}, {"adopt", orphan},
	{"record.read", leaked}, {"renew.made", leaked}, {"renew.locked", leaked}, {"renew.renamed", leaked},
	{"record.none", start}, {"start.announced", start}, {"start.secured", start}, {"start.elected", start},
	{"fork.before", start}, {"fork.after", start}, {"start.forked", start}, {"start.recorded", start},
	{"start.told", start},
	{"start.announced", alone}, {"become.exec", alone},
	{"keep.missing", removed}, {"keep.locked", removed}, {"keep.opened", removed}, {"keep.held", removed},
	{"end.worker", ended}, {"end.vacated", ended}, {"end.unlocked", ended}, {"end.released",
		ended}, {"end.worker", again},
	{"fork.before", beside}, {"fork.after", beside},
	{"reload.asked", reload}, {"reload.started", reload}, {"reload.ready", reload}, {"reload.over", reload},
	{"handover.exec", self}, {"handover.taken", self}, {"handover.restored", self},
	// A respawn goes through the same steps, without a census.
	{"start.announced", second}, {"start.elected", second}, {"fork.after", second}, {"start.recorded", second},
	{"start.told", second},
	// Leftovers of a worker are no instance, also if its pid was never recorded.
	{"fork.after", unwritten(start)}, {"fork.after", unwritten(second)}, {"start.forked", unwritten(second)},
}

func unwritten(sc scene) scene {
	sc.worker = []string{"-daemon", "keep", "-children", "2"}
	sc.after = func(s *stage) { s.worker(unix.SIGKILL) }
	return sc
}

// second arms the step when the first worker is up. Until then the file that marks a
// crash exists already, which keeps lifeline from being killed.
var second = scene{options: again.options, before: func(s *stage) {
	if err := os.WriteFile(s.path("crashed"), nil, 0o600); err != nil {
		s.t.Fatal(err)
	}
}, trigger: func(s *stage) {
	os.Remove(s.path("crashed"))
	s.worker(unix.SIGKILL)
}}

// stage is where the rounds of one step are played.
type stage struct {
	t     *testing.T
	dir   string
	watch *check.Watch
	said  *os.File
	ticks []*tick
	round string
}

type tick struct {
	cmd  *exec.Cmd
	done chan struct{}
}

func (s *stage) path(name string) string { return filepath.Join(s.dir, name) }

func (s *stage) until(what string, is func() bool) {
	s.t.Helper()
	if !await.Within(patience, is) {
		log, _ := os.ReadFile(s.path("log"))
		said, _ := os.ReadFile(s.path("said"))
		table, _ := exec.Command("ps", "-eo", "pid,ppid,stat,etime,args").Output()
		s.t.Fatalf("%s: not within %s: %s\nlog:\n%s\nprinted:\n%s\n%s", s.round, patience, what,
			tail(log), tail(said), table)
	}
}

func tail(text []byte) string {
	lines := strings.Split(string(text), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}

// start starts a tick.
func (s *stage) start(env []string, options []string, worker ...string) *tick {
	s.t.Helper()
	argv := append([]string{"--dir", s.path("state")}, options...)
	if !slices.Contains(options, "--exec") { // it has no effect there, and is refused
		argv = append(argv, "--kill-after", "50ms")
	}
	argv = append(argv, "crash", "--", programs.Witness, "-log", s.path("log"), "-lock", s.path("lock"))
	c := exec.Command(programs.Lifeline, append(argv, worker...)...)
	c.Env = append(environ(), env...)
	c.Stdout, c.Stderr = s.said, s.said
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	t := &tick{c, make(chan struct{})}
	go func() {
		_ = c.Wait() // the witnesses judge, not its exit code
		close(t.done)
	}()
	s.ticks = append(s.ticks, t)
	return t
}

func (t *tick) over() bool {
	select {
	case <-t.done:
		return true
	default:
		return false
	}
}

func (s *stage) running(worker ...string) {
	s.start(nil, nil, worker...)
	s.until("an instance runs", func() bool { return len(s.watch.Living()) == 1 })
}

func (s *stage) kill(t *tick) {
	_ = t.cmd.Process.Kill()
	<-t.done
}

func (s *stage) worker(sig unix.Signal) {
	for _, id := range s.watch.Living() {
		s.watch.Signal(id, sig)
		s.until("the worker ends", func() bool { return !slices.Contains(s.watch.Living(), id) })
	}
}

// command runs a command of lifeline beside everything else.
func (s *stage) command(args ...string) {
	c := exec.Command(programs.Lifeline, args...)
	c.Env = environ()
	c.Stdout, c.Stderr = s.said, s.said
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = c.Wait() }()
}

// play kills lifeline at the step, and judges.
func (s *stage) play(step string, sc scene, n int) {
	t := s.t
	t.Helper()
	s.ticks = nil
	s.round = fmt.Sprintf("%s, round %d", step, n)
	crashed := s.path("crashed")
	os.Remove(crashed)
	worker := slices.Clone(sc.worker)
	if n%2 == 1 {
		worker = append(worker, "-ignore-term")
	}
	if n%4 > 1 {
		worker = append(worker, "-closefrom")
	}
	if sc.before != nil {
		sc.before(s)
	}
	before := s.watch.Started()
	s.start([]string{"LIFELINE_PROOF_CRASH=" + step, "LIFELINE_PROOF_CRASHED=" + crashed}, sc.options, worker...)
	if sc.trigger != nil {
		s.until("it is up", func() bool { return s.watch.Started() > before })
		if slices.Contains(worker, "-takeover") || strings.HasPrefix(step, "handover") {
			s.until("it takes commands", func() bool {
				c := exec.Command(programs.Lifeline, "status", "--dir", s.path("state"), "crash")
				c.Env = environ()
				return c.Run() == nil
			})
		}
		sc.trigger(s)
	}
	s.until("lifeline dies at "+step, func() bool {
		text, _ := os.ReadFile(crashed)
		if len(text) != 4 {
			return false
		}
		n := int(binary.NativeEndian.Uint32(text))
		for _, k := range s.ticks {
			if k.cmd.Process.Pid == n { // wait for all its threads, because the last one releases the locks
				return k.over()
			}
		}
		st, err := pid.Look(n)
		return err != nil || st.State == 'Z'
	})
	s.until("everything comes to rest", s.atRest)
	if sc.after != nil {
		sc.after(s)
	}

	// The next tick, as cron starts it.
	s.start(nil, sc.options, worker...)
	next := s.ticks[len(s.ticks)-1]
	s.until("the next tick has an instance", func() bool { return len(s.watch.Living()) == 1 || next.over() })
	if n := len(s.watch.Living()); n != 1 {
		log, _ := os.ReadFile(s.path("log"))
		said, _ := os.ReadFile(s.path("said"))
		t.Fatalf("%s: %d instances after the next tick\n%s\n%s", s.round, n, tail(log), tail(said))
	}
	// One more tick finds the instance.
	more := s.start(nil, sc.options, worker...)
	s.until("one of two ticks finds the other", func() bool { return more.over() || next.over() })
	if n := len(s.watch.Living()); n != 1 {
		t.Fatalf("%s: %d instances after one more tick", s.round, n)
	}
	end := exec.Command(programs.Lifeline, "terminate", "--dir", s.path("state"), "--kill-after", "50ms", "crash")
	end.Env = environ()
	if out, err := end.CombinedOutput(); err != nil {
		t.Fatalf("%s: terminate: %v\n%s", s.round, err, out)
	}
	s.until("nothing is left", func() bool { return len(pid.Below(programs.Dir)) == 0 })
	for _, k := range s.ticks {
		<-k.done
	}
}

// atRest reports whether the doomed processes have ended, and whether a supervisor
// that lives has its worker.
func (s *stage) atRest() bool {
	living := s.watch.Living()
	supervisors, others := 0, 0
	for _, id := range pid.Below(programs.Dir) {
		exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", id.PID))
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id.PID))
		switch {
		case slices.Contains(living, id) || strings.Contains(string(args), "-child"):
		case exe == programs.Lifeline:
			supervisors++
		default:
			others++
		}
	}
	others += s.orphans(living)
	if supervisors == 0 {
		return others == 0 && len(living) <= 1 // an orphan lives on
	}
	return others == 0 && supervisors == 1 && len(living) == 1
}

// orphans counts the processes, except witnesses, whose subreaper this test has
// become. A dying process shows no program any more, and may still hold its locks.
func (s *stage) orphans(living []pid.ID) (n int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		s.t.Fatal(err)
	}
	for _, e := range entries {
		number, err := strconv.Atoi(e.Name())
		if err != nil || slices.ContainsFunc(s.ticks, func(k *tick) bool { return k.cmd.Process.Pid == number }) {
			continue
		}
		st, err := pid.Look(number)
		if err != nil || st.PPID != os.Getpid() || slices.Contains(living, st.ID) {
			continue
		}
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", number))
		switch {
		case st.State == 'Z':
			_, _ = unix.Wait4(number, nil, unix.WNOHANG, nil)
		case !strings.Contains(string(args), "-child"):
			n++
		}
	}
	return n
}

// environ returns this process's environment without lifeline's variables.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "LIFELINE_") })
}

func TestCrash(t *testing.T) {
	rounds := 4 // each kind of worker once
	if testing.Short() {
		rounds = 1
	}
	rounds = int(need.Number(t, "LIFELINE_CRASHES", uint64(rounds)))
	for _, step := range steps {
		t.Run(step.name, func(t *testing.T) {
			t.Cleanup(func() { pid.KillBelow(programs.Dir) })
			s := &stage{t: t, dir: t.TempDir()}
			var err error
			if s.said, err = os.OpenFile(s.path("said"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
				t.Fatal(err)
			}
			defer s.said.Close()
			if s.watch, err = check.Follow(s.path("log")); err != nil {
				t.Fatal(err)
			}
			s.watch.Note("begin", "")
			for n := range rounds {
				s.play(step.name, step.scene, n)
			}
			s.watch.Note("end", "")
			report, err := s.watch.Close()
			if err != nil {
				t.Fatal(err)
			}
			if report.Overlaps != 0 {
				t.Errorf("%d overlaps:\n%s", report.Overlaps, strings.Join(report.Evidence, "\n"))
			}
		})
	}
}

// TestEveryStep checks that lifeline is killed at each of its steps.
func TestEveryStep(t *testing.T) {
	text, err := os.ReadFile("../../internal/crash/steps.go")
	if err != nil {
		t.Fatal(err)
	}
	_, list, _ := strings.Cut(string(text), "var Steps = ")
	words := strings.Split(list, `"`)
	if len(words) < 60 {
		t.Fatalf("cannot read the list of steps: %q", list)
	}
	for i := 1; i < len(words); i += 2 {
		if !slices.ContainsFunc(steps, func(s struct {
			name string
			scene
		}) bool {
			return s.name == words[i]
		}) {
			t.Errorf("%s is never crashed at", words[i])
		}
	}
}
