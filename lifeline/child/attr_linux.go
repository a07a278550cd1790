package child

import (
	"syscall"

	"golang.org/x/sys/unix"
)

func sysProcAttr(s Spec) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{
		Pdeathsig: s.Deathsig, Setpgid: s.Group,
		UseCgroupFD: s.CgroupFD != 0, CgroupFD: s.CgroupFD,
	}
}

// Adopting makes orphaned descendants children of this process, not of init
// (PR_SET_CHILD_SUBREAPER, prctl(2)): what a worker leaves behind can't get
// out of sight.
func Adopting() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// Alone reports that this process has no children at all, zombies included:
// with [Adopting], that nothing any worker started is left. It reaps nothing.
func Alone() bool {
	return unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == unix.ECHILD
}
