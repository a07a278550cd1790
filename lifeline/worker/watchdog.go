package worker

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"time"
)

// Watchdog sends heartbeats at half the period that the supervisor asked for
// (WATCHDOG_USEC, sd_watchdog_enabled(3)), each only after healthy returned nil. When
// healthy hangs, or goes on returning errors, the supervisor ends the worker
// and starts it again.
//
// healthy is called from the same goroutine that sends, so a check that hangs
// stops the heartbeats. It should do what a client would do, or take the locks
// that the work takes; nil shows only that goroutines still run. Its context
// ends after half a period, when an answer would be too late. After an error it
// is called again after an eighth of the period, so one failed check isn't the
// end yet.
//
// Watchdog blocks until ctx ends, also when no watchdog is asked for, or a
// watchdog for another process (WATCHDOG_PID). So a program runs on when no
// supervisor watches it. Let ctx outlive a drain, which the supervisor may
// watch too. It returns nil, an error at once when WATCHDOG_USEC makes no
// sense, or the error of the last heartbeat. The first call removes WATCHDOG_USEC
// and WATCHDOG_PID, because a child that knows them would send heartbeats for a
// parent that hangs.
func Watchdog(ctx context.Context, healthy func(context.Context) error) error {
	period, err := watchdogPeriod()
	if err != nil {
		return err
	}
	if period == 0 {
		<-ctx.Done()
		return nil
	}
	return watchdog(ctx, period, healthy, Heartbeat)
}

// watchdogPeriod returns 0 without a watchdog.
var watchdogPeriod = sync.OnceValues(func() (time.Duration, error) {
	usec, pid := os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID")
	os.Unsetenv("WATCHDOG_USEC")
	os.Unsetenv("WATCHDOG_PID")
	return parseWatchdog(usec, pid, os.Getpid())
})

func parseWatchdog(usec, pid string, self int) (time.Duration, error) {
	if usec == "" || pid != "" && pid != strconv.Itoa(self) {
		return 0, nil
	}
	n, err := strconv.ParseInt(usec, 10, 64)
	period := time.Duration(n) * time.Microsecond
	if err != nil || n <= 0 || period/time.Microsecond != time.Duration(n) {
		return 0, fmt.Errorf("cannot understand WATCHDOG_USEC=%q: not a number of microseconds", usec)
	}
	return period, nil
}

func watchdog(ctx context.Context, period time.Duration, healthy func(context.Context) error, beat func() error) error {
	var lost error // why the last heartbeat wasn't sent
	for timer := time.NewTimer(0); ; {
		select {
		case <-ctx.Done():
			return lost
		case <-timer.C:
		}
		started := time.Now()
		next := started.Add(period / 2)
		err := check(ctx, period/2, healthy)
		switch {
		case ctx.Err() != nil:
			return lost
		case err == nil:
			lost = beat()
		}
		if err != nil || lost != nil {
			next = time.Now().Add(period / 8)
		}
		timer.Reset(time.Until(next))
	}
}

func check(ctx context.Context, timeout time.Duration, healthy func(context.Context) error) error {
	if healthy == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return healthy(ctx)
}
