package tasks

import (
	"time"

	"lifeline/internal/guard"
	"lifeline/internal/journal"
	"lifeline/internal/supervisor"
	"lifeline/procscan"
)

// journal returns events that write the journal, which status, history, check and
// metrics read. end closes the journal after the loop has ended.
func (o *options) journal(hold *guard.Hold, argv []string, generation string) (events supervisor.Events, end func()) {
	state, history := hold.Journal()
	self := procscan.Self()
	w := journal.Open(state, history, journal.State{
		Name: o.name, Command: argv, Boot: procscan.BootID(), Supervisor: journal.Process{PID: self.PID,
			Start: self.Start},
		State: supervisor.StateStarting, Since: time.Now(), Respawn: o.sup.Respawn, Notify: o.sup.Notify,
		Generation: generation, Node: o.cluster.Node,
	}, procscan.Booted(), o.warn)
	events.State = func(now supervisor.Snapshot) {
		w.State(func(s *journal.State) {
			if s.State != now.State {
				s.State, s.Since = now.State, time.Now()
			}
			if now.Generation != s.Generation {
				s.SkippedAt = hold.Counted()
			}
			s.Worker = nil
			if !now.Worker.Zero() {
				s.Worker = &journal.Process{PID: now.Worker.PID, Start: now.Worker.Start}
			}
			s.Generation, s.Status, s.Fence = now.Generation, now.Status, now.Fence
			s.Restarts, s.Reloads = now.Restarts, now.Reloads
			s.Lost = now.Lost
			s.Started, s.Ready, s.NextStart = stamp(now.Began), stamp(now.Ready), stamp(now.NextStart)
		})
	}
	events.Ended = func(r journal.Run) {
		r.Skipped, r.Supervisor = hold.Skipped(), self.PID
		w.Run(r)
	}
	return events, func() {
		w.State(func(s *journal.State) {
			s.State, s.Since = journal.Ended, time.Now()
			s.Worker, s.Generation, s.Started, s.Ready, s.NextStart, s.Status, s.Lost = nil, "", nil, nil, nil, "", ""
		})
		w.Close()
	}
}

func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.Round(0) // without the monotonic clock
	return &t
}
