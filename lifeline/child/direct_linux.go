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
	"lifeline/lifeline/crash"
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
	pid, errno := p.fork()
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

//go:noinline
//go:norace
//go:nocheckptr
func (p *prepared) fork() (pid int, errno syscall.Errno) {
	var r uintptr
	beforeFork()
	if p.cgroup != 0 {
		r, _, errno = syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&p.clone)), unsafe.Sizeof(p.clone), 0)
	} else {
		r, _, errno = syscall.RawSyscall6(unix.SYS_CLONE, uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
	}
	if errno != 0 || r != 0 {
		afterFork()
		return int(r), errno
	}
	p.become()
	return 0, 0 // never
}

// become is the child. nosplit: the runtime poisons the stack's limit between
// beforeFork and afterFork, so that growing it there is a crash.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func (p *prepared) become() {
	var errno syscall.Errno
	var r uintptr
	var i, fd int
	syscall.RawSyscall(unix.SYS_CLOSE, uintptr(p.gateIn), 0, 0) // or its end would never come
	crash.Child(crash.Forked)
	if p.group {
		if _, _, errno = syscall.RawSyscall(unix.SYS_SETPGID, 0, 0, 0); errno != 0 {
			goto fail
		}
	}
	// Signals as a new process is to have them: none handled, none blocked,
	// whatever whoever started us had blocked.
	afterForkInChild()
	syscall.RawSyscall6(unix.SYS_RT_SIGPROCMASK, sigSetmask, uintptr(unsafe.Pointer(&p.mask)), 0, unsafe.Sizeof(p.mask), 0, 0)
	if p.umask >= 0 {
		syscall.RawSyscall(unix.SYS_UMASK, uintptr(p.umask), 0, 0)
	}
	if p.dir != nil {
		if _, _, errno = syscall.RawSyscall(unix.SYS_CHDIR, uintptr(unsafe.Pointer(p.dir)), 0, 0); errno != 0 {
			goto fail
		}
	}
	if p.deathsig != 0 {
		// Until it shows whose it is, it dies with its supervisor for certain.
		if _, _, errno = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0, 0); errno != 0 {
			goto fail
		}
	}
	// Killed while we were starting: nobody would watch over the command.
	if r, _, _ = syscall.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); int(r) != p.parent {
		errno = unix.ECANCELED
		goto fail
	}
	// First out of the way of each other, then each to its place.
	if r, _, errno = syscall.RawSyscall(unix.SYS_FCNTL, uintptr(p.status), unix.F_DUPFD_CLOEXEC, uintptr(p.first)); errno != 0 {
		goto fail
	}
	p.status = int(r)
	if r, _, errno = syscall.RawSyscall(unix.SYS_FCNTL, uintptr(p.gate), unix.F_DUPFD_CLOEXEC, uintptr(p.first)); errno != 0 {
		goto fail
	}
	p.gate = int(r)
	for i = 0; i < len(p.from); i++ {
		if r, _, errno = syscall.RawSyscall(unix.SYS_FCNTL, uintptr(p.from[i]), unix.F_DUPFD_CLOEXEC, uintptr(p.first)); errno != 0 {
			goto fail
		}
		p.from[i] = int(r)
	}
	for i = 0; i < len(p.from); i++ {
		if _, _, errno = syscall.RawSyscall(unix.SYS_DUP3, uintptr(p.from[i]), uintptr(p.to[i]), 0); errno != 0 {
			goto fail
		}
	}
	if p.low < p.high {
		if _, _, errno = syscall.RawSyscall(unix.SYS_CLOSE_RANGE, uintptr(p.low), uintptr(p.high-1), 0); errno != 0 {
			for fd = p.low; fd < p.high; fd++ { // before Linux 5.9
				syscall.RawSyscall(unix.SYS_CLOSE, uintptr(fd), 0, 0)
			}
		}
	}
	syscall.RawSyscall(unix.SYS_CLOSE, uintptr(p.slot), 0, 0)
	if r, _, _ = syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0); p.pid != nil {
		decimal(p.pid, r)
	}
	if p.listenPID != nil {
		decimal(p.listenPID, r)
	}
	if p.start != nil {
		p.ownStart()
	}
	syscall.RawSyscall6(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, uintptr(unsafe.Pointer(p.limit)), 0, 0, 0)
	// Announce first, look second, as a stub does: from here on we are seen.
	for i = 0; i < len(p.shown); i++ {
		if i < len(p.mark) {
			p.shown[i] = p.mark[i]
		} else {
			p.shown[i] = 0
		}
	}
	crash.Child(crash.Announced)
	for { // until the record says who we are
		if r, _, errno = syscall.RawSyscall(unix.SYS_READ, uintptr(p.gate), uintptr(unsafe.Pointer(&p.text[0])), 1); errno != unix.EINTR {
			break
		}
	}
	if r != 1 {
		errno = unix.ECANCELED
		goto fail
	}
	crash.Child(crash.Passed)
	if p.place != nil && !p.inPlace() {
		errno = moved
		goto fail
	}
	if p.deathsig != 0 {
		if _, _, errno = syscall.RawSyscall6(unix.SYS_PRCTL, unix.PR_SET_PDEATHSIG, uintptr(p.deathsig), 0, 0, 0, 0); errno != 0 {
			goto fail
		}
		if r, _, _ = syscall.RawSyscall(unix.SYS_GETPPID, 0, 0, 0); int(r) != p.parent {
			errno = unix.ECANCELED
			goto fail
		}
	}
	crash.Child(crash.Last)
	_, _, errno = syscall.RawSyscall(unix.SYS_EXECVE, uintptr(unsafe.Pointer(p.path)),
		uintptr(unsafe.Pointer(&p.argv[0])), uintptr(unsafe.Pointer(&p.env[0])))
