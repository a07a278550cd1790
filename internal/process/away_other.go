//go:build !linux

package process

import "golang.org/x/sys/unix"

func notAdopting() (restore func()) { return func() {} }

// dup makes to a duplicate of from.
func dup(from, to int) error { return unix.Dup2(from, to) }
