//go:build proof

package guard

import (
	"os"
	"strings"
)

// init switches parts of the guard off in a program built with the tag proof:
// LIFELINE_PROOF_WITHOUT=flock,run,scan. "run" switches the record off too; the
// announcement and the census are left.
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
