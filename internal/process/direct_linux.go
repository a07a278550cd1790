//go:build amd64 || arm64

package process

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/internal/process/nofile"
	"lifeline/procscan"
)

// The stub costs as much as a program of Go costs to start. Where it has
// nothing to settle, the child does what is left between fork and execve, by
// system calls alone: it writes itself into the record, puts its own pid and
// start time into its environment, takes its descriptors, and is the command.
// That makes a respawn three times as fast.
//
// It runs in this process's memory, as after vfork(2), on a stack of its own,
// while the thread that forked waits for execve: to copy the page tables costs
// more than all else that the child does. So what others see as its environment
// is this process's own, and for that long it says that whoever shows it is a
// stub, but for this process itself: see show.
//
// Nothing may allocate, grow the stack, write a pointer, or take a lock there.
// This is why become only works through what prepared has laid out. An execve
// that waits for a file system holds this process up, as everything that
// package os/exec starts would.

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// vfork makes a system call that forks. The child goes on with become(p), on
// the stack that the call has been told of.
func vfork(number, arg1, arg2 uintptr, p *prepared) (pid uintptr)

var _ = become // called in vfork_linux_*.s

// stack is the child's. There is one at a time: syscall.ForkLock.
var stack [8 << 10]byte

// prepared is all that the child needs, laid out beforehand. What it does, but
// for telling its own numbers and looking at the time and the place, is three
// lists of calls: so hardly anything is left to be programmed between fork and
// execve.
type prepared struct {
	clone          cloneArgs
	begin          []call // its parent lives
	arrange        []call // its own place, signals, descriptors
	last           []call // execve, for one
	draft          Draft
	pid, listenPID []byte // where its own numbers go in the environment; nil: nowhere
	start          []byte
	stat           *byte
	place          *byte        // nil: nothing to look at
	ino            uint64       // of the file that has to be at place
	major, minor   uint32       // and of its device
	now            unix.Statx_t // the one that is there
	until          int64        // on CLOCK_BOOTTIME, in nanoseconds; 0: for ever
	clock          unix.Timespec
	limit          unix.Rlimit
	signals        uint64    // blocked ones: none
	text           [512]byte // of /proc/self/stat
	pin            runtime.Pinner
	argv, env      []*byte
	path, dir      *byte

	// What the child tells.
	born   uint64        // its start time
	failed syscall.Errno // why it isn't the command
}

const moved = syscall.Errno(4096) // no errno of the kernel's: see ErrMoved

const sigSetmask = 2 // SIG_SETMASK, include/uapi/asm-generic/signal-defs.h

// cloneArgs is clone3's struct clone_args (include/uapi/linux/sched.h).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// direct starts the command without a stub; ok is false where only a stub can.
func direct(spec Spec, l layout) (c *Child, ok bool, err error) {
	if !spec.Sure || !nofile.Known {
		return nil, false, nil
	}
	p, ok := prepare(spec, l)
	if !ok {
		return nil, false, nil
	}
	defer p.pin.Unpin()
	var mark []byte
	if spec.Place.Path != "" {
		mark = announcement(l.env, len(ownEnviron()))
		if mark == nil || len(spec.Draft.Text) == 0 {
			return nil, false, nil // it couldn't be seen, or be known later on
		}
	}
	if !p.calls(spec, l) {
		return nil, false, nil
	}
	var pid int
	var errno syscall.Errno
	spec.on(func() {
		syscall.ForkLock.Lock()
		hide := show(mark)
		pid, errno = p.fork()
		hide()
		syscall.ForkLock.Unlock()
		crash.Point("start.over")
	})
	if errno != 0 {
		return nil, true, startError(spec, errno)
	}
	started := make(chan error, 1)
	started <- failed(spec, p.failed)
	return &Child{ID: procscan.ID{PID: pid, Start: p.born}, Started: started}, true, nil
}

