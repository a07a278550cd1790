// The runtime otherwise reads the cgroup's files at every start and every second,
// to learn how many cores it may use. A guard needs one core.
//go:debug containermaxprocs=0
//go:debug updatemaxprocs=0

// Lifeline keeps one instance of a command running, with cron as the only
// thing that has to stay alive. See `lifeline help`.
package main

import (
	"context"
	"os"
	"runtime"

	_ "lifeline/internal/tick" // first of all: a tick that finds its instance ends there
	"lifeline/tasks"
)

// init keeps main on the main thread, which forks the workers. The thread's name
// announces a start, its end sends a death signal (prctl(2)), and `reload --self`
// may execve only from this thread.
func init() { runtime.LockOSThread() }

func main() {
	os.Exit(tasks.Main(context.Background(), os.Args))
}
