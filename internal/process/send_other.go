//go:build !linux

package process

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// Send signals the process that id names, after a check of its start time. A reuse of
// the pid between check and signal goes unnoticed here. The error is ESRCH for a process
// that is gone, and EPERM for another user's.
func Send(id procscan.ID, sig unix.Signal) error {
	if !id.Alive() {
		return unix.ESRCH
	}
	return unix.Kill(id.PID, sig)
}

// WaitGone waits up to limit for the end of id's process. An error means that the
// process is still alive.
func WaitGone(ctx context.Context, id procscan.ID, limit time.Duration) error {
	for deadline := time.Now().Add(limit); id.Alive(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return ErrStillAlive
		}
	}
	return nil
}

func yield() {}