// prepare lays out what the command is to get; false: only a stub can do that.
func prepare(spec Spec, l layout) (p *prepared, ok bool) {
	path, ok := find(spec)
	if !ok {
		return nil, false
	}
	p = &prepared{limit: unix.Rlimit{Cur: nofile.Limit.Cur, Max: nofile.Limit.Max}, until: spec.Until, draft: spec.Draft}
	env := workerEnviron(l.env, strings.Repeat("0", 10), strings.Repeat("0", 20))
	if n := len(spec.Listen); n > 0 {
		env = append(listenEnviron(env, n, spec.ListenNames), "LISTEN_PID="+strings.Repeat("0", 10))
	}
	p.ino, p.major, p.minor = spec.Place.Ino, unix.Major(spec.Place.Dev), unix.Minor(spec.Place.Dev)
	var errs [4]error
	p.path, errs[0] = unix.BytePtrFromString(path)
	p.place, errs[1] = optional(spec.Place.Path)
	p.dir, errs[2] = optional(spec.Dir)
	p.argv, errs[3] = syscall.SlicePtrFromStrings(spec.Argv)
	if errors.Join(errs[:]...) != nil { // a zero byte: a stub says so
		return nil, false
	}
	for _, kv := range env {
		text, err := unix.ByteSliceFromString(kv)
		if err != nil {
			return nil, false
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
	return p, true
}

// calls lists what the child does; false: there aren't descriptors enough.
func (p *prepared) calls(spec Spec, l layout) bool {
	// at is the address of what doesn't move as long as p is needed.
	at := func(pointer unsafe.Pointer) uintptr {
		p.pin.Pin(pointer)
		return uintptr(pointer)
	}
	must := func(list *[]call, number uintptr, args ...uintptr) *call {
		c := call{number: number, must: true}
		copy(c.args[:], args)
		*list = append(*list, c)
		return &(*list)[len(*list)-1]
	}
	may := func(number uintptr, args ...uintptr) { must(&p.arrange, number, args...).must = false }
	deathsig := func(list *[]call, sig unix.Signal) {
		if spec.Deathsig != 0 {
			must(list, unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(sig))
		}
		// Killed while we were starting: nobody would watch over the command.
		must(list, unix.SYS_GETPPID).want = uintptr(os.Getpid())
	}
	if spec.CgroupFD != 0 {
		p.clone = cloneArgs{flags: unix.CLONE_VM | unix.CLONE_VFORK | unix.CLONE_INTO_CGROUP, exitSignal: uint64(unix.SIGCHLD),
			stack: uint64(uintptr(unsafe.Pointer(&stack))), stackSize: uint64(len(stack)), cgroup: uint64(spec.CgroupFD)}
	}
	deathsig(&p.begin, unix.SIGKILL) // until it is in the record, and has looked

	// Descriptors: first out of the way of each other, to numbers above all that
	// are meant here, then each to its place.
	free := len(l.files)
	for _, fd := range l.files {
		free = max(free, fd+1)
	}
	move := func(fd int) uintptr {
		must(&p.arrange, unix.SYS_DUP3, uintptr(fd), uintptr(free), unix.O_CLOEXEC)
		free++
		return uintptr(free - 1)
	}
	if spec.Group {
		must(&p.arrange, unix.SYS_SETPGID)
	}
	may(unix.SYS_RT_SIGPROCMASK, sigSetmask, at(unsafe.Pointer(&p.signals)), 0, unsafe.Sizeof(p.signals))
	if spec.Umask >= 0 {
		may(unix.SYS_UMASK, uintptr(spec.Umask))
	}
	if p.dir != nil {
		must(&p.arrange, unix.SYS_CHDIR, at(unsafe.Pointer(p.dir)))
	}
	aside := make([]uintptr, len(l.files))
	for i, fd := range l.files {
		if fd >= 0 {
			aside[i] = move(fd)
		}
	}
	for i, fd := range aside {
		if fd != 0 {
			must(&p.arrange, unix.SYS_DUP3, fd, uintptr(i))
		}
	}
	low := 3 + len(spec.Listen)
	switch {
	case low == l.base:
	case unix.CloseRange(math.MaxInt32, math.MaxInt32, 0) == nil:
		must(&p.arrange, unix.SYS_CLOSE_RANGE, uintptr(low), uintptr(l.base)-1)
	default: // before Linux 5.9
		for fd := low; fd < l.base; fd++ {
			may(unix.SYS_CLOSE, uintptr(fd))
		}
	}
	may(unix.SYS_CLOSE, uintptr(l.status)) // where a stub would have it
	may(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, at(unsafe.Pointer(&p.limit)))

	deathsig(&p.last, spec.Deathsig)
	must(&p.last, unix.SYS_EXECVE, at(unsafe.Pointer(p.path)), at(unsafe.Pointer(&p.argv[0])), at(unsafe.Pointer(&p.env[0])))

	var limit unix.Rlimit
	return unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil && uint64(free) <= limit.Cur
}

// optional is nil for none.
func optional(text string) (*byte, error) {
	if text == "" {
		return nil, nil
	}
	return unix.BytePtrFromString(text)
}

// lastArg is kept from before anybody could put something else into os.Args.
var lastArg = func() string {
	if len(os.Args) == 0 {
		return ""
	}
	return os.Args[len(os.Args)-1]
}()

// ownEnviron is the memory that others see as this process's environment
// (proc_pid_environ(5)): it begins behind the arguments. nil where that can't be
// relied on, and where it says already whose this process is: it may be the
// worker of another lifeline.
var ownEnviron = sync.OnceValue(func() []byte {
	seen, err := os.ReadFile("/proc/self/environ")
	if err != nil || lastArg == "" || bytes.Contains(seen, []byte(nameMark+"=")) {
		return nil
	}
	block := unsafe.Slice((*byte)(unsafe.Add(unsafe.Pointer(unsafe.StringData(lastArg)), len(lastArg)+1)), len(seen))
	if !bytes.Equal(block, seen) {
		return nil
	}
	return block
})

// show has everybody who shows this process's environment show mark, until hide.
// The name, which is what others look for, is the last to be written and the
// first to go: who sees that sees it all.
func show(mark []byte) (hide func()) {
	block := ownEnviron()
	was := bytes.Clone(block[:len(mark)])
	for i := len(mark) - 1; i >= 0; i-- {
		block[i] = mark[i]
	}
	return func() { copy(block, was) }
}

// announcement is the marker of a stub with that environment. Who reads it
// leaves this process itself out: LIFELINE_STUB is its pid and start time. nil
// when there isn't room for it.
func announcement(env []string, room int) []byte {
	value := func(name string) (string, bool) {
		for _, kv := range env {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v, true
			}
		}
		return "", false
	}
	name, ok := value(nameMark)
	space, ok2 := value(spaceMark)
	supervisor, ok3 := value(supervisorMark)
	mark := nameMark + "=" + name + "\x00" + spaceMark + "=" + space + "\x00" + stubMark + "=" + supervisor + "\x00"
	if !ok || !ok2 || !ok3 || len(mark) > room {
		return nil
	}
	return []byte(mark)
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
func failed(spec Spec, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	switch errno {
	case unix.ECANCELED:
		return &ExecError{125, "the supervisor has gone"}
	case moved:
		return ErrMoved
	case unix.ETIME:
		return errLate
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
