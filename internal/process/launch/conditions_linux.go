package launch

import (
	"errors"
	"os"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Resources lists the limits with their names in prlimit(1) and limits.conf(5).
var Resources = [...]Resource{
	{"as", unix.RLIMIT_AS}, {"core", unix.RLIMIT_CORE}, {"cpu", unix.RLIMIT_CPU}, {"data",
		unix.RLIMIT_DATA}, {"fsize", unix.RLIMIT_FSIZE},
	{"locks", unix.RLIMIT_LOCKS}, {"memlock", unix.RLIMIT_MEMLOCK}, {"msgqueue",
		unix.RLIMIT_MSGQUEUE}, {"nice", unix.RLIMIT_NICE},
	{"nofile", unix.RLIMIT_NOFILE}, {"nproc", unix.RLIMIT_NPROC}, {"rss",
		unix.RLIMIT_RSS}, {"rtprio", unix.RLIMIT_RTPRIO},
	{"rttime", unix.RLIMIT_RTTIME}, {"sigpending", unix.RLIMIT_SIGPENDING}, {"stack", unix.RLIMIT_STACK},
}

// setLimit sets a limit through package syscall. Go raises the limit on files at the
// start, and restores it before an execve unless package syscall has set the limit.
func setLimit(l Limit) error {
	return syscall.Setrlimit(l.Resource, &syscall.Rlimit{Cur: l.Soft, Max: l.Hard})
}

// deathSignal notes the death signal, which a change of user clears (prctl(2),
// PR_SET_PDEATHSIG). again sets the signal again, and fails when the supervisor has ended
// meanwhile.
func deathSignal() (again func() error) {
	var sig int32
	parent := os.Getppid()
	if unix.Prctl(unix.PR_GET_PDEATHSIG, uintptr(unsafe.Pointer(&sig)), 0, 0, 0) != nil || sig == 0 {
		return func() error { return nil }
	}
	return func() error {
		if err := unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(sig), 0, 0, 0); err != nil {
			return err
		}
		if os.Getppid() != parent {
			return errors.New("the supervisor has ended")
		}
		return nil
	}
}
