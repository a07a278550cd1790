package child

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"lifeline/lifeline/crash"
)

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
