//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"lifeline/proof/pid"
)

// pulse is the interval at which a witness says that it runs. A longer silence than
// still means that the witness was stopped.
const pulse, still = time.Millisecond, 10 * time.Millisecond

// beat writes the time at which this process last ran into the file PID-TICKS below
// dir, from a thread of its own. The file is mapped, so the last beat survives any
// death. A process that was stopped logs a pause when it runs again, because nothing
// outside knows the times as exactly.
func beat(dir string, self pid.ID, say func(what string, at int64, how ...string)) error {
	path := filepath.Join(dir, fmt.Sprintf("%d-%d", self.PID, self.Ticks))
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("cannot make the file for the beats: %w", err)
	}
	defer f.Close()
	if err := f.Truncate(8); err != nil {
		return err
	}
	page, err := unix.Mmap(int(f.Fd()), 0, 8, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("cannot map the file for the beats: %w", err)
	}
	last := (*int64)(unsafe.Pointer(&page[0]))
	atomic.StoreInt64(last, pid.Now())
	go func() {
		runtime.LockOSThread()
		for {
			now := pid.Now()
			if was := atomic.LoadInt64(last); now-was > int64(still) {
				say("pause", now, fmt.Sprint(was))
			}
			atomic.StoreInt64(last, now)
			// nanosleep, unlike time.Sleep, returns the moment a stopped process goes on.
			_ = unix.Nanosleep(&unix.Timespec{Nsec: int64(pulse)}, nil)
		}
	}()
	return nil
}
