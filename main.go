// Lifeline keeps one instance of a command running, with cron as the only
// thing that has to stay alive. See `lifeline help`.
package main

import (
	"context"
	"os"

	"lifeline/tasks"
)

func main() {
	os.Exit(tasks.Main(context.Background(), os.Args))
}
