//go:build !linux

package guard

import "time"

// announce does nothing here, because other processes can't see the names of
// threads. The locks decide.
func announce(string) (withdraw func()) { return func() {} }

// bootTime is the time of day: start times are counted by it here.
func bootTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
