package guard

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// announcing is held from an announcement to its withdrawal: a process has one
// main thread, and a program may start several names at once.
var announcing sync.Mutex

// announce gives the main thread of this process the name by which every other
// contender knows that it starts a worker, until withdraw is called. A thread
// may write the name of another thread of its process (proc_pid_comm(5)).
func announce(announcement string) (withdraw func()) {
	announcing.Lock()
	path := fmt.Sprintf("/proc/self/task/%d/comm", os.Getpid())
	before, err := os.ReadFile(path)
	if err != nil || os.WriteFile(path, []byte(announcement), 0) != nil {
		return sync.OnceFunc(announcing.Unlock) // the process table can't be read, and so the locks decide
	}
	return sync.OnceFunc(func() {
		_ = os.WriteFile(path, []byte(strings.TrimSuffix(string(before), "\n")), 0)
		announcing.Unlock()
	})
}

// bootTime returns the time since boot, suspends included: the clock of start
// times (proc_pid_stat(5)).
func bootTime() time.Duration {
	var ts unix.Timespec
	_ = unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts)
	return time.Duration(ts.Nano())
}
