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

// Adopting makes orphaned descendants children of this process instead of init
// (PR_SET_CHILD_SUBREAPER, prctl(2)), so that lifeline finds leftovers.
func Adopting() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// Alone reports whether this process has no children except helpers; zombies count as
// children. With [Adopting], true means that no worker's tree is left. Alone reaps
// nothing, and its cost doesn't grow with the process table.
func Alone(helpers []procscan.ID) bool {
	if len(helpers) == 0 {
		return unix.Waitid(unix.P_ALL, 0, nil, unix.WEXITED|unix.WNOHANG|unix.WNOWAIT, nil) == unix.ECHILD
	}
	// Each thread has its own list, which is complete while no child is reaped
	// (proc_tid_children(5)); only the caller reaps. An unreadable list, such as a
	// just ended thread's, leaves the answer unknown.
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
