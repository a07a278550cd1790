//go:build !linux

package process

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// Send signals the process that id names, after a look at its start time: a
// pid that is reused between the two can't be told here.
func Send(id procscan.ID, sig unix.Signal) {
	if id.Alive() {
		_ = unix.Kill(id.PID, sig)
	}
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
