package process

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// Tree describes a worker and all its descendants. A descendant is found by its parents,
// its process group, the generation's marker, its cgroup, or its adoption by the
// supervisor. A session of its own, a double fork or an empty environment defeats some of
// these ways, but not all.
type Tree struct {
	Root  procscan.ID // the worker; zero when it is gone
	Group int         // its process group; 0 when it has none of its own
	// Above is the supervisor, whose descendants except Not are part of the tree; zero
	// when they aren't.
	Above procscan.ID
	Not   []procscan.ID // the supervisor's other children, left out with their descendants
	Also  []procscan.ID // more roots, known from earlier
	// Cgroup is the tree's own; nil for none.
	Cgroup *Cgroup
	// Marker and Value are the environment variable of all descendants; "" for none.
	Marker, Value string
}

// ErrNotPermitted says that this process may not signal another user's (kill(2)).
var ErrNotPermitted = errors.New("not permitted")

// ErrStillAlive says that a tree couldn't be ended in time.
var ErrStillAlive = errors.New("still alive")

// Members lists the living processes of the tree, the root first. Some may be missing
// while members fork and end, but the list isn't empty because of that.
func (t Tree) Members() []procscan.ID {
	for tries := 1; ; tries++ {
		if members, sure := t.look(); len(members) > 0 || sure || tries == 20 {
			return members
		}
	}
}

// look reads the process table once; sure says that nothing changed meanwhile.
func (t Tree) look() (members []procscan.ID, sure bool) {
	table, sure, err := procscan.ReadAll(markerPrefix)
	if err != nil {
		if t.Root.Alive() {
			members = append(members, t.Root)
		}
		return members, errors.Is(err, procscan.ErrBlind)
	}
	children := make(map[int][]int, len(table.Processes))
	for _, p := range table.Processes {
		children[p.PPID] = append(children[p.PPID], p.PID)
	}
	seen := map[int]bool{os.Getpid(): true}
	if !t.Above.Zero() {
		seen[t.Above.PID] = true
	}
	for _, id := range t.Not {
		seen[id.PID] = true
	}
	var add func(pid, parent int) // parent is 0 for a process not found by its parent
	add = func(pid, parent int) {
		s, ok := table.Get(pid)
		if !ok || seen[pid] || s.Kernel {
			return
		}
		if above, _ := table.Get(parent); parent != 0 && !stillChild(s.ID, above.ID) {
			sure = false
			return
		}
		seen[pid] = true
		members = append(members, s.ID)
		for _, c := range children[pid] {
			add(c, pid)
		}
	}
	for _, id := range append([]procscan.ID{t.Root}, t.Also...) {
		if table.Has(id) {
			add(id.PID, 0)
		}
	}
	if table.Has(t.Above) {
		for _, c := range children[t.Above.PID] {
			add(c, t.Above.PID)
		}
	}
	if t.Cgroup != nil {
		for _, id := range t.Cgroup.Members() {
			if !table.Has(id) { // started after the table was read
				if p, ok := procscan.Look(id.PID, markerPrefix); ok {
					table.Put(p)
				}
			}
			add(id.PID, 0)
		}
	}
	// A group may outlive its leader, and the kernel gives the group's number to no
	// new process meanwhile. When another process has the number, the group is gone.
	if leader, ok := table.Get(t.Group); t.Group != 0 && (!ok || t.Root.Zero() || leader.Start == t.Root.Start) {
		for _, p := range table.Processes {
			if p.PGID == t.Group && p.Start >= t.Root.Start {
				add(p.PID, 0)
			}
		}
	}
	if t.Marker != "" && t.Value != "" {
		for _, p := range table.Processes {
			if p.Env[t.Marker] == t.Value {
				add(p.PID, 0)
			}
		}
	}
	return members, sure
}

// stillChild reports whether id is alive and a child of parent. A pid may have been
// reused while the table was read, and its new process must not be ended.
func stillChild(id, parent procscan.ID) bool {
	s, err := procscan.Lookup(id.PID)
	if err != nil || s.Start != id.Start || s.PPID != parent.PID {
		return false
	}
	p, err := procscan.Lookup(parent.PID)
	return err == nil && p.Start == parent.Start
}

// markerPrefix is what the names of all marker variables begin with.
const markerPrefix = "LIFELINE_"

// Memory returns what all members use together, in bytes.
func (t Tree) Memory() (n int64) {
	for _, id := range t.Members() {
		n += int64(procscan.Memory(id))
	}
	return n
}

// Stop sends sig to every member, and then SIGCONT, which lets a stopped member act on
// sig. It returns the members.
func (t Tree) Stop(sig unix.Signal) []procscan.ID {
	if !t.Root.Zero() {
		_ = Send(t.Root, sig) // first, because listing the members takes time
		yield()
	}
	members := t.Members()
	for _, id := range members {
		if id != t.Root {
			_ = Send(id, sig)
		}
	}
	for _, id := range members {
		_ = Send(id, unix.SIGCONT)
	}
	return members
}

// Kill sends SIGSTOP to all members until none can fork, and then SIGKILL. It returns
// when no member is alive. ErrStillAlive means that a member outlived ctx because it
// hangs in the kernel.
func (t Tree) Kill(ctx context.Context) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		if t.Cgroup != nil {
			_ = t.Cgroup.Kill() // kills all at once; members outside the cgroup follow
		}
		members := t.Members()
		if len(members) == 0 {
			return nil
		}
		stopped := map[procscan.ID]bool{}
		for round := 0; round < 100; round++ {
			fresh := 0
			for _, id := range members {
				if !stopped[id] {
					stopped[id] = true
					fresh++
					_ = Send(id, unix.SIGSTOP)
				}
			}
			if fresh == 0 {
				break
			}
			members = t.Members()
		}
		var refused procscan.ID
		for id := range stopped {
			if errors.Is(Send(id, unix.SIGKILL), unix.EPERM) {
				refused = id
			}
		}
		if !refused.Zero() { // waiting doesn't help
			return fmt.Errorf("pid %d: %w: it runs as another user; end it as that user or as root", refused.PID,
				ErrNotPermitted)
		}
		for id := range stopped {
			_ = WaitGone(ctx, id, wait)
		}
		if ctx.Err() != nil {
			if members = t.Members(); len(members) > 0 {
				return fmt.Errorf("pid %d is %w after SIGKILL", members[0].PID, ErrStillAlive)
			}
		}
	}
}

// End asks the tree to end, waits up to grace, and kills what is left. With mainFirst
// the root gets sig first, and the rest when the root has ended.
func (t Tree) End(ctx context.Context, sig unix.Signal, grace time.Duration, mainFirst bool) error {
	deadline := time.Now().Add(grace)
	if mainFirst && t.Root.Alive() && grace > 0 {
		t.Also = append(t.Also, t.Members()...) // found before the root's end hides them
		_ = Send(t.Root, sig)
		_ = Send(t.Root, unix.SIGCONT)
		_ = WaitGone(ctx, t.Root, grace)
	}
	if ctx.Err() == nil && (grace == 0 || time.Now().Before(deadline)) {
		t.Stop(sig)
	}
	for {
		members := t.Members()
		if len(members) == 0 {
			return nil
		}
		left := time.Until(deadline)
		if left <= 0 || ctx.Err() != nil {
			break
		}
		if WaitGone(ctx, members[0], min(left, 100*time.Millisecond)) != nil {
			// List the members again: some may have been forked after the signal.
			continue
		}
	}
	if ctx.Err() != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
	}
	return t.Kill(ctx)
}
