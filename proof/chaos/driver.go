//go:build linux

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/build"
	"lifeline/proof/check"
	"lifeline/proof/pid"
)

// config is one run.
type config struct {
	subject  subject
	programs build.Programs // copied into the run's own directory
	dir      string         // for everything that the run writes; kept
	seed     uint64
	rounds   int // ticks
	tick     time.Duration
	share    float64 // of ticks with a fault
	calm     int     // ticks at the end without a fault
	spare    string
	progress io.Writer
}

// result is the result of a run.
type result struct {
	*check.Report
	ticks     int      // ticks that were started; more than rounds, because of the bursts
	leftovers []string // processes that were alive after the end
	atEnd     int      // instances after the last quiet ticks
	outage    []string // what was alive then, if no instance was
	said      int      // lines that ticks printed
}

// driver plays cron, and does the damage.
type driver struct {
	config
	state string
	// volume is the small file system that state lies on; "" for none.
	volume string
	watch  *check.Watch
	said   *os.File

	mu      sync.Mutex
	running []*pid.Handle // ticks that haven't ended, oldest first
	ticks   sync.WaitGroup
	faults  sync.WaitGroup // the faults under way, each SIGCONT included
	err     error
	result  result
}

func run(c config) (*result, error) {
	d := &driver{config: c}
	if err := d.prepare(); err != nil {
		return nil, err
	}
	defer d.said.Close()
	defer d.unmount()
	defer pid.KillBelow(d.programs.Dir)
	d.watch.Note("begin", "")
	clock := time.NewTicker(c.tick)
	defer clock.Stop()
	for n := range c.rounds {
		if n > 0 && n%epochLength == 0 {
			d.change(n)
		}
		<-clock.C
		p := planOf(c.seed, n, c.tick, c.share, c.spare)
		d.play(p)
		if d.err != nil {
			return nil, d.err
		}
	}
	d.faults.Wait()
	if d.subject.verb != nil { // a pause may still be in force
		_ = d.subject.verb(d.programs, d.state, "resume").Run()
	}
	quiet := plan{burst: 1, workers: []variant{{follow: epochOf(c.seed, c.rounds-1) == followed}}}
	for range c.calm {
		<-clock.C
		d.play(quiet)
	}
	<-clock.C
	// An instance whose workers end by themselves may be between two workers, and on
	// a busy machine a start takes longer than a tick.
	for deadline := time.Now().Add(20 * time.Second); ; {
		if d.result.atEnd = len(d.watch.Living()); d.result.atEnd == 1 || time.Now().After(deadline) {
			break
		}
		select {
		case <-clock.C:
			d.play(quiet)
		case <-time.After(time.Millisecond):
		}
	}
	if d.result.atEnd == 0 {
		d.result.outage = d.describeOutage()
	}
	d.watch.Note("end", "")
	d.sweep()
	report, err := d.watch.Close()
	if err != nil {
		return nil, err
	}
	d.result.Report = report
	text, _ := os.ReadFile(d.path("said"))
	d.result.said = strings.Count(string(text), "\n")
	return &d.result, d.err
}

func (d *driver) path(name string) string { return filepath.Join(d.dir, name) }

