//go:build !linux

package supervisor

import "time"

func nap(d time.Duration) { time.Sleep(d) }
