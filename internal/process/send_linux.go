package process

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// Send signals the process that id names. The signal goes through a pidfd whose start
// time was checked, so it can't hit another process after a reuse of the pid. The error
// is ESRCH for a process that is gone, and EPERM for another user's.
func Send(id procscan.ID, sig unix.Signal) error {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err == nil {
		defer unix.Close(fd)
		if s, err := procscan.Lookup(id.PID); err == nil && s.Start != id.Start {
			return unix.ESRCH
		}
		err = unix.PidfdSendSignal(fd, sig, nil, 0)
	}
	// To an unknown system call old kernels answer ENOSYS, and old container runtimes
	// EPERM. kill(2) then gives the right answer.
	if err != nil && err != unix.ESRCH && id.Alive() {
		return unix.Kill(id.PID, sig)
	}
	return err
}

// yield gives up this processor, on which the process that was just signalled may be
// waiting to run.
func yield() { _, _, _ = unix.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0) }

// WaitGone waits up to limit for the end of id's process. An error means that the
// process is still alive.
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
			step = min(left, time.Second) // checks ctx once a second
		}
		// A pidfd is readable when the process has ended (pidfd_open(2)).
		_, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(step.Milliseconds())+1)
	}
	return nil
}
