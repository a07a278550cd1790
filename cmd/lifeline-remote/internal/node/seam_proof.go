//go:build proof

package node

import (
	"os"
	"time"
)

// A program built with the tag proof can be told that its clock is wrong:
// LIFELINE_PROOF_CLOCK=-12s.
func init() {
	if d, err := time.ParseDuration(os.Getenv("LIFELINE_PROOF_CLOCK")); err == nil {
		wall = func() time.Time { return time.Now().Add(d) }
	}
}
