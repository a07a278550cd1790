package guard

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/await"
)

// init runs a block when a test starts the test program again.
func init() {
	dir := os.Getenv("LIFELINE_DO_TEST")
	if dir == "" {
		return
	}
	err := Guard{Dir: dir, Wait: 0}.Do(context.Background(), "job", func(context.Context, *Hold) error {
		fmt.Println("runs")
		_, _ = io.Copy(io.Discard, os.Stdin)
		return nil
	})
	var held *HeldError
	switch {
	case errors.As(err, &held):
		fmt.Printf("held by %d %d\n", held.Worker.PID, held.Worker.Start)
	case err != nil:
		fmt.Println(err)
	}
	os.Exit(0)
}

type program struct {
	*exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// start starts a program that runs a block as "job" in dir, and returns its first line.
func start(t *testing.T, dir string) (*program, string) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), "LIFELINE_DO_TEST="+dir, "GORACE=atexit_sleep_ms=0")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &program{cmd, in, bufio.NewReader(out)}
	t.Cleanup(p.end)
	line, _ := p.out.ReadString('\n')
	return p, strings.TrimSpace(line)
}

func (p *program) end() {
	if p.ProcessState == nil {
		p.in.Close()
		_ = p.Wait()
	}
}

func stateDir(t *testing.T) string { return filepath.Join(t.TempDir(), "state") }

func wantHeld(t *testing.T, err error, by int) {
	t.Helper()
	var held *HeldError
	if !errors.As(err, &held) || held.Worker.PID != by || !held.Alive() {
		t.Fatalf("not held by %d: %v", by, err)
	}
	if text := err.Error(); !strings.Contains(text, fmt.Sprintf("pid %d, since 2", by)) {
		t.Errorf("the error doesn't name the holder: %s", text)
	}
}

// TestDo checks that of two programs with one name one runs, and that the name is free
// after its kill.
func TestDo(t *testing.T) {
	dir := stateDir(t)
	g := Guard{Dir: dir}
	never := func(context.Context, *Hold) error { t.Error("two at once"); return nil }
	first, said := start(t, dir)
	if said != "runs" {
		t.Fatal(said)
	}
	_, said = start(t, dir)
	if want := fmt.Sprintf("held by %d ", first.Process.Pid); !strings.HasPrefix(said, want) {
		t.Errorf("the second program said %q, not %q", said, want)
	}
	wantHeld(t, g.Do(t.Context(), "job", never), first.Process.Pid)
	if h, ok, err := g.Holder("job"); !ok || err != nil || h.Worker.PID != first.Process.Pid ||
		h.Supervisor != h.Worker {
		t.Errorf("holder %+v, %t, %v", h, ok, err)
	}
	if err := (Guard{Dir: dir}).Do(t.Context(), "job2", func(context.Context, *Hold) error { return nil }); err != nil {
		t.Errorf("another name: %v", err)
	}
	_ = first.Process.Kill()
	_ = first.Wait()
	if _, ok, err := g.Holder("job"); ok || err != nil {
		t.Errorf("a killed program holds the name: %v", err)
	}
	ran := false
	if err := g.Do(t.Context(), "job",
		func(context.Context, *Hold) error { ran = true; return nil }); err != nil || !ran {
		t.Errorf("after the kill: ran %t, %v", ran, err)
	}
}

// TestDoAgain checks that Do returns the block's error and checks the name, and that a
// program may call Do several times.
func TestDoAgain(t *testing.T) {
	g := Guard{Dir: stateDir(t)}
	own := errors.New("the block's own")
	for i := range 3 {
		inner := errors.New("not called")
		err := g.Do(t.Context(), "job", func(ctx context.Context, _ *Hold) error {
			inner = g.Do(ctx, "job", func(context.Context, *Hold) error { t.Error("two at once"); return nil })
			return own
		})
		if err != own {
			t.Fatalf("call %d: %v", i+1, err)
		}
		wantHeld(t, inner, os.Getpid())
	}
	if _, ok, err := g.Holder("job"); ok || err != nil {
		t.Errorf("held after the end: %v", err)
	}
	p, said := start(t, g.Dir)
	if said != "runs" {
		t.Errorf("another program, after this program has released the name: %s", said)
	}
	p.end()
	func() {
		defer func() { _ = recover() }()
		_ = g.Do(t.Context(), "job", func(context.Context, *Hold) error { panic("in the block") })
	}()
	if err := g.Do(t.Context(), "job", func(context.Context, *Hold) error { return nil }); err != nil {
		t.Errorf("after a panic: %v", err)
	}
	var bad *NameError
	if err := g.Do(t.Context(), "a/b", nil); !errors.As(err, &bad) {
		t.Errorf("a bad name: %v", err)
	}
}

