//go:build linux

package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/check"
)

// plan makes a random tree for tree.c, and counts its processes.
func plan(r *rand.Rand, depth int) (text string, processes int) {
	var p strings.Builder
	for _, habit := range "xsgtde" { // x first: what it leaves is read again
		if r.IntN(3) == 0 && (habit != 'd' || depth > 0) {
			p.WriteRune(habit)
		}
	}
	p.WriteByte('(')
	processes = 1
	if depth < 4 {
		for range r.IntN(4 - depth/2) {
			child, n := plan(r, depth+1)
			p.WriteString(child)
			processes += n
		}
	}
	p.WriteByte(')')
	return p.String(), processes
}

// grown is a tree whose processes all run.
type grown struct {
	*subject
	marker string
	alive  int // every process of the tree holds the other end of this fifo
}

// grow starts lifeline with a tree, and waits until all processes of the tree run.
func (b *bench) grow(text string, processes int, options ...string) (*grown, error) {
	dir, times, err := b.room()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(dir, "alive")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		return nil, err
	}
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	g := &grown{marker: fmt.Sprintf("tree-%016x", rand.Uint64()), alive: fd}
	if g.subject, err = start("lifeline", dir, times, nil, b.argv(dir, append([]string{"--kill-after", "100ms"},
		options...), b.tree, g.marker, text)); err != nil {
		return nil, err
	}
	// A read before the first writer would end at once.
	for deadline, seen := time.Now().Add(patience), 0; seen < processes; {
		n, err := unix.Read(fd, make([]byte, processes-seen))
		seen += max(n, 0)
		switch {
		case err != nil && err != unix.EAGAIN && err != unix.EINTR:
			return nil, err
		case time.Now().After(deadline):
			g.end()
			return nil, fmt.Errorf("of %d processes of %s only %d began; printed: %q", processes, text, seen, g.said())
		case n <= 0:
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 5)
		}
	}
	return g, nil
}

// fell ends the tree by `lifeline terminate`. The error says which process is left.
func (b *bench) fell(g *grown) (took time.Duration, err error) {
	defer unix.Close(g.alive)
	defer g.end()
	began := time.Now()
	cmd := exec.Command(b.lifeline, "terminate", "--dir", filepath.Join(g.dir, "state"), "--kill-after", "5s", "web")
	cmd.Env = environ()
	if said, err := cmd.CombinedOutput(); err != nil || string(said) != "web: ended\n" {
		return 0, fmt.Errorf("lifeline terminate: %v; it printed %q", err, said)
	}
	took = time.Since(began)
	// If every process has ended, the FIFO's other end is closed, and a read sees the end
	// of file without a wait.
	text := make([]byte, 1<<16)
	for {
		n, err := unix.Read(g.alive, text)
		switch {
		case err == unix.EAGAIN:
			return took, fmt.Errorf("a process is alive after terminate:\n%s", marked(g.marker))
		case err == unix.EINTR || n > 0:
			continue
		case err != nil:
			return took, err
		}
		break
	}
	if left := marked(g.marker); left != "" {
		return took, fmt.Errorf("still there after terminate:\n%s", left)
	}
	return took, nil
}

// marked lists the processes whose command line has the text, except zombies and
// terminate itself.
func marked(text string) string {
	var found strings.Builder
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		line, err := os.ReadFile(f)
		if err == nil && bytes.Contains(line, []byte(text)) {
			stat, _ := os.ReadFile(filepath.Dir(f) + "/stat")
			fmt.Fprintf(&found, "%s: %s%s\n", f, bytes.ReplaceAll(line, []byte{0}, []byte{' '}), stat)
		}
	}
	return found.String()
}

// runaway ends a tree that forks all the time. The tree ends by itself after two
// minutes, so terminate must be faster.
func (b *bench) runaway(options ...string) (time.Duration, error) {
	g, err := b.grow("r", 1, options...)
	if err != nil {
		return 0, err
	}
	time.Sleep(500 * time.Millisecond) // let it multiply
	return b.fell(g)
}

// trees prints the table of how the trees ended.
func (b *bench) trees(o *options) error {
	seed := rand.Uint64()
	r := rand.New(rand.NewPCG(seed, 0))
	var took []time.Duration
	total, most := 0, 0
	for n := range o.trees {
		text, processes := plan(r, 0)
		g, err := b.grow(text, processes)
		if err != nil {
			return err
		}
		t, err := b.fell(g)
		if err != nil {
			return fmt.Errorf("tree %d of seed %d, %s: %w", n, seed, text, err)
		}
		took = append(took, t)
		total, most = total+processes, max(most, processes)
	}
	wild, err := b.runaway()
	if err != nil {
		return fmt.Errorf("the runaway: %w", err)
	}
	fmt.Printf("\n### Trees ended by lifeline terminate\n\n| | trees | processes | alive afterwards | p50 | max | " +
		"how |\n|---|--:|--:|--:|--:|--:|---|\n")
	fmt.Printf("| random trees | %d | %d, at most %d in one | 0 | %s | %s | forks, sessions, groups, double forks, "+
		"SIGTERM ignored, environment wiped, arguments overwritten, executed again without an environment; seed %d; "+
		"--kill-after 100ms. Each holds a fifo open, whose end of file must be there when terminate returns; and no "+
		"command line in /proc has the tree's marker |\n",
		len(took), total, most, short(check.Quantile(took, 0.5)), short(check.Quantile(took, 1)), seed)
	fmt.Printf("| a runaway | 1 | up to 300 at once | 0 | %s | %s | each forks another and half of them end, every 3 "+
		"ms, some in sessions of their own |\n", short(wild), short(wild))
	return nil
}
