package supervisor

import (
	"errors"
	"math"
	"math/rand/v2"
	"time"
)

// stableAfter is how long a worker must have been ready to reset the delays to the
// first.
const stableAfter = 10 * time.Second

// backoff decides whether and when another worker starts.
type backoff struct {
	o        *Options
	restarts int // in a row
	starts   []time.Time
}

// began notes a start.
func (b *backoff) began(t time.Time) {
	if b.o.RespawnLimit.N > 0 {
		b.starts = append(b.starts, t)
	}
}

// again decides whether another worker starts after end (nil for success). Why is
// the warning to print when no worker follows; empty where none is needed.
func (b *backoff) again(end error, now time.Time) (yes bool, why string) {
	var failed *EndError
	isFailed := errors.As(end, &failed)
	switch {
	case !b.o.Respawn:
		return false, ""
	case isFailed && failed.Code == 125:
		return false, "the command exited with 125: not started again"
	case !isFailed && b.o.RespawnOn == OnFailure:
		return false, ""
	}
	if limit := b.o.RespawnLimit; limit.N > 0 {
		recent := b.starts[:0]
		for _, t := range b.starts {
			if now.Sub(t) < limit.Within {
				recent = append(recent, t)
			}
		}
		if b.starts = recent; len(recent) >= limit.N {
			return false, "started " + limit.String() + " times: giving up until the next tick (--respawn-limit)"
		}
	}
	return true, ""
}

// next returns the pause before the next start, after a worker that was ready for
// the time up.
func (b *backoff) next(up time.Duration) time.Duration {
	if up >= max(stableAfter, b.delay()) {
		b.restarts = 0
	}
	b.restarts++
	return jitter(b.delay())
}

// delay returns the pause before the present restart. The pause grows by a constant
// factor, from RespawnDelay to RespawnMaxDelay in RespawnSteps steps. The formula is
// systemd's (RestartSteps= and RestartMaxDelaySec=, systemd.service(5)).
func (b *backoff) delay() time.Duration {
	first, last, n := b.o.RespawnDelay, b.o.RespawnMaxDelay, b.restarts
	switch {
	case n <= 1 || b.o.RespawnSteps <= 0 || first <= 0 || last <= first:
		return first
	case n > b.o.RespawnSteps:
		return last
	}
	factor := math.Pow(float64(last)/float64(first), float64(n-1)/float64(b.o.RespawnSteps))
	return time.Duration(float64(first) * factor)
}

// jitter lengthens d by up to a tenth, to spread the restarts of workers that ended
// together.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d + rand.N(d/10+1)
}
