// Lifeline keeps one instance of a command running, with cron as the only
// thing that has to stay alive. See `lifeline help`.
package main

import (
	"context"
	"os"
	"runtime"

	"lifeline/tasks"
)

// A worker's death signal hangs on the thread that started it (prctl(2)), and
// `reload --self` may execve only from that thread: both are the first one,
// which lives as long as the process.
func init() { runtime.LockOSThread() }

func main() {
	os.Exit(tasks.Main(context.Background(), os.Args))
}
