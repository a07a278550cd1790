package install

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
)

// patience is how long a change waits for another lifeline's change.
const patience = time.Minute

// lock locks file, and creates it if necessary. crontab(1) writes whole crontabs
// without a lock, so the later of two concurrent changes would undo the earlier.
func lock(ctx context.Context, file string) (unlock func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return nil, fmt.Errorf("cannot open the lock: %w", err)
	}
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() ||
		info.Sys().(*syscall.Stat_t).Uid != uint32(os.Geteuid()) {
		f.Close()
		return nil, fmt.Errorf("the lock %s isn't a file of yours: refused; rm %s", file, file)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return func() { f.Close() }, nil
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			f.Close()
			return nil, fmt.Errorf("cannot lock %s: %w", file, err)
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("another lifeline holds %s (%w): see who with fuser %s, then try again", file,
				context.Cause(ctx), file)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
