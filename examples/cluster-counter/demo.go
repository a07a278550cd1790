//go:build linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// node plays one of the two nodes: its crontab, and the processes that cron started.
type node struct {
	name string
	env  []string
	jobs [][]string

	mu   sync.Mutex
	down bool
	cmds map[string]*exec.Cmd
}

// demo runs the whole demonstration. It fails when a number was counted twice or lost,
// or when counting stopped.
func demo(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "cluster-counter")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	lifeline, err := programs(ctx, dir)
	if err != nil {
		return err
	}
	url, stop, err := database(ctx, dir)
	if err != nil {
		return err
	}
	defer stop()
	if text, err := exec.CommandContext(ctx, filepath.Join(filepath.Dir(lifeline), "lifeline-remote"), "init",
		url).CombinedOutput(); err != nil {
		return fmt.Errorf("cannot make lifeline's table: %w\n%s", err, text)
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	fmt.Printf("two nodes, a and b; PostgreSQL is at %s\n", url)
	seen := newScore(os.Stdout)
	nodes := map[string]*node{}
	for _, name := range []string{"a", "b"} {
		state := filepath.Join(dir, name)
		nodes[name] = &node{name: name, cmds: map[string]*exec.Cmd{},
			env: append(os.Environ(), "NODE="+name, "DATABASE="+url),
			jobs: [][]string{ // the node's crontab
				{lifeline, "--cluster", url, "--node", name, "--ttl", "1s", "--kill-after", "200ms",
					"--dir", state, "counter",
					"--", self, "publish"},
				{lifeline, "--respawn", "--dir", state, "listener", "--", self, "listen"},
			}}
	}
	defer func() {
		for _, n := range nodes {
			n.end()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for _, n := range nodes {
		go n.cron(ctx, seen)
	}

	first, err := seen.wait(ctx, func(s *score) string { return s.after(4, "") })
	if err != nil {
		return fmt.Errorf("no node counts: %w", err)
	}
	fmt.Printf("--- node %s, which counts, loses its power\n", first)
	nodes[first].kill()
	second, err := seen.wait(ctx, func(s *score) string { return s.after(4, first) })
	if err != nil {
		return fmt.Errorf("no node counted on: %w", err)
	}
	fmt.Printf("--- node %s counts on; %s comes back, and stands by\n", second, first)
	nodes[first].revive()
	if _, err := seen.wait(ctx, func(s *score) string { return s.both(first) }); err != nil {
		return fmt.Errorf("%s didn't come back: %w", first, err)
	}
	return seen.judge()
}

// cron starts each job every half second, as the real cron would every minute.
// lifeline makes sure that one instance runs.
func (n *node) cron(ctx context.Context, out io.Writer) {
	for ctx.Err() == nil {
		for _, argv := range n.jobs {
			n.start(argv, out)
		}
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (n *node) start(argv []string, out io.Writer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	key := strings.Join(argv, " ")
	if n.down || n.cmds[key] != nil { // a second start would end at once
		return
	}
	r, w, err := os.Pipe()
	if err != nil {
		return
	}
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = n.env, w, w
	err = cmd.Start()
	w.Close()
	if err != nil {
		r.Close()
		fmt.Fprintln(out, err)
		return
	}
	n.cmds[key] = cmd
	go func() {
		defer r.Close()
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			fmt.Fprintln(out, lines.Text())
		}
	}()
	go func() {
		_ = cmd.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		delete(n.cmds, key)
	}()
}

// kill kills every process of the node at once, as a power failure does.
func (n *node) kill() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = true
	for range 3 { // a process that is forked during one pass is found by the next
		for _, pid := range marked("NODE=" + n.name) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

// revive lets cron start everything again.
func (n *node) revive() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.down = false
}

// end asks every process to end, and waits until all have ended.
func (n *node) end() {
	n.mu.Lock()
	n.down = true
	for _, cmd := range n.cmds {
		_ = cmd.Process.Signal(syscall.SIGTERM)
	}
	n.mu.Unlock()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		n.mu.Lock()
		left := len(n.cmds)
		n.mu.Unlock()
		if left == 0 {
			return
		}
	}
	n.kill()
}

// marked lists the processes of this user that have the entry in their environment.
func marked(entry string) []int {
	paths, _ := filepath.Glob("/proc/[0-9]*/environ")
	var pids []int
	for _, path := range paths {
		text, err := os.ReadFile(path)
		var pid int
		if err == nil && strings.Contains("\x00"+string(text), "\x00"+entry+"\x00") {
			if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err == nil && pid != os.Getpid() {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}
