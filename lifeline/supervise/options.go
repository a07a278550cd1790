package supervise

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/lifeline/child"
)

// Options are those of the command line, parsed straight into here. Durations
// of zero mean "off" unless said otherwise.
type Options struct {
	StopSignal child.Signal  // asks the tree to end; zero means SIGTERM
	KillAfter  time.Duration // from that to SIGKILL
	MaxRuntime time.Duration // the worker is ended after this
	MinRuntime time.Duration // a success that comes sooner counts as a failure

	Chdir string
	Env   []string // added to or replacing the inherited environment, K=V
	Umask int      // -1: inherited

	Leftovers string // terminate, keep, follow

	Respawn         bool
	RespawnOn       When
	RespawnDelay    time.Duration
	RespawnMaxDelay time.Duration
	RespawnSteps    int
	RespawnLimit    Limit
}

// When says after which ends a worker is started again.
type When string

const (
	Always    When = "always"
	OnFailure When = "failure"
)

// Set reads the flag.
func (w *When) Set(s string) error {
	switch When(s) {
	case Always, OnFailure:
		*w = When(s)
		return nil
	}
	return fmt.Errorf("%q is neither %q nor %q", s, OnFailure, Always)
}

func (w *When) String() string { return string(*w) }

// Limit is N starts within a time: 5/1m.
type Limit struct {
	N      int
	Within time.Duration
}

// Set reads N/DURATION.
func (l *Limit) Set(s string) error {
	n, d, ok := strings.Cut(s, "/")
	count, err := strconv.Atoi(n)
	within, derr := time.ParseDuration(d)
	if !ok || err != nil || derr != nil || count < 1 || within <= 0 {
		return fmt.Errorf("%q is not a limit such as 5/1m (so many starts in so long a time)", s)
	}
	l.N, l.Within = count, within
	return nil
}

func (l *Limit) String() string {
	if l.N == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%s", l.N, l.Within)
}

func (o *Options) stopSignal() unix.Signal {
	if o.StopSignal == 0 {
		return unix.SIGTERM
	}
	return unix.Signal(o.StopSignal)
}

// delay is the pause before the nth restart in a row (1 is the first). The
// formula is systemd's (RestartSteps= and RestartMaxDelaySec=,
// systemd.service(5)): it grows by a constant factor, from RespawnDelay to
// RespawnMaxDelay in RespawnSteps steps.
func (o *Options) delay(n int) time.Duration {
	first, last := o.RespawnDelay, o.RespawnMaxDelay
	switch {
	case n <= 1 || o.RespawnSteps <= 0 || first <= 0 || last <= first:
		return first
	case n > o.RespawnSteps:
		return last
	}
	factor := math.Pow(float64(last)/float64(first), float64(n-1)/float64(o.RespawnSteps))
	return time.Duration(float64(first) * factor)
}

// jitter lengthens d by up to a tenth, so that many workers that fell
// together don't rise together.
func jitter(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return d + rand.N(d/10+1)
}
