//go:build !linux

package process

import (
	"errors"
	"syscall"

	"lifeline/procscan"
)

// sysProcAttr sets no death signal: there is none here that Go can set on every system;
// the run lock and its record find the orphan at the next tick.
func sysProcAttr(s Spec) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: s.Group}
}

// Adopting is not to be had here.
func Adopting() error { return errors.New("this system can't hand orphans to their supervisor") }

// Alone can't be known here: descendants don't come to their supervisor.
func Alone([]procscan.ID) bool { return false }
