// Heartbeat is a daemon that does a little work every five seconds and sends a
// heartbeat to its supervisor. Make it hang, and see it ended and started again:
//
//	go build -o heartbeat ./examples/heartbeat
//	lifeline --respawn --notify --watchdog 20s heartbeat -- ./heartbeat
//	kill -USR1 `pidof heartbeat`     # it hangs; after 20 s it gets SIGABRT
//	lifeline status heartbeat
//
// The same under systemd: Type=notify, WatchdogSec=20, Restart=always. To see it
// sooner: --watchdog 2s, and ./heartbeat -every 500ms. heartbeat.sh beside this file is
// the same daemon as a shell script.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/signal"
	"syscall"
	"time"

	"lifeline/lifeline/worker"
)

func main() {
	every := flag.Duration("every", 5*time.Second, "time between two heartbeats; less than half the watchdog's period")
	flag.Parse()
	log.SetFlags(0)
	log.SetPrefix("heartbeat: ")
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	ctx, cancel := worker.WithSupervisor(ctx)
	defer cancel()
	if err := run(ctx, *every); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, every time.Duration) error {
	if every <= 0 {
		return fmt.Errorf("cannot work every %v: -every must be more than 0", every)
	}
	hang := make(chan os.Signal, 1)
	signal.Notify(hang, syscall.SIGUSR1)
	if err := worker.Ready(); err != nil {
		return err
	}
	// The loop that does the work sends the heartbeat. A goroutine of its own would go on
	// sending while the work hangs.
	ticker := time.NewTicker(every)
	for beats := 0; ; beats++ {
		if err := worker.Heartbeat(); err != nil {
			log.Print(err) // if no heartbeat arrives, the watchdog acts
		}
		worker.Status("%d turns done", beats)
		select {
		case <-ticker.C:
		case <-hang:
			worker.Status("hangs, as asked by SIGUSR1")
			select {}
		case <-ctx.Done():
			worker.Stopping()
			if context.Cause(ctx) == worker.ErrSupervisorGone {
				return worker.ErrSupervisorGone
			}
			return nil
		}
	}
}
