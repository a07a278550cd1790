//go:build linux

package rounds

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/check"
	"lifeline/proof/pid"
)

// patience is the time limit of a round, for a machine under load.
const patience = 60 * time.Second

// arena is where the rounds of one contender are played.
type arena struct {
	t     *testing.T
	dir   string
	argv  []string // one tick
	env   []string
	watch *check.Watch
}

// count counts the rounds with one runner, with none, with more.
type count struct {
	rounds, one, none, more int
	each                    time.Duration // median of the time to the last decision
	said                    string        // the first thing that a tick printed
}

func (c count) String() string {
	return fmt.Sprintf("%d rounds of %d starts: one runner in %d, none in %d, two or more in %d; decided after %s "+
		"(median)",
		c.rounds, starters, c.one, c.none, c.more, c.each.Round(100*time.Microsecond))
}

func newArena(t *testing.T) *arena {
	a := &arena{t: t, dir: t.TempDir()}
	w, err := check.Follow(a.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	a.watch = w
	return a
}

func (a *arena) path(name string) string { return filepath.Join(a.dir, name) }

func (a *arena) play(rounds int) count {
	a.t.Cleanup(func() { pid.KillBelow(programs.Dir) }) // after a failure
	c := count{rounds: rounds}
	var times []time.Duration
	a.watch.Note("begin", "")
	more := 0
	for n := range rounds {
		runners, took := a.round(n)
		switch {
		case runners == 1:
			c.one++
		case runners == 0:
			c.none++
		default:
			c.more++
			more += runners - 1
		}
		times = append(times, took)
	}
	a.watch.Note("end", "")
	report, err := a.watch.Close()
	if err != nil {
		a.t.Fatal(err)
	}
	// Two independent counts must agree: the starts of each round, and the witnesses'
	// own lock.
	if report.Overlaps != more {
		a.t.Errorf("the rounds had %d runners too many, the witnesses saw %d overlaps", more, report.Overlaps)
	}
	c.each = check.Quantile(times, 0.5)
	text, _ := os.ReadFile(a.path("said"))
	c.said, _, _ = strings.Cut(string(text), "\n")
	return c
}

// round plays one round. All ticks wait at a barrier before the first may go on. The
// runner lives until every other tick has decided.
func (a *arena) round(n int) (runners int, took time.Duration) {
	ready, readyIn := a.pipe()
	goOn, goOnIn := a.pipe()
	said, err := os.OpenFile(a.path("said"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		a.t.Fatal(err)
	}
	before := a.watch.Started()
	ended := make(chan struct{}, starters)
	for range starters {
		// The shell becomes the tick, so that only an execve lies between the barrier
		// and the tick's first instruction.
		cmd := exec.Command("/bin/sh",
			append([]string{"-c", `echo >&3; read go <&4; exec 3>&- 4<&-; exec "$@"`, "starter"},
				a.argv...)...)
		cmd.Env = append(environ(), a.env...)
		cmd.ExtraFiles = []*os.File{readyIn, goOn}
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			a.t.Fatal(err)
		}
		go func() {
			_ = cmd.Wait() // the witnesses judge, not its exit code
			ended <- struct{}{}
		}()
	}
	said.Close()
	readyIn.Close()
	goOn.Close()
	if _, err := io.ReadFull(ready, make([]byte, starters)); err != nil {
		a.t.Fatalf("round %d: not all starters came to the barrier: %v", n, err)
	}
	began := time.Now()
	goOnIn.Close()
	defer ready.Close()

	deadline := time.After(patience)
	exits := 0
	for {
		changed := a.watch.Changed()
		if runners = a.watch.Started() - before; exits+runners >= starters {
			break
		}
		select {
		case <-ended:
			exits++
		case <-changed:
		case <-deadline:
			a.t.Fatalf("round %d is undecided: %d have ended, %d run\n%s", n, exits, runners, a.evidence())
		}
	}
	took = time.Since(began)
	for _, id := range a.watch.Living() {
		a.watch.Signal(id, unix.SIGTERM)
	}
	for ; exits < starters; exits++ {
		select {
		case <-ended:
		case <-deadline:
			a.t.Fatalf("round %d: %d of %d ticks didn't end after their worker\n%s", n, starters-exits,
				starters, a.evidence())
		}
	}
	return a.watch.Started() - before, took
}

func (a *arena) pipe() (r, w *os.File) {
	r, w, err := os.Pipe()
	if err != nil {
		a.t.Fatal(err)
	}
	return r, w
}

// environ returns this process's environment without lifeline's variables.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "LIFELINE_") })
}

// evidence returns the log, the output and the processes, for a failure's message.
func (a *arena) evidence() string {
	log, _ := os.ReadFile(a.path("log"))
	lines := bytes.Split(log, []byte("\n"))
	if len(lines) > 40 {
		lines = lines[len(lines)-40:]
	}
	said, _ := os.ReadFile(a.path("said"))
	table, _ := exec.Command("ps", "-eo", "pid,ppid,stat,etime,args").Output()
	return fmt.Sprintf("log, last lines:\n%s\nprinted:\n%s\nprocesses:\n%s",
		bytes.Join(lines, []byte("\n")), said, table)
}
