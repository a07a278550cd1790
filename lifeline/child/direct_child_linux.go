package child

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"lifeline/lifeline/crash"
)

// A call is one system call that the child makes; see prepared.
type call struct {
	number uintptr
	args   [6]uintptr
	must   bool    // or the child goes no further
	want   uintptr // what it has to give; 0: whatever it does
}

//go:noinline
//go:norace
//go:nocheckptr
func (p *prepared) fork() (pid int, errno syscall.Errno) {
	var r uintptr
	beforeFork()
	if p.clone.cgroup != 0 {
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
	crash.Child(crash.Forked)
	// Signals as a new process is to have them: none handled, none blocked,
	// whatever whoever started us had blocked.
	afterForkInChild()
	errno := p.do(p.arrange)
	if errno == 0 {
		p.announce()
		crash.Child(crash.Announced)
		errno = p.do(p.pass)
	}
	if errno == 0 {
		crash.Child(crash.Passed)
		errno = p.check()
	}
	if errno == 0 {
		crash.Child(crash.Last)
		errno = p.do(p.last)
	}
	p.text[0], p.text[1] = byte(errno), byte(errno>>8)
	if _, _, err := syscall.RawSyscall(unix.SYS_WRITE, p.status, uintptr(unsafe.Pointer(&p.text[0])), 2); err != 0 {
		syscall.RawSyscall(unix.SYS_WRITE, p.report, uintptr(unsafe.Pointer(&p.text[0])), 2) // it wasn't moved yet
	}
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 125, 0, 0)
	}
}

// do makes the calls one after the other. One that gives something else than
// it has to says that the supervisor has gone: it is no parent any more, or
// has let go of the gate.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *prepared) do(calls []call) syscall.Errno {
	for i := 0; i < len(calls); i++ {
		c := &calls[i]
		r, _, errno := syscall.RawSyscall6(c.number, c.args[0], c.args[1], c.args[2], c.args[3], c.args[4], c.args[5])
		switch {
		case errno == unix.EINTR:
			i--
		case errno != 0 && c.must:
			return errno
		case c.want != 0 && r != c.want:
			return unix.ECANCELED
		}
	}
	return 0
}

// announce puts the child's own numbers into the command's environment, and
// then shows whose it is: announce first, look second, as a stub does.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *prepared) announce() {
	pid, _, _ := syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	decimal(p.pid, pid)
	decimal(p.listenPID, pid)
	p.ownStart()
	for i := 0; i < len(p.shown); i++ {
		if i < len(p.mark) {
			p.shown[i] = p.mark[i]
		} else {
			p.shown[i] = 0
		}
	}
}

// check looks whether it may begin still.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *prepared) check() syscall.Errno {
	switch {
	case p.place != nil && !p.inPlace():
		return moved
	case p.until != 0 && p.late():
		return unix.ETIME
	}
	return 0
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

// late: what was given for a time may not be begun any more.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *prepared) late() bool {
	_, _, errno := syscall.RawSyscall(unix.SYS_CLOCK_GETTIME, unix.CLOCK_BOOTTIME, uintptr(unsafe.Pointer(&p.clock)), 0)
	return errno != 0 || int64(p.clock.Sec)*1e9+int64(p.clock.Nsec) >= p.until
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
	if errno == 0 {
		startField(p.start, &p.text, int(n))
	}
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
