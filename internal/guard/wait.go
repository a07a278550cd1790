package guard

import (
	"context"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// takeLock is steps 2 and 3. nil and nil when mechanism A is switched off.
func (g Guard) takeLock(ctx context.Context, d dir, name string) (*flock.Flock, error) {
	if without.flock {
		return nil, nil
	}
	path := d.lock(name)
	lock, err := lockPath(path, false)
	if err == errBusy && wake(d, name) {
		// It is most likely gone, or at work, within the second.
		for deadline := time.Now().Add(time.Second); err == errBusy && time.Now().Before(deadline); {
			if holderOf(d, name).Worker.Alive() {
				break
			}
			time.Sleep(5 * time.Millisecond)
			lock, err = lockPath(path, false)
		}
	}
	if err != errBusy {
		return lock, err
	}
	if !g.Standby && g.Wait <= 0 || g.Replace {
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

// queue waits for the lock in the kernel's own queue: no polling, and the
// winner starts the moment the lock is let go. A lock that comes after ctx has
// ended is given back.
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

// findHolders looks for processes that hold the lock of K.run and carry no
// marker: a worker that has overwritten its environment, and what it has
// started since. With a record that can be read it would be known; without one,
// that it has inherited the lock is all that is left to know it by.
func findHolders(d dir, name string) (ids []procscan.ID) {
	path := dir{path: d.space}.run(name) // as the kernel knows it, without links
	for _, id := range procscan.Openers(path) {
		if id != procscan.Self() && procscan.Flocks(id, path) && unmarked(id, name) {
			ids = append(ids, id)
		}
	}
	return ids
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

// wake sends SIGCONT to a holder that is stopped and has no living worker: it
// does nothing for its name. It tells whether there was such a one.
func wake(d dir, name string) bool {
	h := holderOf(d, name)
	if h.Supervisor.Zero() || !h.Worker.Zero() && h.Worker.Alive() {
		return false
	}
	s, err := procscan.Lookup(h.Supervisor.PID)
	if err != nil || s.ID != h.Supervisor || !s.Stopped() {
		return false
	}
	_ = unix.Kill(s.PID, unix.SIGCONT)
	return true
}
