//go:build !linux

package guard

import "time"

// announce does nothing here, because other processes can't see the names of
// threads. The locks decide.
func announce(string) (withdraw func()) { return func() {} }

// bootTime returns the time of day, the clock of start times here.
func bootTime() time.Duration { return time.Duration(time.Now().UnixNano()) }
