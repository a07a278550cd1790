//go:build proof

package guard

import (
	"os"
	"strings"
)

// A program built with the tag proof can be told to go without a part of the
// guard: LIFELINE_PROOF_WITHOUT=flock, run, scan, or several. "run" takes the
// record along: what is left is the announcement and the look.
func init() {
	for part := range strings.SplitSeq(os.Getenv("LIFELINE_PROOF_WITHOUT"), ",") {
		switch part {
		case "flock":
			without.flock = true
		case "run":
			without.runLock = true
		case "scan":
			without.scan = true
		}
	}
}