// inQueue counts the processes that wait for a lock file of the directory
// (proc_locks(5)).
func inQueue(t *testing.T, dir string) (n int) {
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		t.Error(err)
	}
	locks, _ := filepath.Glob(filepath.Join(dir, "*.lock"))
	for _, path := range locks {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil {
			continue
		}
		for line := range strings.Lines(string(text)) {
			if strings.Contains(line, "-> FLOCK") && strings.Contains(line, fmt.Sprintf(":%d 0 EOF", st.Ino)) {
				n++
			}
		}
	}
	return n
}

func TestDoWaits(t *testing.T) {
	for name, g := range map[string]Guard{"wait": {Wait: time.Minute}, "standby": {Standby: true}} {
		t.Run(name, func(t *testing.T) {
			g.Dir = stateDir(t)
			var mu sync.Mutex
			var busy sync.WaitGroup
			inside, runs := 0, 0
			for range 5 {
				busy.Go(func() {
					err := g.Do(t.Context(), "job", func(context.Context, *Hold) error {
						mu.Lock()
						defer mu.Unlock()
						inside++
						runs++
						if inside != 1 {
							t.Error("two at once")
						}
						left := 5 - runs
						mu.Unlock()
						if !await.Within(await.Limit, func() bool { return inQueue(t, g.Dir) == left }) {
							t.Errorf("%d of the others stand in the queue, not %d", inQueue(t, g.Dir), left)
						}
						mu.Lock()
						inside--
						return nil
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			busy.Wait()
			if runs != 5 {
				t.Errorf("%d ran, not 5", runs)
			}
		})
	}
}

func TestDoGivesUp(t *testing.T) {
	dir := stateDir(t)
	p, said := start(t, dir)
	if said != "runs" {
		t.Fatal(said)
	}
	never := func(context.Context, *Hold) error { t.Error("two at once"); return nil }
	wantHeld(t, Guard{Dir: dir, Wait: 20 * time.Millisecond}.Do(t.Context(), "job", never), p.Process.Pid)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	wantHeld(t, Guard{Dir: dir, Standby: true}.Do(ctx, "job", never), p.Process.Pid)
	// A wait that was given up must not take the name later.
	p.end()
	if err := (Guard{Dir: dir}).Do(t.Context(), "job", func(context.Context, *Hold) error { return nil }); err != nil {
		t.Error(err)
	}
}

// TestDoContext checks that the block gets the caller's context.
func TestDoContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Guard{Dir: stateDir(t)}.Do(ctx, "job", func(ctx context.Context, _ *Hold) error {
		cancel()
		<-ctx.Done()
		return ctx.Err()
	})
	if !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestDoPaused(t *testing.T) {
	g := Guard{Dir: stateDir(t)}
	ran := 0
	block := func(context.Context, *Hold) error { ran++; return nil }
	if err := g.Pause("job", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if err := g.Do(t.Context(), "job", block); err != ErrPaused || ran != 0 {
		t.Errorf("paused: %v, ran %d times", err, ran)
	}
	if until, paused, err := g.PausedUntil("job"); !paused || !until.IsZero() || err != nil {
		t.Errorf("%v %t %v", until, paused, err)
	}
	if was, err := g.Resume("job"); !was || err != nil {
		t.Error(was, err)
	}
	if err := g.Do(t.Context(), "job", block); err != nil || ran != 1 {
		t.Errorf("resumed: %v, ran %d times", err, ran)
	}
	if was, err := g.Resume("job"); was || err != nil {
		t.Error(was, err)
	}
	if err := g.Pause("job", time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	if err := g.Do(t.Context(), "job", block); err != nil || ran != 2 {
		t.Errorf("a pause that is over: %v, ran %d times", err, ran)
	}
}
