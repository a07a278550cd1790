//go:build proof

package node

import (
	"os"
	"time"
)

// In a program built with the tag proof, LIFELINE_PROOF_CLOCK=-12s shifts the clock.
func init() {
	if d, err := time.ParseDuration(os.Getenv("LIFELINE_PROOF_CLOCK")); err == nil {
		wall = func() time.Time { return time.Now().Add(d) }
	}
}
