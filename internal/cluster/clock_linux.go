package cluster

import (
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Now returns the time on CLOCK_BOOTTIME, which goes on during a suspend.
func Now() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("there is no CLOCK_BOOTTIME: " + err.Error()) // Linux before 2.6.39
	}
	return time.Duration(ts.Nano())
}

// Alarm goes off at times on the clock of [Now] (timerfd_create(2)). An alarm that
// became due during a suspend goes off right after it; the Go runtime's timers stand
// still during a suspend.
type Alarm struct {
	C    <-chan struct{}
	file *os.File
}

// NewAlarm makes an alarm, which costs a goroutine but no thread.
func NewAlarm() (*Alarm, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, err
	}
	c := make(chan struct{}, 1)
	a := &Alarm{C: c, file: os.NewFile(uintptr(fd), "alarm")}
	go func() {
		defer close(c)
		buf := make([]byte, 8)
		for {
			if _, err := a.file.Read(buf); err != nil {
				return
			}
			select {
			case c <- struct{}{}:
			default:
			}
		}
	}()
	return a, nil
}

// Set moves the alarm to the time at; 0 for never.
func (a *Alarm) Set(at time.Duration) {
	spec := unix.ItimerSpec{Value: unix.NsecToTimespec(int64(at))}
	raw, err := a.file.SyscallConn()
	if err == nil {
		_ = raw.Control(func(fd uintptr) { _ = unix.TimerfdSettime(int(fd), unix.TFD_TIMER_ABSTIME, &spec, nil) })
	}
}

// Close ends the alarm.
func (a *Alarm) Close() { _ = a.file.Close() }
