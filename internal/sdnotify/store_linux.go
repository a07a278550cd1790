package sdnotify

import (
	"os"

	"golang.org/x/sys/unix"
)

// kcmpFile is KCMP_FILE of kcmp(2), which compares open file descriptions.
const kcmpFile = 0

// sameFile reports whether two descriptors are one open file. It asks the kernel with
// F_DUPFD_QUERY (Linux 6.10), else with kcmp(2), which containers often forbid, and
// else compares inodes.
func sameFile(a, b int) bool {
	if r, err := unix.FcntlInt(uintptr(a), unix.F_DUPFD_QUERY, b); err == nil {
		return r == 1
	}
	pid := uintptr(os.Getpid())
	if r, _, errno := unix.Syscall6(unix.SYS_KCMP, pid, pid, kcmpFile, uintptr(a), uintptr(b), 0); errno == 0 {
		return r == 0
	}
	return sameInode(a, b)
}
