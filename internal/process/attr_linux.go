package process

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
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

// Alone reports that this process has no children, zombies included, but for
// those that are helpers: with [Adopting], that nothing any worker started is
// left. It reaps nothing, and costs the same among any number of processes.
func Alone(helpers []procscan.ID) bool {
	if len(helpers) == 0 {
		return unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == unix.ECHILD
	}
	// Each thread has its own list (proc_tid_children(5)). It is complete as long
	// as nobody reaps meanwhile: the caller does, or nobody. Where it can't be
	// read, as with a thread that has just ended, nothing is known.
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return false
	}
	for _, thread := range threads {
		list, err := os.ReadFile("/proc/self/task/" + thread.Name() + "/children")
		if err != nil {
			return false
		}
		for pid := range strings.FieldsSeq(string(list)) {
			if !slices.ContainsFunc(helpers, func(h procscan.ID) bool { return strconv.Itoa(h.PID) == pid }) {
				return false
			}
		}
	}
	return true
}
