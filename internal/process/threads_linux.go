package process

import (
	"fmt"
	"os"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// threads is the largest number of threads that a supervisor needs: two run Go code, the
// others wait in a system call.
const threads = 7

// RoomForThreads returns an error when the user's limit leaves too few threads for a
// supervisor (RLIMIT_NPROC, getrlimit(2)). Go's runtime ends a program that can't make a
// thread. The limit doesn't bind root.
func RoomForThreads() error {
	var lim unix.Rlimit
	const small = 2000 // larger limits aren't checked, to save the counting
	if unix.Getrlimit(unix.RLIMIT_NPROC, &lim) != nil || lim.Cur >= small || os.Geteuid() == 0 {
		return nil
	}
	table, err := procscan.Read("LIFELINE_")
	if err != nil {
		return nil // unknown
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

// ReserveThreads makes the runtime create its threads now, before the worker can use up
// the limit.
func ReserveThreads() {
	// Each goroutine keeps a thread until all have one. The runtime then keeps these
	// threads idle for later.
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