func (d *driver) prepare() error {
	// Copies of the programs: every process that runs a copy belongs to this run.
	own := d.path("bin")
	if err := os.MkdirAll(own, 0o700); err != nil {
		return err
	}
	copyOf := func(from string) string {
		to := filepath.Join(own, filepath.Base(from))
		err := os.Link(from, to)
		if err != nil && d.err == nil {
			d.err = err
		}
		return to
	}
	d.programs = build.Programs{Dir: own, Lifeline: copyOf(d.programs.Lifeline), Witness: copyOf(d.programs.Witness),
		Peer: copyOf(d.programs.Peer)}
	if d.err != nil {
		return fmt.Errorf("cannot copy the programs: %w", d.err)
	}
	d.state = d.path("state")
	if err := d.mount(); err != nil {
		return err
	}
	var err error
	if d.said, err = os.OpenFile(d.path("said"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	d.watch, err = check.Follow(d.path("log"))
	return err
}

// play starts the ticks and the faults of a plan.
func (d *driver) play(p plan) {
	if d.subject.end == nil {
		_ = os.MkdirAll(d.state, 0o700) // the peers don't make the directory
	}
	d.watch.Note("tick", "") // one line, also for a burst
	for _, v := range p.workers {
		d.start(v)
	}
	for _, a := range p.actions {
		d.faults.Add(1)
		time.AfterFunc(a.after, func() {
			defer d.faults.Done()
			d.do(a)
		})
	}
}

// start starts one tick.
func (d *driver) start(v variant) {
	worker := append([]string{d.programs.Witness, "-log", d.path("log"), "-lock", d.path("witness.lock")}, v.flags()...)
	argv := d.subject.tick(d.programs, d.state, v, worker)
	if v.fewFiles > 0 {
		argv = append([]string{"prlimit", fmt.Sprintf("--nofile=%d:", v.fewFiles), "--"}, argv...)
		d.watch.Note("fault", fmt.Sprintf("a tick with %d descriptors", v.fewFiles))
	}
	if v.smallFiles {
		argv = append([]string{"prlimit", "--fsize=0:", "--"}, argv...)
		d.watch.Note("fault", "a tick that may write no file")
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = environ()
	if d.subject.env != nil {
		cmd.Env = append(cmd.Env, d.subject.env(d.programs, d.state)...)
	}
	cmd.Stdout, cmd.Stderr = d.said, d.said
	if err := cmd.Start(); err != nil {
		d.err = fmt.Errorf("cannot start a tick: %w", err)
		return
	}
	d.result.ticks++
	// The process can't be reaped before Wait, so the pid is still its own.
	var h *pid.Handle
	if s, err := pid.Look(cmd.Process.Pid); err == nil {
		h, _ = pid.Open(s.ID)
	}
	d.mu.Lock()
	if h != nil {
		d.running = append(d.running, h)
	}
	d.mu.Unlock()
	d.ticks.Add(1)
	go func() {
		defer d.ticks.Done()
		_ = cmd.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if h != nil {
			d.running = slices.DeleteFunc(d.running, func(r *pid.Handle) bool { return r == h })
			h.Close()
		}
	}()
}

// supervisor signals the tick that has been running longest, which most likely has
// the name. One time in five it signals another tick.
func (d *driver) supervisor(pick float64, sig unix.Signal) (id pid.ID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.running) == 0 {
		return id
	}
	h := d.running[0]
	if pick > 0.8 {
		h = d.running[int((pick-0.8)*5*float64(len(d.running)))]
	}
	h.Signal(sig)
	return h.ID
}

// youngest signals the tick that began last.
func (d *driver) youngest(sig unix.Signal) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if n := len(d.running); n > 0 {
		d.running[n-1].Signal(sig)
	}
}

// worker signals the witness that started last.
func (d *driver) worker(sig unix.Signal) (id pid.ID) {
	living := d.watch.Living()
	if len(living) == 0 {
		return id
	}
	id = living[len(living)-1]
	d.watch.Signal(id, sig)
	return id
}

// do carries out one fault.
func (d *driver) do(a action) {
	d.watch.Note("fault", a.String())
	switch a.kind {
	case killSupervisor:
		d.supervisor(a.pick, unix.SIGKILL)
	case killWorker:
		d.worker(unix.SIGKILL)
	case killBoth:
		if a.pick < 0.5 {
			d.worker(unix.SIGKILL)
			d.supervisor(0, unix.SIGKILL)
		} else {
			d.supervisor(0, unix.SIGKILL)
			d.worker(unix.SIGKILL)
		}
	case killStarting:
		d.youngest(unix.SIGKILL)
	case termSupervisor:
		d.supervisor(a.pick, unix.SIGTERM)
	case termWorker:
		d.worker(unix.SIGTERM)
	case stopSupervisor:
		d.goOn(a, d.supervisor(a.pick, unix.SIGSTOP))
	case stopWorker:
		d.goOn(a, d.worker(unix.SIGSTOP))
	case stopBoth:
		d.goOn(a, d.supervisor(0, unix.SIGSTOP), d.worker(unix.SIGSTOP))
	case removeLock:
		remove(d.state, d.subject.lock)
	case removeRun:
		remove(d.state, d.subject.run)
	case removeDir:
		_ = os.RemoveAll(d.state) // it fails when a tick writes into the directory meanwhile
	case killAndRemove:
		d.supervisor(0, unix.SIGKILL)
		_ = os.RemoveAll(d.state)
	case moveDir:
		away := d.state + ".away"
		_ = os.RemoveAll(away) // of an earlier fault
		_ = os.Rename(d.state, away)
	case damage, killAndDamage:
		if a.kind == killAndDamage {
			d.supervisor(0, unix.SIGKILL)
		}
		paths, _ := filepath.Glob(filepath.Join(d.state, d.subject.run))
		for _, path := range paths {
			spoil(path, a.pick)
		}
	case fullDisk:
		d.fill(a)
	case fewFiles:
		d.squeeze(a)
	case pauseIt, reloadIt:
		d.ask(a)
	case busy:
		d.load(a)
	}
}

// goOn sends SIGCONT after the hold.
func (d *driver) goOn(a action, ids ...pid.ID) {
	d.faults.Add(1)
	go func() {
		defer d.faults.Done()
		d.lasts(a.hold)
		d.watch.Note("fault", "CONT") // the fault lasted until now
		for _, id := range ids {
			if h, err := pid.Open(id); err == nil {
				h.Signal(unix.SIGCONT)
				h.Close()
			}
		}
	}()
}

// change goes from one epoch to the next. It ends a worker that hides in both ways
// or leaves a daemon, because the next epoch's faults aren't meant for that worker.
func (d *driver) change(n int) {
	was, is := epochOf(d.seed, n-1), epochOf(d.seed, n)
	if d.progress != nil {
		fmt.Fprintf(d.progress, "tick %d: %s\n", n, is)
	}
	if was == is || was == plain && is != followed {
		return
	}
	d.sweep()
}

// sweep ends the instance as its manual says, notes what is left, and ends that too.
func (d *driver) sweep() {
	d.watch.Note("reset", "")
	if d.subject.end != nil {
		d.faults.Wait()
		d.awaitQuiet()
		if err := d.subject.end(d.programs, d.state); err != nil && d.err == nil {
			d.err = fmt.Errorf("cannot end it: %w", err)
		}
		d.leftovers()
	}
	pid.KillBelow(d.programs.Dir)
	d.faults.Wait()
	d.ticks.Wait()
	d.watch.Note("reset", "")
}

// awaitQuiet waits until at most one tick still runs.
func (d *driver) awaitQuiet() {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		d.mu.Lock()
		n := len(d.running)
		d.mu.Unlock()
		if n <= 1 {
			return
		}
	}
}

