package supervisor

import (
	"context"

	"lifeline/internal/guard"
	"lifeline/procscan"
)

// Unguarded is the Hold of `lifeline run`, which uses no guard. The worker is no
// instance of a name, but its tree is marked and ended as usual.
type Unguarded struct{}

// Environ returns the generation's marker.
func (Unguarded) Environ(generation string) []string { return []string{marker + "=" + generation} }

// RunFile returns 0: there is no run file.
func (Unguarded) RunFile() int { return 0 }

// CgroupPrefix returns what the names of its cgroups begin with.
func (Unguarded) CgroupPrefix() string { return "lifeline-run-" }

// Launch calls fork: there is nothing to decide.
func (Unguarded) Launch(_ context.Context, _ string, fork func() (procscan.ID, error)) (procscan.ID, error) {
	return fork()
}

// LaunchBeside calls fork, too.
func (Unguarded) LaunchBeside(_ context.Context, _ procscan.ID, fork func() (procscan.ID, error)) (procscan.ID, error) {
	return fork()
}

// SetWorker does nothing: there is no record.
func (Unguarded) SetWorker(string, procscan.ID) {}

// Ended does nothing: there is no record.
func (Unguarded) Ended() {}

// Inherited returns nothing.
func (Unguarded) Inherited() guard.Inherited { return guard.Inherited{} }

// Paused returns false: there is no name to keep down.
func (Unguarded) Paused() bool { return false }

// Control returns "": there is no socket for commands.
func (Unguarded) Control() string { return "" }

// Restored returns nil: there are no files to put back.
func (Unguarded) Restored() <-chan struct{} { return nil }
