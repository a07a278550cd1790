// The runtime otherwise reads the cgroup's files at every start, and again every
// second, to learn how many cores it may use: a guard needs one.
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

// Workers are forked on the main thread: its name announces the start, a death
// signal hangs on it (prctl(2)), and `reload --self` may execve only from it.
func init() { runtime.LockOSThread() }

func main() {
	os.Exit(tasks.Main(context.Background(), os.Args))
}
