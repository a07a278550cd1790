//go:build !linux

package process

import (
	"errors"

	"lifeline/procscan"
)

// Cgroup stands for a control group, which only Linux has.
type Cgroup struct{}

var errNoCgroup = errors.New("this system has no cgroups")

// NewCgroup returns an error.
func NewCgroup(string) (*Cgroup, error) { return nil, errNoCgroup }

// OpenCgroup returns an error.
func OpenCgroup(string) (*Cgroup, error) { return nil, errNoCgroup }

// Path returns "".
func (*Cgroup) Path() string { return "" }

// FD returns 0.
func (*Cgroup) FD() int { return 0 }

// Kill returns an error.
func (*Cgroup) Kill() error { return errNoCgroup }

// Killed returns false.
func (*Cgroup) Killed() bool { return false }

// LimitMemory returns an error.
func (*Cgroup) LimitMemory(int64) error { return errNoCgroup }

// OOMKills returns 0.
func (*Cgroup) OOMKills() int { return 0 }

// Members returns nil.
func (*Cgroup) Members() []procscan.ID { return nil }

// Remove does nothing.
func (*Cgroup) Remove() {}
