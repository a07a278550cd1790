package child

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"lifeline/lifeline/child/nofile"
)

// The stub costs as much as a program of Go costs to start. Where it has
// nothing to settle, the child does what is left between fork and execve, by
// system calls alone: it puts its own pid and start time into its environment,
// takes its descriptors, and is the command. That makes a respawn three times
// as fast. It is seen meanwhile as a stub would be, by what it writes over its
// copy of this process's own environment block.
//
// Between fork and execve of a program with threads nothing may allocate, grow
// the stack, write a pointer, or take a lock. This is why become is one
// function that works on what prepared has laid out, as
// syscall.forkAndExecInChild1 is. Unlike that one it forks without CLONE_VM:
// the child's stack and buffers are its own.

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// prepared is all that the child needs, laid out beforehand.
type prepared struct {
	path *byte
	argv []*byte
	env  []*byte
	dir  *byte // nil: none

	pid, listenPID, start []byte // where its own numbers go in env; nil: nowhere

	from, to     []int // descriptors: from[i] becomes to[i]
	low          int   // those from here to high are closed
	high         int
	status       int // gets the errno of a failure
	parent       int
	deathsig     unix.Signal
	group        bool
	umask        int // -1: leave it
	cgroup       int // descriptor, 0 for none
	limit        *unix.Rlimit
	mask         uint64 // no signal
	stat         *byte
	gate         int          // nothing happens before a byte comes out of it
	gateIn       int          // the other end, the parent's
	shown        []byte       // this process's own environment, as others see it
	mark         []byte       // what they are to see
	place        *byte        // nil: nothing to look at
	ino          uint64       // of the file that has to be at place
	major, minor uint32       // and of its device
	now          unix.Statx_t // the one that is there
	text         [512]byte    // of /proc/self/stat
	clone        cloneArgs
	first        int // the number above all in from and to
	slot         int // where a stub would have status
}

const moved = syscall.Errno(4096) // no errno of the kernel's: see ErrMoved

const sigSetmask = 2 // SIG_SETMASK, include/uapi/asm-generic/signal-defs.h

// cloneArgs is clone3's struct clone_args (include/uapi/linux/sched.h).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// direct forks and becomes the command without a stub; ok is false where only
// a stub can. The child waits for release before it becomes the command.
func direct(spec Spec, l layout) (pid int, release func(), ok bool, err error) {
	release = func() {}
	if !spec.Sure || spec.Until != 0 || !nofile.Known {
		return 0, release, false, nil
	}
	path, ok := find(spec)
	if !ok {
		return 0, release, false, nil
	}
	p := &prepared{
		low: 3 + len(spec.Listen), high: l.base, status: l.report, parent: os.Getpid(),
		deathsig: spec.Deathsig, group: spec.Group, umask: spec.Umask, cgroup: spec.CgroupFD,
		first: len(l.files), slot: l.status,
		limit: &unix.Rlimit{Cur: nofile.Limit.Cur, Max: nofile.Limit.Max},
	}
	for i, fd := range l.files {
		if fd >= 0 && fd != l.report {
			p.from, p.to = append(p.from, fd), append(p.to, i)
			p.first = max(p.first, fd+1)
		}
	}
	env := workerEnviron(l.env, strings.Repeat("0", 10), strings.Repeat("0", 20))
	if n := len(spec.Listen); n > 0 {
		env = append(listenEnviron(env, n, spec.ListenNames), "LISTEN_PID="+strings.Repeat("0", 10))
	}
	if p.path, err = unix.BytePtrFromString(path); err != nil {
		return 0, release, false, nil
	}
	if spec.Place.Path != "" {
		p.shown, p.ino = ownEnviron(), spec.Place.Ino
		p.major, p.minor = unix.Major(spec.Place.Dev), unix.Minor(spec.Place.Dev)
		if p.mark = announcement(l.env, len(p.shown)); p.mark == nil {
			return 0, release, false, nil // it couldn't be seen
		}
		if p.place, err = unix.BytePtrFromString(spec.Place.Path); err != nil {
			return 0, release, false, nil
		}
	}
	if spec.Dir != "" {
		if p.dir, err = unix.BytePtrFromString(spec.Dir); err != nil {
			return 0, release, false, nil
		}
	}
	if p.argv, err = syscall.SlicePtrFromStrings(spec.Argv); err != nil {
		return 0, release, false, nil
	}
	for _, kv := range env {
		text, err := unix.ByteSliceFromString(kv)
		if err != nil {
			return 0, release, false, nil
		}
		name, _, _ := strings.Cut(kv, "=")
		switch value := text[len(name)+1 : len(text)-1]; name {
		case pidMark:
			p.pid = value
		case startMark:
			p.start = value
		case "LISTEN_PID":
			p.listenPID = value
		}
		p.env = append(p.env, &text[0])
	}
	p.env = append(p.env, nil)
	p.stat, _ = unix.BytePtrFromString("/proc/self/stat")
	if p.cgroup != 0 {
		p.clone = cloneArgs{flags: unix.CLONE_INTO_CGROUP, exitSignal: uint64(unix.SIGCHLD), cgroup: uint64(p.cgroup)}
	}
	var gate [2]int
	if err := unix.Pipe2(gate[:], unix.O_CLOEXEC); err != nil {
		return 0, release, true, err
	}
	p.gate, p.gateIn, p.first = gate[0], gate[1], max(p.first, gate[0]+1)
	syscall.ForkLock.Lock()
	var errno syscall.Errno
	spec.on(func() { pid, errno = p.fork() })
	syscall.ForkLock.Unlock()
	runtime.KeepAlive(p)
	unix.Close(gate[0])
	if errno != 0 {
		unix.Close(gate[1])
		return 0, release, true, errno
	}
	return pid, func() {
		_, _ = unix.Write(gate[1], []byte{1}) // EPIPE: it has ended already
		unix.Close(gate[1])
	}, true, nil
}

