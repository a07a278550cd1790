package supervisor

import (
	"fmt"
	"math/rand/v2"
	"os"

	"lifeline/procscan"
)

// Unguarded is the hold of a worker without a guard (`lifeline run`): nobody
// counts it as an instance of a name, but its tree is marked and ended like
// any other.
type Unguarded struct{}

// NewGeneration makes the id of another worker.
func (Unguarded) NewGeneration() string { return fmt.Sprintf("%016x", rand.Uint64()) }

// Environ marks the generation.
func (Unguarded) Environ(generation string, rest []string) []string {
	return append([]string{marker + "=" + generation}, rest...)
}

// RunFD: there is no run file.
func (Unguarded) RunFD() int { return 0 }

// Lost: there is no name to lose.
func (Unguarded) Lost() error { return nil }

// Note: nothing to settle.
func (Unguarded) Note(first, beside bool) (string, bool) { return "", true }

// Draft: nothing.
func (Unguarded) Draft(string) (*os.File, []byte, int, int) { return nil, nil, 0, 0 }

// Place: nothing.
func (Unguarded) Place() (string, uint64, uint64) { return "", 0, 0 }

// SetWorker: there is no record.
func (Unguarded) SetWorker(string, procscan.ID) {}

// Inherited: nothing.
func (Unguarded) Inherited() (procscan.ID, string, bool) { return procscan.ID{}, "", false }

// Yielded can't happen.
func (Unguarded) Yielded(text string) (procscan.ID, string, error) {
	return procscan.ID{}, "", fmt.Errorf("cannot start: %s", text)
}

// Paused: never.
func (Unguarded) Paused() bool { return false }

// Control: nowhere.
func (Unguarded) Control() string { return "" }

// Leftovers: none are known.
func (Unguarded) Leftovers(string) []string { return nil }

// Restored: never.
func (Unguarded) Restored() <-chan struct{} { return nil }

// Settled: there is nothing to note.
func (Unguarded) Settled() {}
