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

// Tree is a worker and everything that comes from it, however it tried to get
// away: by a session of its own, by a double fork, by wiping its environment.
// Each of those loses one of the ways by which a process is found, none loses
// all: parentage, process group, the marker of the generation, and the
// parentage of what was orphaned, which comes to the supervisor.
type Tree struct {
	Root  procscan.ID // the worker; zero when it is gone
	Group int         // its process group; 0 when it has none of its own
	// Above is the supervisor: whatever descends from it, and isn't in Not, is
	// part of the tree. Zero when it isn't known.
	Above procscan.ID
	Not   []procscan.ID // the supervisor's other children, left alone with theirs
	Also  []procscan.ID // known from an earlier look: more roots
	// Cgroup is the tree's own, nil where there is none.
	Cgroup *Cgroup
	// Marker and Value are the variable by which descendants are known ("":
	// none).
	Marker, Value string
}

// ErrNotPermitted says that a process belongs to a user whose processes this one
// may not signal (kill(2)).
var ErrNotPermitted = errors.New("not permitted")

// ErrStillAlive says that a tree couldn't be ended in time.
var ErrStillAlive = errors.New("still alive")

// Members lists what of the tree is alive, the root first. While members fork
// and end under the look a few may be missing from it, but it doesn't come out
// empty because of that.
func (t Tree) Members() []procscan.ID {
	for tries := 1; ; tries++ {
		if members, sure := t.look(); len(members) > 0 || sure || tries == 20 {
			return members
		}
	}
}

// look is one look around; sure says that nothing changed meanwhile.
func (t Tree) look() (members []procscan.ID, sure bool) {
	table, sure, err := procscan.ReadAll(markerPrefix)
	if err != nil {
		if t.Root.Alive() {
			return []procscan.ID{t.Root}, true
		}
		return nil, true
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
	var add func(pid, parent int) // parent is 0 for one that isn't known by its parent
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
			if !table.Has(id) { // born since the look around
				if p, ok := procscan.Look(id.PID, markerPrefix); ok {
					table.Put(p)
				}
			}
			add(id.PID, 0)
		}
	}
	// A group outlives its leader, and its number isn't given to a new process
	// while it does (kernel: pid is kept while used as a pgid). Where another
	// process has it as its pid, the group is gone.
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
				add(p.PID, 0) // who writes our marker into his own process asks for it
			}
		}
	}
	return members, sure
}

// stillChild reports that id is alive and parent its parent. A table takes a
// while to read, and where many processes come and go a pid in it may be
// another's by now: no process is ended for that.
func stillChild(id, parent procscan.ID) bool {
	s, err := procscan.Lookup(id.PID)
	if err != nil || s.Start != id.Start || s.PPID != parent.PID {
		return false
	}
	p, err := procscan.Lookup(parent.PID)
	return err == nil && p.Start == parent.Start
}

// markerPrefix is what the variables of every marker begin with.
const markerPrefix = "LIFELINE_"

// Memory is what all members use together, in bytes.
func (t Tree) Memory() (n int64) {
	for _, id := range t.Members() {
		n += int64(procscan.Memory(id))
	}
	return n
}

// Signal sends sig to every member, once.
func (t Tree) Signal(sig unix.Signal) {
	for _, id := range t.Members() {
		_ = Send(id, sig)
	}
}

// Stop asks every member to end: sig, then SIGCONT, so that a stopped one can
// hear it. It gives those that it has asked.
func (t Tree) Stop(sig unix.Signal) []procscan.ID {
	if !t.Root.Zero() {
		_ = Send(t.Root, sig) // at once: the look around takes its time
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

// Kill ends every member for certain: stop them all first, until none is left
// that could fork, then kill. It returns when none is alive. ErrStillAlive
// names one that didn't end before ctx did (it hangs in the kernel).
func (t Tree) Kill(ctx context.Context) error {
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		if t.Cgroup != nil {
			_ = t.Cgroup.Kill() // all at once; what isn't in it follows
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

// End asks the tree to end, waits for up to grace, and kills what is left. With
// mainFirst the rest of the tree gets the signal when the root has ended.
func (t Tree) End(ctx context.Context, sig unix.Signal, grace time.Duration, mainFirst bool) error {
	deadline := time.Now().Add(grace)
	if mainFirst && t.Root.Alive() && grace > 0 {
		t.Also = append(t.Also, t.Members()...) // what the root's end would hide
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
			// One may have been forked after the signal went round, another may
			// have been waited for in vain: look again.
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
