//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/check"
)

// names plays a machine that boots: many names start within one second, from an
// empty directory, beside a storm of execs. Then names kills all supervisors, wipes
// the directory, and starts a tick of every name.
func (b *bench) names(count, rounds int) error {
	fmt.Printf("\n### %d names start within a second, from an empty directory, beside an exec storm\n\n", count)
	fmt.Println("| round | run | lines printed | CPU of lifeline | CPU of flock -n | ratio | after SIGKILL of all " +
		"and a wiped directory: run | doubled | new |\n|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
	var looks []string
	for round := range rounds {
		line, err := b.nameRound(count, round, &looks)
		if err != nil {
			return err
		}
		fmt.Println(line)
	}
	for _, l := range looks {
		fmt.Println(l)
	}
	return nil
}

// fleet has the names of one contender.
type fleet struct {
	b       *bench
	dir     string
	said    *os.File
	seconds float64 // marks the sleeps of this fleet
	cmds    []*exec.Cmd
}

func (b *bench) newFleet(what string, round int) (*fleet, error) {
	dir := b.path(fmt.Sprintf("%s-%d", what, round))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	said, err := os.Create(dir + ".said")
	return &fleet{b: b, dir: dir, said: said, seconds: float64(70000 + 1000*os.Getpid()%10000000 + 10*round)}, err
}

// argument returns the only argument of name i's sleep.
func (f *fleet) argument(i int) string {
	return fmt.Sprintf("%s.%04d", strconv.Itoa(int(f.seconds)), i)
}

// start starts the names, spread over a second.
func (f *fleet) start(count int, argv func(i int) []string) error {
	began := time.Now()
	for i := range count {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / time.Duration(count))))
		a := argv(i)
		cmd := exec.Command(a[0], a[1:]...)
		cmd.Env, cmd.Stdout, cmd.Stderr = environ(), f.said, f.said
		if err := cmd.Start(); err != nil {
			return err
		}
		f.cmds = append(f.cmds, cmd)
		go func() { _ = cmd.Wait() }()
	}
	return nil
}

func (f *fleet) lifelines(count int) error {
	sleep := look("sleep")
	return f.start(count, func(i int) []string {
		return []string{f.b.lifeline, "--dir", f.dir, fmt.Sprintf("n%d", i), "--", sleep, f.argument(i)}
	})
}

func (f *fleet) flocks(count int) error {
	flock, sleep := look("flock"), look("sleep")
	return f.start(count, func(i int) []string {
		return []string{flock, "-n", fmt.Sprintf("%s/n%d", f.dir, i), sleep, f.argument(i)}
	})
}

// workers lists the pids of this fleet's sleeps, by name.
func (f *fleet) workers(count int) map[int][]int {
	all := map[int][]int{}
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		p, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		text, _ := os.ReadFile("/proc/" + e.Name() + "/cmdline")
		words := bytes.Split(text, []byte{0})
		if len(words) != 3 || !bytes.HasSuffix(words[0], []byte("sleep")) {
			continue
		}
		whole, name, ok := strings.Cut(string(words[1]), ".")
		if i, err := strconv.Atoi(name); ok && err == nil && whole == strconv.Itoa(int(f.seconds)) && i < count {
			all[i] = append(all[i], p)
		}
	}
	return all
}

