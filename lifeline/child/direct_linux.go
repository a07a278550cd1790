package child

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
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
// the stack, write a pointer, or take a lock. This is why become only works
// through what prepared has laid out. Unlike syscall.forkAndExecInChild1 it
// forks without CLONE_VM: the child's stack and buffers are its own.

//go:linkname beforeFork syscall.runtime_BeforeFork
func beforeFork()

//go:linkname afterFork syscall.runtime_AfterFork
func afterFork()

//go:linkname afterForkInChild syscall.runtime_AfterForkInChild
func afterForkInChild()

// prepared is all that the child needs, laid out beforehand. What it does, but
// for telling its own numbers and looking at the time and the place, is three
// lists of calls: so hardly anything is left to be programmed between fork and
// execve.
type prepared struct {
	clone          cloneArgs
	arrange        []call // its own place, signals, descriptors
	pass           []call // the gate: until the record says who it is
	last           []call // execve, for one
	status, report uintptr
	pid, listenPID []byte // where its own numbers go in the environment; nil: nowhere
	start          []byte
	stat           *byte
	shown          []byte       // this process's own environment, as others see it
	mark           []byte       // what they are to see
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
}

const moved = syscall.Errno(4096) // no errno of the kernel's: see ErrMoved

const sigSetmask = 2 // SIG_SETMASK, include/uapi/asm-generic/signal-defs.h

// cloneArgs is clone3's struct clone_args (include/uapi/linux/sched.h).
type cloneArgs struct {
	flags, pidfd, childTID, parentTID, exitSignal, stack, stackSize, tls, setTID, setTIDSize, cgroup uint64
}

// direct forks and becomes the command without a stub; ok is false where only
// a stub can. The child waits for release before it becomes the command.
func direct(spec Spec, l layout) (w way, ok bool) {
	if !spec.Sure || !nofile.Known {
		return way{}, false
	}
	p, ok := prepare(spec, l)
	if !ok {
		return way{}, false
	}
	var gate [2]int
	if unix.Pipe2(gate[:], unix.O_CLOEXEC) != nil {
		return way{}, false
	}
	if !p.calls(spec, l, gate) {
		unix.Close(gate[0])
		unix.Close(gate[1])
		p.pin.Unpin()
		return way{}, false
	}
	fork := func() (int, error) {
		syscall.ForkLock.Lock()
		pid, errno := p.fork()
		syscall.ForkLock.Unlock()
		if errno != 0 {
			unix.Close(gate[0])
			unix.Close(gate[1])
			p.pin.Unpin()
			return 0, errno
		}
		return pid, nil
	}
	release := func() {
		_, _ = unix.Write(gate[1], []byte{1}) // EPIPE: it has ended already
		unix.Close(gate[0])
		unix.Close(gate[1])
	}
	said := func(text []byte) error {
		p.pin.Unpin() // late: what a fork has just made read-only is dear to write
		return failed(spec, text)
	}
	return way{fork, release, said, true}, true
}

// patience is how long listen waits at most.
const patience = 5 * time.Millisecond

// listen reads what the child says until it has become the command, which
// closes its end of the pipe; over is false when that hasn't come soon. The
// runtime doesn't hear of the wait: it would begin to look for other work, on
// the very processors that the child is to have.
func listen(status int) (text []byte, over bool) {
	fds := unix.PollFd{Fd: int32(status), Events: unix.POLLIN}
	for began := time.Now(); ; {
		left := patience - time.Since(began)
		if left <= 0 {
			return text, false
		}
		t := unix.NsecToTimespec(int64(left))
		syscall.RawSyscall6(unix.SYS_PPOLL, uintptr(unsafe.Pointer(&fds)), 1, uintptr(unsafe.Pointer(&t)), 0, 0, 0)
		var more [512]byte
		switch n, err := unix.Read(status, more[:]); {
		case n > 0:
			text = append(text, more[:n]...)
		case n == 0 && err == nil:
			return text, true
		}
	}
}

// prepare lays out what the command is to get; false: only a stub can do that.
func prepare(spec Spec, l layout) (p *prepared, ok bool) {
	path, ok := find(spec)
	if !ok {
		return nil, false
	}
	p = &prepared{limit: unix.Rlimit{Cur: nofile.Limit.Cur, Max: nofile.Limit.Max}, until: spec.Until}
	env := workerEnviron(l.env, strings.Repeat("0", 10), strings.Repeat("0", 20))
	if n := len(spec.Listen); n > 0 {
		env = append(listenEnviron(env, n, spec.ListenNames), "LISTEN_PID="+strings.Repeat("0", 10))
	}
	if spec.Place.Path != "" {
		p.shown, p.ino = ownEnviron(), spec.Place.Ino
		p.major, p.minor = unix.Major(spec.Place.Dev), unix.Minor(spec.Place.Dev)
		if p.mark = announcement(l.env, len(p.shown)); p.mark == nil {
			return nil, false // it couldn't be seen
		}
	}
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
func (p *prepared) calls(spec Spec, l layout, gate [2]int) bool {
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
		p.clone = cloneArgs{flags: unix.CLONE_INTO_CGROUP, exitSignal: uint64(unix.SIGCHLD), cgroup: uint64(spec.CgroupFD)}
	}

	// Descriptors: first out of the way of each other, to numbers above all that
	// are meant here, then each to its place.
	free := max(len(l.files), l.report+1, gate[0]+1, gate[1]+1)
	for _, fd := range l.files {
		free = max(free, fd+1)
	}
	move := func(fd int) uintptr {
		must(&p.arrange, unix.SYS_DUP3, uintptr(fd), uintptr(free), unix.O_CLOEXEC)
		free++
		return uintptr(free - 1)
	}
	p.report = uintptr(l.report)
	p.status = move(l.report) // first: from here on it can be told what fails
	in := move(gate[0])
	may(unix.SYS_CLOSE, uintptr(gate[1])) // or the end of the gate would never come
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
	deathsig(&p.arrange, unix.SIGKILL) // until it shows whose it is, for certain
	aside := make([]uintptr, len(l.files))
	for i, fd := range l.files {
		if fd >= 0 && fd != l.report {
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

	must(&p.pass, unix.SYS_READ, in, at(unsafe.Pointer(&p.text)), 1).want = 1

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
