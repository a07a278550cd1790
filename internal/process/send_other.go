//go:build !linux

package process

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// Send signals the process that id names, after a look at its start time: a
// pid that is reused between the two can't be told here. The error is ESRCH for
// one that is gone and EPERM for another user's.
func Send(id procscan.ID, sig unix.Signal) error {
	if !id.Alive() {
		return unix.ESRCH
	}
	return unix.Kill(id.PID, sig)
}

// WaitGone waits until id's process has ended, for up to limit. An error means
// that it is alive still.
func WaitGone(ctx context.Context, id procscan.ID, limit time.Duration) error {
	for deadline := time.Now().Add(limit); id.Alive(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) || ctx.Err() != nil {
			return ErrStillAlive
		}
	}
	return nil
}

func yield() {}