fail:
	i = int(errno)
	p.text[0], p.text[1] = byte(i), byte(i>>8)
	syscall.RawSyscall(unix.SYS_WRITE, uintptr(p.status), uintptr(unsafe.Pointer(&p.text[0])), 2)
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 125, 0, 0)
	}
}

// inPlace: place names the file still that it named when there was nothing to
// look for. Who makes another one from now on sees us.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *prepared) inPlace() bool {
	at := unix.AT_FDCWD
	_, _, errno := syscall.RawSyscall6(unix.SYS_STATX, uintptr(at), uintptr(unsafe.Pointer(p.place)), unix.AT_SYMLINK_NOFOLLOW, unix.STATX_INO, uintptr(unsafe.Pointer(&p.now)), 0)
	return errno == 0 && p.now.Ino == p.ino && p.now.Dev_major == p.major && p.now.Dev_minor == p.minor
}

// decimal writes n and a zero byte, the end of a C string, over the digits in
// into.
//
//go:nosplit
//go:norace
func decimal(into []byte, n uintptr) {
	digits := 1
	for rest := n / 10; rest > 0; rest /= 10 {
		digits++
	}
	if digits > len(into) {
		return
	}
	if digits < len(into) {
		into[digits] = 0
	}
	for ; digits > 0; digits-- {
		into[digits-1] = byte('0' + n%10)
		n /= 10
	}
}

// ownStart puts field 22 of /proc/self/stat (proc_pid_stat(5)) into p.start.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *prepared) ownStart() {
	at := unix.AT_FDCWD
	fd, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(p.stat)), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return
	}
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&p.text[0])), uintptr(len(p.text)))
	syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	if errno != 0 {
		return
	}
	startField(p.start, &p.text, int(n))
}

// startField copies the start time out of the first n bytes of a stat text.
//
//go:nosplit
//go:norace
func startField(into []byte, text *[512]byte, n int) {
	end := n - 1
	for end >= 0 && text[end] != ')' { // the name before it may hold anything
		end--
	}
	field := 2
	for i := end + 1; end >= 0 && i < n; i++ {
		if text[i] != ' ' {
			continue
		}
		if field++; field < 22 {
			continue
		}
		k := 0
		for i++; i < n && k < len(into) && text[i] >= '0' && text[i] <= '9'; i++ {
			into[k] = text[i]
			k++
		}
		if k < len(into) {
			into[k] = 0
		}
		return
	}
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
