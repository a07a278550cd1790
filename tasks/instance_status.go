package tasks

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lifeline/install"
	"lifeline/internal/doctor"
	"lifeline/internal/guard"
	"lifeline/internal/journal"
	"lifeline/internal/supervisor"
	"lifeline/procscan"
)

// instanceStatus is how a name stands: what `lifeline status --json` prints. Fields
// may be added; their meaning doesn't change.
type instanceStatus struct {
	Name string `json:"name"`
	User string `json:"user,omitempty"`
	// starting, running, ready, reloading, stopping, backing off, standing by,
	// waiting, orphaned, paused, not running
	State       string         `json:"state"`
	Running     bool           `json:"running"` // a worker or a supervisor of it lives
	PID         int            `json:"pid,omitempty"`
	Supervisor  int            `json:"supervisor,omitempty"`
	Command     []string       `json:"command,omitempty"`
	UpSince     *time.Time     `json:"up_since,omitempty"`   // the worker's start
	NextStart   *time.Time     `json:"next_start,omitempty"` // while backing off
	Restarts    int            `json:"restarts"`             // by this supervisor
	Reloads     int            `json:"reloads"`
	Status      string         `json:"status,omitempty"` // the worker's own STATUS=
	Lost        string         `json:"lost,omitempty"`   // what of an adopted worker can't be taken up
	Memory      uint64         `json:"memory_bytes"`     // resident, of the whole tree
	CPU         float64        `json:"cpu_seconds"`      // used by what lives of the tree
	Processes   int            `json:"processes"`
	Paused      bool           `json:"paused"`
	PausedUntil *time.Time     `json:"paused_until,omitempty"`
	PausedSince *time.Time     `json:"paused_since,omitempty"`
	InCrontab   bool           `json:"in_crontab"`
	Schedule    string         `json:"schedule,omitempty"`
	Last        *journal.Run   `json:"last,omitempty"`
	LastSuccess *time.Time     `json:"last_success,omitempty"`
	Totals      journal.Totals `json:"totals"`
	Node        string         `json:"node,omitempty"`
	Fence       uint64         `json:"fence,omitempty"`
	Failing     *time.Time     `json:"failing_since,omitempty"` // the start of the first failure since the last success
	Skipped     int            `json:"skipped,omitempty"`       // ticks that found the present worker running
	Usual       float64        `json:"usual_seconds,omitempty"` // of a job that has run for ten times its usual length
	NextTick    *time.Time     `json:"next_tick,omitempty"`     // when cron starts it next; none is given for every minute
	Problem     string         `json:"problem,omitempty"`       // what couldn't be told

	since  time.Time // of State, where that is known
	daemon bool      // it is kept up (--respawn), not a job that ends
	worker procscan.ID
	guard  guard.Guard // where the name's files are
}

// States that only the look from outside knows.
const (
	stateOrphaned = "orphaned" // its supervisor was killed; the next tick takes it on
	statePaused   = "paused"
	stateDown     = "not running"
)

// ticksPerSecond is USER_HZ, in which /proc counts: 100 everywhere Go runs
// (proc(5), sysconf(_SC_CLK_TCK)).
const ticksPerSecond = 100

// stand looks at the names; at all that are known, if none is given.
func (o *options) stand(ctx context.Context, names []string) ([]instanceStatus, error) {
	lines := o.scheduled(ctx)
	if len(names) == 0 {
		known, err := o.guard.Names()
		if err != nil {
			return nil, err
		}
		for _, l := range lines {
			known = append(known, l.Name)
		}
		slices.Sort(known)
		names = slices.Compact(known)
	}
	seen, err := o.guard.Look(names...)
	if seen == nil && err != nil {
		return nil, err
	}
	list := make([]instanceStatus, len(seen))
	for i, in := range seen {
		at, problem := o, err
		if theirs, ok := o.ofLine(lines, in.Name); ok {
			elsewhere, lookErr := theirs.guard.Look(in.Name)
			if len(elsewhere) == 1 {
				at, in = theirs, elsewhere[0]
			}
			problem = lookErr
		}
		list[i] = at.standOf(in, lines)
		if problem != nil {
			list[i].Problem = problem.Error()
		}
	}
	return list, nil
}

// ofLine gives options with the directories that name's crontab line asks for;
// false where it asks for none, or the caller has.
func (o *options) ofLine(lines []install.Line, name string) (*options, bool) {
	if o.guard.Dir != "" || o.guard.StateDir != "" {
		return nil, false
	}
	for _, l := range lines {
		asks := slices.ContainsFunc(l.Options, func(w string) bool {
			w, _, _ = strings.Cut(strings.TrimLeft(w, "-"), "=")
			return w == "dir" || w == "state-dir"
		})
		if l.Name != name || !asks && l.Environment["LIFELINE_DIR"]+l.Environment["LIFELINE_STATE_DIR"] == "" {
			continue
		}
		if start, err := understand(l); err == nil {
			theirs := new(options)
			*theirs = *o
			theirs.guard.Dir, theirs.guard.AllowNFS, theirs.guard.StateDir = start.Guard.Dir, start.Guard.AllowNFS,
				start.Guard.StateDir
			return theirs, true
		}
	}
	return nil, false
}

// followLine has o look where name's crontab line works.
func (o *options) followLine(ctx context.Context, name string) {
	if o.guard.Dir != "" || o.guard.StateDir != "" {
		return
	}
	if theirs, ok := o.ofLine(o.scheduled(ctx), name); ok {
		o.guard = theirs.guard
	}
}

