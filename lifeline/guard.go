// Package lifeline lets a Go program be the one running instance of a name.
//
//	err := lifeline.Guard{}.Do(ctx, "report", func(ctx context.Context) error {
//		return makeReport(ctx)
//	})
//	if errors.Is(err, lifeline.ErrHeld) {
//		return nil // another instance runs
//	}
//
// Names are per user, machine and state directory; `lifeline NAME -- COMMAND`
// and [Guard.Do] share them. The kernel frees the name when the program ends,
// however it ends.
//
// Other processes can't see in the process table that a program is inside
// Do. If both files of the name are removed, and a second program starts before
// the first one has put them back, both run. Where that can't be accepted, have
// cron run `lifeline NAME -- PROGRAM`.
package lifeline

import (
	"context"
	"time"

	"lifeline/internal/guard"
)

// Guard holds the options of [Guard.Do]. The zero value is ready to use: the
// user's default state directory, no waiting.
type Guard struct {
	Dir      string        // state directory; "" means the user's default
	AllowNFS bool          // use Dir even on a network file system
	Wait     time.Duration // wait up to this long for the name; 0 means not at all
	Standby  bool          // wait for the name without a limit
}

// HeldError says which instance has the name. It matches [ErrHeld].
type HeldError = guard.HeldError

// NameError says why a name was refused.
type NameError = guard.NameError

var (
	// ErrHeld means that another instance has the name.
	ErrHeld = guard.ErrHeld
	// ErrPaused means that `lifeline pause` keeps the name down.
	ErrPaused = guard.ErrPaused
)

// Do calls block as the one instance of name and returns its error. Block isn't
// called when the error is ErrHeld, ErrPaused, a *[NameError] or the context's.
func (g Guard) Do(ctx context.Context, name string, block func(context.Context) error) error {
	return guard.Guard{Dir: g.Dir, AllowNFS: g.AllowNFS, Wait: g.Wait, Standby: g.Standby}.Do(ctx, name, block)
}
