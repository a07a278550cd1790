package cluster

import (
	"fmt"
	"time"
)

// Margin returns the time between the SIGKILL of the whole tree and the end of the
// lease. A kill takes time, and clocks differ in speed.
func Margin(ttl time.Duration) time.Duration { return max(100*time.Millisecond, ttl/50) }

// Times are the times of a granted lease for both programs, on the clock of [Now]. The
// zero value is no lease.
type Times struct{ Stop, Kill, Deadline time.Duration }

// TimesOf returns the times that follow from a deadline.
func TimesOf(deadline, ttl, grace time.Duration) Times {
	kill := deadline - Margin(ttl)
	return Times{Stop: kill - grace, Kill: kill, Deadline: deadline}
}

// SelfKill returns when the kernel kills the supervisor, and so a worker that still
// lives.
func (t Times) SelfKill() time.Duration { return t.Kill + (t.Deadline-t.Kill)/2 }

// Held reports whether a worker may be started at the time now.
func (t Times) Held(now time.Duration) bool { return now < t.Stop }

// Fits returns an error if a grace doesn't fit into a TTL. The TTL must also hold the
// margin, and the time by which a renewal may be late.
func Fits(ttl, grace time.Duration) error {
	switch {
	case ttl < 300*time.Millisecond:
		return fmt.Errorf("--ttl %s is too short: it is at least 300ms", ttl)
	case grace > room(ttl):
		return fmt.Errorf("--kill-after %s doesn't fit into --ttl %s: at most %s does, because the worker must be "+
			"gone before the lease ends; or take --ttl %s",
			grace, ttl, room(ttl).Round(time.Millisecond), need(grace))
	}
	return nil
}

// room returns the longest grace that fits into a TTL.
func room(ttl time.Duration) time.Duration { return ttl/2 - Margin(ttl) }

// need returns a TTL in whole seconds that a grace fits into.
func need(grace time.Duration) time.Duration {
	ttl := (2*grace + 200*time.Millisecond).Truncate(time.Second)
	for room(ttl) < grace {
		ttl += max(time.Second, (grace - room(ttl)).Truncate(time.Second))
	}
	return ttl
}

// DefaultGrace returns the default of --kill-after in a cluster.
func DefaultGrace(ttl time.Duration) time.Duration { return min(ttl/4, room(ttl), 10*time.Second) }

// RenewEvery returns the pause between two renewals.
func RenewEvery(ttl time.Duration) time.Duration { return ttl / 3 }
