//go:build !linux

package guard

import "time"

// announce can't be done here: other processes don't see thread names. The locks
// decide.
func announce(string) (withdraw func()) { return func() {} }

// bootTime is the time of day: start times are counted by it here.
func bootTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
