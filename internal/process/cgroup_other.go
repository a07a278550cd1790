//go:build !linux

package process

import (
	"errors"

	"lifeline/procscan"
)

// Cgroup stands for what Linux alone has.
type Cgroup struct{}

var errNoCgroup = errors.New("this system has no cgroups")

// NewCgroup fails here.
func NewCgroup(string) (*Cgroup, error) { return nil, errNoCgroup }

// OpenCgroup fails here.
func OpenCgroup(string) (*Cgroup, error) { return nil, errNoCgroup }

// Path is nowhere.
func (*Cgroup) Path() string { return "" }

// FD is none.
func (*Cgroup) FD() int { return 0 }

// Kill fails here.
func (*Cgroup) Kill() error { return errNoCgroup }

// Killed is never true.
func (*Cgroup) Killed() bool { return false }

// LimitMemory fails here.
func (*Cgroup) LimitMemory(int64) error { return errNoCgroup }

// OOMKills are none.
func (*Cgroup) OOMKills() int { return 0 }

// Members are none.
func (*Cgroup) Members() []procscan.ID { return nil }

// Remove does nothing.
func (*Cgroup) Remove() {}
