//go:build amd64 || arm64

package process

import (
	"hash/crc32"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
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
		r = vfork(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&p.clone)), unsafe.Sizeof(p.clone), p)
	} else {
		r = vfork(unix.SYS_CLONE, uintptr(unix.SIGCHLD|unix.CLONE_VM|unix.CLONE_VFORK), uintptr(unsafe.Pointer(&stack))+unsafe.Sizeof(stack), p)
	}
	afterFork()
	if errno := -r; errno <= maxErrno {
		return 0, syscall.Errno(errno)
	}
	return int(r), 0
}

// maxErrno is MAX_ERRNO of include/linux/err.h: a system call gives an error
// as its negative.
const maxErrno = 4095

// become is the child. nosplit: the runtime poisons the stack's limit between
// beforeFork and afterFork, so that growing it there is a crash.
//
//go:nosplit
//go:noinline
//go:norace
//go:nocheckptr
func become(p *prepared) {
	crash.Child(crash.Forked)
	// Signals as a new process is to have them: none handled, none blocked,
	// whatever whoever started us had blocked.
	afterForkInChild()
	errno := p.do(p.begin)
	if errno == 0 {
		p.born = startField(&p.text, p.readStat())
		p.tell()
		crash.Child(crash.Told)
		errno = p.do(p.arrange)
	}
	if errno == 0 {
		crash.Child(crash.Arranged)
		errno = p.check()
	}
	if errno == 0 {
		crash.Child(crash.Last)
		errno = p.do(p.last)
	}
	p.failed = errno
	for {
		syscall.RawSyscall(unix.SYS_EXIT_GROUP, 125, 0, 0)
	}
}

// do makes the calls one after the other. One that gives something else than
// it has to says that the supervisor has gone: it is no parent any more.
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

// tell puts the child's own numbers into the command's environment and into the
// record: announce first, look second, as a stub does.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *prepared) tell() {
	pid, _, _ := syscall.RawSyscall(unix.SYS_GETPID, 0, 0, 0)
	decimal(p.pid, uint64(pid))
	decimal(p.listenPID, uint64(pid))
	decimal(p.start, p.born)
	if d := &p.draft; len(d.Text) > 0 {
		digits(d.PID, uint64(pid))
		digits(d.Start, p.born)
		checksum(d.Sum, d.Summed)
		// A full disk is no reason not to run: the locks need no data.
		syscall.RawSyscall6(unix.SYS_PWRITE64, uintptr(d.FD), uintptr(unsafe.Pointer(&d.Text[0])), uintptr(len(d.Text)), 0, 0, 0)
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
func decimal(into []byte, n uint64) {
	length := 1
	for rest := n / 10; rest > 0; rest /= 10 {
		length++
	}
	if length > len(into) {
		return
	}
	if length < len(into) {
		into[length] = 0
	}
	digits(into[:length], n)
}

// digits fills into with n, leading zeros first.
//
//go:nosplit
//go:norace
func digits(into []byte, n uint64) {
	for i := len(into) - 1; i >= 0; i-- {
		into[i] = byte('0' + n%10)
		n /= 10
	}
}

// checksum writes the CRC-32 of text, as package hash/crc32 has it, over the
// hexadecimal digits in into.
//
//go:nosplit
//go:norace
func checksum(into, text []byte) {
	sum := ^uint32(0)
	for _, b := range text {
		sum = crc32.IEEETable[byte(sum)^b] ^ sum>>8
	}
	sum = ^sum
	for i := len(into) - 1; i >= 0; i-- {
		into[i] = "0123456789abcdef"[sum%16]
		sum /= 16
	}
}

// readStat reads /proc/self/stat into p.text, and gives its length; 0 when that
// can't be done.
//
//go:nosplit
//go:norace
//go:nocheckptr
func (p *prepared) readStat() int {
	at := unix.AT_FDCWD
	fd, _, errno := syscall.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(p.stat)), unix.O_RDONLY|unix.O_CLOEXEC, 0, 0, 0)
	if errno != 0 {
		return 0
	}
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, fd, uintptr(unsafe.Pointer(&p.text[0])), uintptr(len(p.text)))
	syscall.RawSyscall(unix.SYS_CLOSE, fd, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

// startField is field 22 of the first n bytes of a stat text
// (proc_pid_stat(5)), the start time; 0 when it isn't there.
//
//go:nosplit
//go:norace
func startField(text *[512]byte, n int) (start uint64) {
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
		for i++; i < n && text[i] >= '0' && text[i] <= '9'; i++ {
			start = start*10 + uint64(text[i]-'0')
		}
		return start
	}
	return 0
}
