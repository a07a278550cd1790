//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/engine"
	"lifeline/proof/pid"
)

// node plays one machine of the cluster: it has a name, a state directory and a link
// to the engine.
type node struct {
	arena *arena
	name  string
	dir   string
	link  *engine.Link
	env   []string // more variables

	mu    sync.Mutex
	guard *pid.Handle // the process that holds the name on this node, or waits for it
	since time.Time   // when it was started
	off   bool        // cron doesn't run
	begun int
	codes []int // of the guards that have ended
	err   error
	done  sync.WaitGroup
}

// tick plays cron: it starts the guard when none runs. The worker behaves as the flags
// say.
func (n *node) tick(flags ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.guard != nil || n.err != nil || n.off {
		return
	}
	cmd, h, err := n.start(n.arena.worker(flags...))
	if err != nil {
		n.err = err
		return
	}
	n.guard, n.since = h, time.Now()
	n.begun++
	n.done.Go(func() {
		_ = cmd.Wait()
		n.mu.Lock()
		defer n.mu.Unlock()
		n.codes = append(n.codes, code(cmd))
		n.guard = nil
		h.Close()
	})
}

func code(cmd *exec.Cmd) int {
	status := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

func (n *node) start(worker []string) (*exec.Cmd, *pid.Handle, error) {
	argv := n.arena.subject.argv(n.arena, n, worker)
	said, err := os.OpenFile(n.arena.path("said-"+n.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, nil, err
	}
	defer said.Close()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(append(environ(), "PROOF_NODE="+n.name), n.env...)
	cmd.Stdout, cmd.Stderr = said, said
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("cannot start %s: %w", argv[0], err)
	}
	// The process can't be reaped before Wait, so the pid is still its own.
	s, err := pid.Look(cmd.Process.Pid)
	if err != nil {
		return nil, nil, err
	}
	h, err := pid.Open(s.ID)
	return cmd, h, err
}

// beside starts a tick while a guard runs. The tick must be silent and exit with 0.
func (n *node) beside() error {
	n.mu.Lock()
	guard := n.guard
	n.mu.Unlock()
	if guard == nil {
		return nil
	}
	argv := n.arena.subject.argv(n.arena, n, n.arena.worker())
	// Where the guard was killed just before, this tick is the next guard, and
	// doesn't end by itself.
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Cancel = func() error { return cmd.Process.Signal(unix.SIGTERM) }
	cmd.Env = append(environ(), "PROOF_NODE="+n.name)
	text, err := cmd.CombinedOutput()
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.guard != guard || guard.Dead() {
		return nil // the guard was killed meanwhile, so this tick may be the next guard
	}
	if err != nil || len(text) > 0 {
		return fmt.Errorf("a tick beside a running guard: %v %q", err, text)
	}
	return nil
}

// stay makes the node lose its power, or gives it back.
func (n *node) stay(off bool) {
	n.mu.Lock()
	n.off = off
	n.mu.Unlock()
	if off {
		for _, program := range []string{n.arena.programs.Lifeline, n.arena.remote, n.arena.programs.Witness} {
			n.each(program, unix.SIGKILL)
		}
	}
}

// signal signals the guard of this node.
func (n *node) signal(sig unix.Signal) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.guard != nil {
		n.guard.Signal(sig)
	}
}

// end asks the guard to end.
func (n *node) end() {
	n.signal(unix.SIGCONT)
	n.signal(unix.SIGTERM)
}

// each signals the processes of this node that run the given program.
func (n *node) each(program string, sig unix.Signal) {
	for _, id := range n.processes(program) {
		if h, err := pid.Open(id); err == nil {
			h.Signal(sig)
			h.Close()
		}
	}
}

// processes lists the processes of this node that run the given program.
func (n *node) processes(program string) []pid.ID {
	var list []pid.ID
	for _, id := range pid.Below(n.arena.programs.Dir) {
		exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", id.PID))
		if err == nil && filepath.Base(exe) == filepath.Base(program) && n.owns(id.PID) {
			list = append(list, id)
		}
	}
	return list
}

// owns reports whether the process belongs to this node, by its environment or as a
// child of the guard.
func (n *node) owns(process int) bool {
	if node := nodeOf(process); node != "" {
		return node == n.name
	}
	s, err := pid.Look(process)
	n.mu.Lock()
	defer n.mu.Unlock()
	return err == nil && n.guard != nil && (s.PPID == n.guard.PID || s.PID == n.guard.PID)
}

// nodeOf reads the node's name from a process's environment.
func nodeOf(process int) string {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/environ", process))
	for kv := range bytes.SplitSeq(text, []byte{0}) {
		if name, ok := strings.CutPrefix(string(kv), "PROOF_NODE="); ok {
			return name
		}
	}
	return ""
}