// lastArg is kept from before anybody could put something else into os.Args.
var lastArg = func() string {
	if len(os.Args) == 0 {
		return ""
	}
	return os.Args[len(os.Args)-1]
}()

// ownEnviron is the memory that others see as this process's environment
// (proc_pid_environ(5)): it begins behind the arguments. A forked child has a
// copy of its own. nil where that can't be relied on.
var ownEnviron = sync.OnceValue(func() []byte {
	seen, err := os.ReadFile("/proc/self/environ")
	if err != nil || lastArg == "" {
		return nil
	}
	block := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.StringData(lastArg)), len(lastArg)+1)), len(seen))
	if !bytes.Equal(block, seen) {
		return nil
	}
	return block
})

// announcement is the marker of a stub, as much of it as there is room for; nil
// when that isn't enough to be known by.
func announcement(env []string, room int) []byte {
	var mark []byte
	for i, name := range []string{nameMark, spaceMark, stubMark, idMark, supervisorMark} {
		at := slices.IndexFunc(env, func(kv string) bool { return strings.HasPrefix(kv, name+"=") })
		switch {
		case at >= 0 && len(mark)+len(env[at])+1 <= room:
			mark = append(append(mark, env[at]...), 0)
		case i < 3:
			return nil
		}
	}
	return mark
}

// find gives the path to execute: nothing is looked up relative to a directory
// that the child only changes to later.
func find(spec Spec) (path string, ok bool) {
	name := spec.Argv[0]
	if strings.Contains(name, "/") {
		return name, filepath.IsAbs(name) || spec.Dir == ""
	}
	search := ""
	for _, kv := range spec.Env {
		if value, is := strings.CutPrefix(kv, "PATH="); is {
			search = value // the last one counts, as in merge
		}
	}
	path, err := lookPath(name, search)
	return path, err == nil && filepath.IsAbs(path)
}

// failed says what the child of direct could not do.
func failed(spec Spec, text []byte) error {
	if len(text) == 0 {
		return nil
	}
	errno := syscall.Errno(int(text[0]) | int(text[1])<<8)
	switch errno {
	case unix.ECANCELED:
		return &ExecError{125, "the supervisor has gone"}
	case moved:
		return ErrMoved
	}
	if spec.Dir != "" {
		if err := unix.Access(spec.Dir, unix.X_OK); err != nil {
			return &ExecError{125, fmt.Sprintf("cannot change to the directory %s: %v", spec.Dir, err)}
		}
	}
	path, _ := find(spec)
	if err := executable(path); err != nil && filepath.IsAbs(path) {
		return err
	}
	return execError(path, errno)
}
