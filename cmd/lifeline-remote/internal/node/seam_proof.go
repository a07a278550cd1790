//go:build proof

package node

import (
	"os"
	"time"
)

// init shifts the clock by LIFELINE_PROOF_CLOCK, such as -12s.
func init() {
	if d, err := time.ParseDuration(os.Getenv("LIFELINE_PROOF_CLOCK")); err == nil {
		wall = func() time.Time { return time.Now().Add(d) }
	}
}
