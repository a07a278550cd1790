package guard

import (
	"context"
	"slices"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// takeLock walks through steps 2 and 3. It returns nil and nil when mechanism A is
// switched off.
func (g Guard) takeLock(ctx context.Context, d dir, name string) (*flock.Flock, error) {
	if without.flock {
		return nil, nil
	}
	path := d.lock(name)
	lock, err := lockPath(path, false)
	if err == errBusy && idle(d, name) {
		// The holder releases the lock soon, or soon has a worker.
		for deadline := time.Now().Add(time.Second); err == errBusy && time.Now().Before(deadline); {
			time.Sleep(2 * time.Millisecond)
			if lock, err = lockPath(path, false); err == errBusy && holderOf(d, name).Worker.Alive() {
				break
			}
		}
	}
	if err != errBusy {
		return lock, err
	}
	if !g.Standby && g.Wait <= 0 {
		countSkipped(path)
		return nil, &HeldError{Name: name, Holder: holderOf(d, name)}
	}
	select {
	case q := <-g.queue(ctx, path):
		return q.lock, q.err
	case <-ctx.Done():
		return nil, &HeldError{Name: name, Holder: holderOf(d, name)}
	}
}

type queued struct {
	lock *flock.Flock
	err  error
}

// queue waits for the lock in the kernel's own queue, so that the winner starts
// the moment the lock is released. A lock that comes after ctx has ended is given
// back.
func (g Guard) queue(ctx context.Context, path string) <-chan queued {
	c := make(chan queued)
	go func() {
		lock, err := lockPath(path, true)
		select {
		case c <- queued{lock, err}:
		case <-ctx.Done():
			if err == nil {
				lock.Close()
			}
		}
	}()
	return c
}

// waitEnd waits until the holder's worker and supervisor are gone; false when
// ctx ends first.
func waitEnd(ctx context.Context, h Holder) bool {
	for h.Worker.Alive() || h.Supervisor.Alive() && h.Supervisor != procscan.Self() {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(2 * time.Millisecond):
		}
	}
	return ctx.Err() == nil
}

// isReleased reports whether the lock of the file at path has been released since
// it was found busy; false where that isn't known.
func isReleased(path string) bool {
	ino := inodeOf(path)
	locks, all := procscan.Flocks()
	return all && !slices.ContainsFunc(locks, func(l procscan.Flock) bool { return l.Ino == ino })
}

// idle reports whether the holder of the lock does nothing for the name. Such a
// holder is ending, after a SIGKILL for example, or it is stopped and has no
// living worker. idle continues a stopped holder.
func idle(d dir, name string) bool {
	h := holderOf(d, name)
	s, err := procscan.Lookup(h.Supervisor.PID)
	switch {
	case h.Supervisor.Zero():
		return isReleased(d.lock(name))
	case err != nil, s.ID != h.Supervisor, s.Exiting, s.Dead():
		return true // it ended just now
	case s.Stopped() && !h.Worker.Alive():
		_ = unix.Kill(s.PID, unix.SIGCONT)
		return true
	}
	return false
}
