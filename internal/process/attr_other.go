//go:build !linux

package process

import (
	"errors"
	"syscall"

	"lifeline/procscan"
)

// sysProcAttr sets no death signal, which Go can't set on all of these systems. The next
// tick finds an orphan by the run file's lock and record.
func sysProcAttr(s Spec) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: s.Group}
}

// Adopting returns an error: these systems can't do it.
func Adopting() error { return errors.New("this system can't hand orphans to their supervisor") }

// Alone returns false, for unknown: orphans don't become the supervisor's children here.
func Alone([]procscan.ID) bool { return false }
