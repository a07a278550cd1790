//go:build !linux

package supervise

import "time"

func nap(d time.Duration) { time.Sleep(d) }
