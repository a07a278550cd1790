package supervise

import (
	"fmt"
	"math/rand/v2"

	"lifeline/procscan"
)

// Unguarded is the hold of a worker without a guard (`lifeline run`): nobody
// counts it as an instance of a name, but its tree is marked and ended like
// any other.
type Unguarded struct{ id string }

// Environ marks the generation.
func (u *Unguarded) Environ(rest []string) []string {
	if u.id == "" {
		u.NextGeneration()
	}
	return append([]string{"LIFELINE_ID=" + u.id}, rest...)
}

// Marker is the generation's.
func (u *Unguarded) Marker() (name, value string) { return "LIFELINE_ID", u.id }

// RunFD: there is no run file.
func (u *Unguarded) RunFD() int { return 0 }

// Note: nothing to settle.
func (u *Unguarded) Note(bool) string { return "" }

// SetWorker: there is no record.
func (u *Unguarded) SetWorker(procscan.ID) {}

// NextGeneration begins one.
func (u *Unguarded) NextGeneration() string {
	u.id = fmt.Sprintf("%016x", rand.Uint64())
	return u.id
}

// Inherited: nothing.
func (u *Unguarded) Inherited() (procscan.ID, bool) { return procscan.ID{}, false }

// Yielded can't happen.
func (u *Unguarded) Yielded(text string) (procscan.ID, error) {
	return procscan.ID{}, fmt.Errorf("cannot start: %s", text)
}

// Paused: never.
func (u *Unguarded) Paused() bool { return false }

// Control: nowhere.
func (u *Unguarded) Control() string { return "" }
