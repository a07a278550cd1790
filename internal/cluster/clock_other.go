//go:build !linux

package cluster

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Now returns the time on CLOCK_MONOTONIC. On macOS that clock goes on during a
// suspend. On the BSDs the clock stops, so a machine that may be suspended needs the
// fence.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(clockMonotonic, &ts); err != nil {
		panic("there is no CLOCK_MONOTONIC: " + err.Error())
	}
	return time.Duration(ts.Nano())
}

// Alarm goes off at times on the clock of [Now].
type Alarm struct {
	C     <-chan struct{}
	c     chan struct{}
	mu    sync.Mutex
	timer *time.Timer
}

// NewAlarm makes an alarm.
func NewAlarm() (*Alarm, error) {
	c := make(chan struct{}, 1)
	return &Alarm{C: c, c: c}, nil
}

// Set moves the alarm to the time at; 0 for never.
func (a *Alarm) Set(at time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.timer != nil {
		a.timer.Stop()
	}
	if at == 0 {
		return
	}
	a.timer = time.AfterFunc(max(at-Now(), 0), func() {
		select {
		case a.c <- struct{}{}:
		default:
		}
	})
}

// Close ends the alarm.
func (a *Alarm) Close() { a.Set(0) }
