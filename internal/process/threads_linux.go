package process

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// threads is how many threads a supervisor needs at the most: two that run Go
// code, and those that wait in a system call.
const threads = 7

// RoomForThreads returns an error where this user may not have as many processes
// and threads as a supervisor needs (RLIMIT_NPROC, getrlimit(2)): the runtime
// ends a program that can't make a thread. Root isn't bound by the limit.
func RoomForThreads() error {
	var lim unix.Rlimit
	const small = 2000 // a larger limit isn't worth counting for
	if unix.Getrlimit(unix.RLIMIT_NPROC, &lim) != nil || lim.Cur >= small || os.Geteuid() == 0 {
		return nil
	}
	table, err := procscan.Read("LIFELINE_")
	if err != nil {
		return nil // it can't be told
	}
	used := 0
	for _, p := range table.Processes {
		if p.UID() == os.Getuid() {
			used += p.Threads
		}
	}
	if used+threads <= int(lim.Cur) {
		return nil
	}
	return fmt.Errorf("cannot start: %d of the %d processes and threads that this user may have are in use; "+
		"end some, or raise the limit (ulimit -u)", used, lim.Cur)
}

// ReserveThreads makes the runtime have its threads now. Later there may be none
// to be had, because the worker has used up the limit.
func ReserveThreads() {
	// Each goroutine keeps a thread until all have one; then the runtime has them
	// idle, and makes no more.
	var all, done sync.WaitGroup
	all.Add(threads)
	for range threads {
		done.Go(func() {
			runtime.LockOSThread()
			all.Done()
			all.Wait()
			runtime.UnlockOSThread()
		})
	}
	done.Wait()
}
