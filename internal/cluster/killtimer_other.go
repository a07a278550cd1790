//go:build !linux

package cluster

import "time"

// killTimer needs Linux.
type killTimer struct{}

func newKillTimer() *killTimer       { return &killTimer{} }
func (*killTimer) set(time.Duration) {}
