//go:build !linux

package cluster

import "time"

// killTimer does nothing, because this system lacks Linux's timers.
type killTimer struct{}

func newKillTimer() *killTimer       { return &killTimer{} }
func (*killTimer) set(time.Duration) {}
