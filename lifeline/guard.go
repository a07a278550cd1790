// Package lifeline lets a Go program be the one running instance of a name.
//
//	err := lifeline.Guard{}.Do(ctx, "billing", func(ctx context.Context) error {
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
// the first program has put them back, both run. Where that can't be accepted,
// let cron run `lifeline NAME -- PROGRAM`.
package lifeline

import (
	"context"
	"os"
	"time"

	"lifeline/internal/guard"
	"lifeline/internal/journal"
	"lifeline/procscan"
)

// Guard holds the options of [Guard.Do]. The zero value is ready to use: the
// user's default state directory, no waiting.
type Guard struct {
	Dir      string        // state directory; "" means the user's default
	AllowNFS bool          // use Dir even on a network file system
	Wait     time.Duration // wait up to this long for the name; 0 refuses at once
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

// Do calls block as the one instance of name and returns block's error. When the
// error is ErrHeld, ErrPaused, a *[NameError] or the context's, block isn't called.
func (g Guard) Do(ctx context.Context, name string, block func(context.Context) error) error {
	in := guard.Guard{Dir: g.Dir, AllowNFS: g.AllowNFS, Wait: g.Wait, Standby: g.Standby}
	return in.Do(ctx, name, func(ctx context.Context, hold *guard.Hold) error {
		return journaled(hold, func() error { return block(ctx) })
	})
}

// journaled calls block and writes the run into the journal for `lifeline status`,
// history, check and metrics.
func journaled(hold *guard.Hold, block func() error) error {
	began, self := time.Now(), procscan.Self()
	process := journal.Process{PID: self.PID, Start: self.Start}
	state, history := hold.Journal()
	w := journal.Open(state, history, journal.State{
		Name: hold.Name, Command: os.Args, Boot: procscan.BootID(), Supervisor: process, Worker: &process,
		State: journal.Running, Since: began, Started: &began, Generation: hold.Generation(),
	}, procscan.Booted(), func(string, ...any) {}) // a program's standard error is its own
	defer w.Close()
	w.State(func(*journal.State) {})
	run := journal.Run{Start: began, PID: self.PID, Generation: hold.Generation(), Supervisor: self.PID,
		Outcome: journal.Failed, Code: 1, Why: "it panicked"}
	defer func() {
		run.End, run.Skipped = time.Now(), hold.Skipped()
		w.Run(run)
		w.State(func(s *journal.State) {
			s.State, s.Since, s.Worker, s.Started, s.Generation = journal.Ended, run.End, nil, nil, ""
		})
	}()
	err := block()
	if run.Why = ""; err == nil {
		run.Outcome, run.Code = journal.OK, 0
	} else {
		run.Why = err.Error()
	}
	return err
}
