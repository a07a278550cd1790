package process

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// Send signals the very process that id names: through a pidfd, opened and
// then checked, no other process can be hit because a pid was reused. The error
// is ESRCH for one that is gone and EPERM for another user's.
func Send(id procscan.ID, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err == nil {
		defer unix.Close(fd)
		if s, err := procscan.Lookup(id.PID); err == nil && s.Start != id.Start {
			return unix.ESRCH
		}
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
	// Old kernels answer ENOSYS, old container runtimes EPERM to a system call
	// that they don't know; a process that may really not be signalled, and one
	// that has ended, answer kill(2) alike.
	if err != nil && err != unix.ESRCH && id.Alive() {
		return unix.Kill(id.PID, sig)
	}
	return err
}

// yield lets go of this processor: whoever has just been sent a signal may have
// been woken up on it, and would wait for as long as our work takes.
func yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// WaitGone waits until id's process has ended, for up to limit. An error means
// that it is alive still.
func WaitGone(ctx context.Context, id procscan.ID, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err == nil {
		defer unix.Close(fd)
	}
	for id.Alive() {
		left := time.Until(deadline)
		if left <= 0 || ctx.Err() != nil {
			return ErrStillAlive
		}
		if err != nil {
			time.Sleep(min(left, time.Millisecond))
			continue
		}
		step := left
		if ctx.Done() != nil {
			step = min(left, time.Second) // to look at ctx, too
		}
		// Readable when the process has ended (pidfd_open(2)).
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(step.Milliseconds())+1)
	}
	return nil
}