func (d *driver) leftovers() {
	for _, id := range pid.Below(d.programs.Dir) {
		d.result.leftovers = append(d.result.leftovers, describe(id))
	}
}

// describeOutage lists each process of the run with what it waits in and what it
// has open, the locks, and what a tick says.
func (d *driver) describeOutage() []string {
	var all []string
	for _, id := range pid.Below(d.programs.Dir) {
		all = append(all, describe(id))
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", id.PID))
		for _, t := range threads {
			comm, _ := os.ReadFile(t + "/comm")
			stack, _ := os.ReadFile(t + "/stack")
			top, _, _ := strings.Cut(string(stack), "\n")
			all = append(all, fmt.Sprintf("  thread %s %s %s", filepath.Base(t), strings.TrimSpace(string(comm)), top))
		}
		open, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", id.PID))
		for _, fd := range open {
			to, _ := os.Readlink(fd)
			all = append(all, "  "+filepath.Base(fd)+" "+to)
		}
	}
	locks, _ := os.ReadFile("/proc/locks")
	all = append(all, "locks:", string(locks))
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	said, err := exec.CommandContext(ctx, d.programs.Lifeline, "--dir", d.state, "-E", "75", "-v", name, "--", "true").
		CombinedOutput()
	return append(all, fmt.Sprintf("a tick: %v %s", err, said))
}

func describe(id pid.ID) string {
	args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id.PID))
	status, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id.PID))
	env, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", id.PID))
	var marks []string
	for _, kv := range strings.Split(string(env), "\x00") {
		if strings.HasPrefix(kv, "LIFELINE_") {
			marks = append(marks, kv)
		}
	}
	return fmt.Sprintf("%s: %q %q %.60s", id, strings.ReplaceAll(strings.Trim(string(args), "\x00"), "\x00", " "),
		marks, status)
}

// environ returns this process's environment without lifeline's variables.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "LIFELINE_") })
}