// scheduled are the lines of the user's crontab, and of /etc/cron.d for this
// user. One that can't be read has none.
func (o *options) scheduled(ctx context.Context) []install.Line {
	var lines []install.Line
	if text, err := o.crontabFile().Read(ctx); err == nil {
		lines = install.Entries(text, o.kind())
	}
	files, _ := filepath.Glob("/etc/cron.d/*")
	files = append(files, "/etc/crontab")
	if o.crontab != "" { // what supercronic doesn't read
		files = nil
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		for _, l := range install.Entries(string(text), install.SystemTable) {
			if l.User == userName() {
				lines = append(lines, l)
			}
		}
	}
	return slices.DeleteFunc(lines, func(l install.Line) bool { return guard.CheckName(l.Name) != nil })
}

func (o *options) standOf(in guard.Instance, lines []install.Line) instanceStatus {
	s := instanceStatus{Name: in.Name, State: stateDown, worker: in.Worker, guard: o.guard, Running: in.Alive() ||
		len(in.Tree) > 0 && !in.Worker.Zero()}
	for _, l := range lines {
		if l.Name == in.Name && (!s.InCrontab || s.Schedule == "@reboot") {
			s.InCrontab, s.Schedule, s.Command = true, l.Schedule, l.Command
			s.NextTick = nil
			if l.Schedule != install.EveryMinute {
				s.NextTick = stamp(nextStart(l))
			}
		}
	}
	until, paused, err := o.guard.PausedUntil(in.Name)
	if s.Paused = paused; paused {
		s.PausedUntil, s.PausedSince = stamp(until), stamp(o.guard.PausedSince(in.Name))
	}
	if err != nil {
		s.Problem = err.Error()
	}
	for _, p := range in.Tree {
		s.Memory += p.RSS * uint64(os.Getpagesize())
		s.CPU += float64(p.Ticks) / ticksPerSecond
		s.Processes++
	}
	s.PID = in.Worker.PID
	if in.Supervisor.Alive() && in.Supervisor != in.Worker {
		s.Supervisor = in.Supervisor.PID
	}
	written := o.written(in.Name, &s)
	// What was written down counts only while the very process that wrote it
	// lives.
	if !in.Alive() && !o.guard.IsOwnMemory() {
		in = foreignInstance(in, written)
		s.PID, s.worker, s.Running = in.Worker.PID, in.Worker, in.Alive()
		s.Supervisor = in.Supervisor.PID
	}
	sup := journal.Process{PID: in.Supervisor.PID, Start: in.Supervisor.Start}
	current := written.Boot == procscan.BootID() && written.Supervisor == sup && in.Supervisor.Alive()
	switch {
	case current:
		s.State, s.Restarts, s.Reloads, s.Status, s.Node, s.Fence = written.State, written.Restarts, written.Reloads,
			written.Status, written.Node, written.Fence
		s.Lost, s.since = written.Lost, written.Since
		s.UpSince, s.NextStart, s.daemon, s.Command = written.Started, written.NextStart, written.Respawn, written.Command
		if w := written.Worker; w == nil || !(procscan.ID{PID: w.PID, Start: w.Start}).Alive() {
			switch {
			case in.Worker.Alive(): // started this moment: it isn't written yet
				s.State = supervisor.StateStarting
			case s.State == supervisor.StateRunning || s.State == supervisor.StateReady:
				s.State = supervisor.StateStopping // gone this moment
			}
			s.UpSince = nil
		} else {
			s.PID = w.PID
		}
	case in.Worker.Alive() && !in.Supervisor.Alive():
		s.State = stateOrphaned
	case in.Worker.Alive(): // --exec, or a block of a program of its own
		s.State = supervisor.StateRunning
	case in.Supervisor.Alive():
		s.State = supervisor.StateStarting
	case paused:
		s.State = statePaused
	}
	if current && s.UpSince != nil {
		s.Skipped = o.guard.SkippedSince(in.Name, written.SkippedAt)
		if up := time.Since(*s.UpSince); !written.Respawn && up > time.Minute {
			_, file, _ := o.guard.Journal(in.Name)
			runs, _ := journal.ReadHistory(file)
			if usual, stuck := doctor.IsStuck(runs, up); stuck {
				s.Usual = usual.Seconds()
			}
		}
	}
	if s.UpSince == nil && in.Worker.Alive() && s.State != supervisor.StateStopping {
		since, _ := procscan.Describe(in.Worker)
		s.UpSince = stamp(since)
	}
	return s
}

// failed reports a run that didn't end as it should, nor because it was told to.
func failed(r *journal.Run) bool {
	return r != nil && !r.Good() && r.Outcome != journal.Stopped
}

// foreignInstance is what another user's journal tells, and the process table
// confirms: the locks and the processes' environments are closed to the caller.
func foreignInstance(in guard.Instance, written journal.State) guard.Instance {
	if sup := procscan.ID(written.Supervisor); written.Boot == procscan.BootID() && sup.Alive() {
		in.Supervisor = sup
		if w := written.Worker; w != nil && procscan.ID(*w).Alive() {
			in.Worker = procscan.ID(*w)
		}
	}
	return in
}

// written reads what the supervisor has written down.
func (o *options) written(name string, s *instanceStatus) journal.State {
	path, _, err := o.guard.Journal(name)
	if err != nil {
		return journal.State{}
	}
	st, err := journal.ReadState(path)
	if err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			s.Problem = err.Error()
		}
		return journal.State{}
	}
	s.Last, s.LastSuccess, s.Totals = st.Last, st.LastSuccess, st.Totals
	if failed(s.Last) {
		_, history, _ := o.guard.Journal(name)
		s.Failing = stamp(journal.FailingSince(history))
	}
	if s.Command == nil {
		s.Command = st.Command
	}
	return st
}
