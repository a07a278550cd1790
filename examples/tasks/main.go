// Tasks is an example of a program that guards itself: cron starts `tasks
// counter:lifeline` every minute, which keeps one counter running.
//
//   - * * * * /usr/local/bin/tasks counter:lifeline
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/tasks"
)

func count(ctx context.Context) error {
	for n := 1; ; n++ {
		fmt.Println(n)
		select {
		case <-ctx.Done():
			fmt.Println("asked to end")
			return nil
		case <-time.After(time.Second):
		}
	}
}

// environment does what has to be done before the counter starts: a prerequisite.
func environment(context.Context) error {
	fmt.Println("environment loaded")
	return nil
}

func main() {
	app := &cli.App{
		Name:     "tasks",
		Usage:    "a program that guards itself",
		Commands: tasks.Define("counter", count, environment),
	}
	if err := app.RunContext(context.Background(), os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "tasks:", err)
		os.Exit(1)
	}
}