// awaitQuiet waits until every name runs, or no name has changed for five
// seconds.
func (f *fleet) awaitQuiet(count int) map[int][]int {
	last, since := 0, time.Now()
	for {
		w := f.workers(count)
		if len(w) != last {
			last, since = len(w), time.Now()
		}
		if len(w) == count || time.Since(since) > 5*time.Second {
			return w
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// cpuOf returns the CPU time of the processes, to the nanosecond
// (clock_getcpuclockid(3)).
func cpuOf(cmds []*exec.Cmd) (sum time.Duration) {
	for _, c := range cmds {
		var ts unix.Timespec
		if unix.ClockGettime(int32(^c.Process.Pid<<3|2), &ts) == nil {
			sum += time.Duration(ts.Nano())
		}
	}
	return sum
}

func (f *fleet) end(count int) {
	for _, c := range f.cmds {
		_ = c.Process.Kill()
	}
	for _, pids := range f.workers(count) {
		for _, p := range pids {
			_ = unix.Kill(p, unix.SIGKILL)
		}
	}
	_ = f.said.Close()
}

// storm starts programs all the time, as a build does, until stop is called.
func storm() (stop func()) {
	var cmds []*exec.Cmd
	for range 4 {
		cmd := exec.Command("/bin/sh", "-c", "while :; do /bin/true; done")
		if cmd.Start() == nil {
			cmds = append(cmds, cmd)
		}
	}
	return func() {
		for _, c := range cmds {
			_ = c.Process.Kill()
			_ = c.Wait()
		}
	}
}

func (b *bench) nameRound(count, round int, looks *[]string) (string, error) {
	used := map[string]time.Duration{}
	var l *fleet
	var run int
	for _, what := range []string{"flock", "lifeline"} {
		f, err := b.newFleet(what, round)
		if err != nil {
			return "", err
		}
		stop := storm()
		start := f.flocks
		if what == "lifeline" {
			l, start = f, f.lifelines
		}
		err = start(count)
		run = len(f.awaitQuiet(count))
		stop()
		used[what] = cpuOf(f.cmds)
		if what == "flock" || err != nil {
			f.end(count)
		}
		if err != nil {
			return "", err
		}
	}
	defer func() { l.end(count) }()
	before := l.workers(count)
	text, _ := os.ReadFile(l.said.Name())
	printed := bytes.Count(text, []byte("\n"))
	if round == 0 {
		more, err := b.looks(l, count)
		if err != nil {
			return "", err
		}
		*looks = append(*looks, more...)
		before = l.workers(count)
	}
	for _, c := range l.cmds {
		_ = c.Process.Kill()
	}
	if err := os.RemoveAll(l.dir); err != nil {
		return "", err
	}
	stop := storm()
	l.cmds = nil
	if err := l.lifelines(count); err != nil {
		return "", err
	}
	// Each of these ticks stays, with an adopted worker or a new one.
	time.Sleep(3 * time.Second)
	after := l.awaitQuiet(count)
	stop()
	doubled, fresh := 0, 0
	for i, pids := range after {
		if len(pids) > 1 {
			doubled++
		}
		if !slices.Equal(pids, before[i]) {
			fresh++
		}
	}
	return fmt.Sprintf("| %d | %d | %d | %s | %s | %.1f | %d | %d | %d |", round+1, run, printed,
		short(used["lifeline"]), short(used["flock"]),
		float64(used["lifeline"])/float64(used["flock"]), len(after), doubled, fresh), nil
}

// looks measures the commands that read all names, and the commands that end
// them. The fleet runs again afterwards.
func (b *bench) looks(l *fleet, count int) (lines []string, err error) {
	few, err := b.newFleet("few", 0)
	if err != nil {
		return nil, err
	}
	few.seconds += 5
	defer func() { few.end(3) }()
	if err := few.lifelines(3); err != nil {
		return nil, err
	}
	few.awaitQuiet(3)
	commands := [][]string{
		{"ps", "axeww"},
		{b.lifeline, "status", "--dir", few.dir}, {b.lifeline, "status", "--dir", l.dir},
		{b.lifeline, "metrics", "--dir", few.dir}, {b.lifeline, "metrics", "--dir", l.dir},
		{b.lifeline, "doctor", "--dir", few.dir}, {b.lifeline, "doctor", "--dir", l.dir},
	}
	const runs = 9
	used := make([][]sample, len(commands))
	for range runs {
		for i, argv := range commands {
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env = environ()
			_ = cmd.Run() // doctor reports findings by its exit code
			used[i] = append(used[i], (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()))
		}
	}
	ps := median(used[0])
	lines = append(lines, fmt.Sprintf("\n### A look at all %d names: CPU, median of %d runs in turn\n", count, runs),
		"| | 3 names | all | of one `ps axeww` | of 3 names |\n|---|--:|--:|--:|--:|",
		fmt.Sprintf("| ps axeww | | %s | 1.00 | |", short(ps)))
	for i := 1; i < len(commands); i += 2 {
		three, all := median(used[i]), median(used[i+1])
		lines = append(lines, fmt.Sprintf("| lifeline %s | %s | %s | %.2f | %.2f |", commands[i][1], short(three),
			short(all), float64(all)/float64(ps), float64(all)/float64(three)))
	}
	// One kill(1) and one terminate end all names, each in a fresh fleet.
	var took [2][]sample
	for range 3 {
		for i := range took {
			var argv []string
			if i == 0 {
				argv = []string{look("kill"), "-TERM"}
				for _, c := range l.cmds {
					argv = append(argv, strconv.Itoa(c.Process.Pid))
				}
			} else {
				argv = []string{b.lifeline, "terminate", "--dir", l.dir}
				for n := range count {
					argv = append(argv, fmt.Sprintf("n%d", n))
				}
			}
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env, cmd.Stderr = environ(), l.said
			began := time.Now()
			if err := cmd.Run(); err != nil {
				return nil, fmt.Errorf("%s: %w", argv[1], err)
			}
			for slices.ContainsFunc(l.cmds, func(c *exec.Cmd) bool { return syscall.Kill(c.Process.Pid, 0) == nil }) {
				time.Sleep(time.Millisecond)
			}
			took[i] = append(took[i], time.Since(began))
			l.cmds = nil
			if err := l.lifelines(count); err != nil {
				return nil, err
			}
			l.awaitQuiet(count)
		}
	}
	kill, terminate := check.Quantile(took[0], 0.5), check.Quantile(took[1], 0.5)
	lines = append(lines, fmt.Sprintf("\nUntil all %d supervisors have ended: %s after one kill(1), %s by one "+
		"`lifeline terminate`, a ratio of %.2f.", count, short(kill), short(terminate), float64(terminate)/float64(kill)))
	return lines, nil
}
