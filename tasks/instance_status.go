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

// instanceStatus is the status of a name, as `lifeline status --json` prints it.
// Fields may be added; their meaning doesn't change.
type instanceStatus struct {
	Name string `json:"name"`
	User string `json:"user,omitempty"`
	// starting, running, ready, reloading, stopping, backing off, standing by,
	// waiting, orphaned, paused, not running
	State       string         `json:"state"`
	Running     bool           `json:"running"` // its worker or its supervisor lives
	PID         int            `json:"pid,omitempty"`
	Supervisor  int            `json:"supervisor,omitempty"`
	Command     []string       `json:"command,omitempty"`
	UpSince     *time.Time     `json:"up_since,omitempty"`   // the worker's start
	NextStart   *time.Time     `json:"next_start,omitempty"` // while backing off
	Restarts    int            `json:"restarts"`             // by this supervisor
	Reloads     int            `json:"reloads"`
	Status      string         `json:"status,omitempty"` // the worker's own STATUS=
	Lost        string         `json:"lost,omitempty"`   // what couldn't be taken over with an adopted worker
	Memory      uint64         `json:"memory_bytes"`     // resident, of the whole tree
	CPU         float64        `json:"cpu_seconds"`      // used by the living processes of the tree
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
	NextTick    *time.Time     `json:"next_tick,omitempty"`     // when cron starts the name next; nil for every minute
	Overdue     *time.Time     `json:"overdue_since,omitempty"` // the scheduled start that left no trace
	Problem     string         `json:"problem,omitempty"`       // why something is unknown

	since  time.Time // of State, where that is known
	daemon bool      // the supervisor has --respawn
	worker procscan.ID
	guard  guard.Guard // where the name's files are
}

// The states that a supervisor never writes: status finds them from outside.
const (
	stateOrphaned = "orphaned" // its supervisor was killed; the next tick adopts the worker
	statePaused   = "paused"
	stateDown     = "not running"
)

// ticksPerSecond is USER_HZ, the unit of /proc's times: 100 everywhere Go runs
// (proc(5), sysconf(_SC_CLK_TCK)).
const ticksPerSecond = 100

// stand returns the status of the names, or of all known names if none is given.
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

// ofLine returns options with the directories that name's crontab line sets; false
// where the line sets none, or the caller has given a directory.
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

// followLine sets o's directories to those of name's crontab line.
func (o *options) followLine(ctx context.Context, name string) {
	if o.guard.Dir != "" || o.guard.StateDir != "" {
		return
	}
	if theirs, ok := o.ofLine(o.scheduled(ctx), name); ok {
		o.guard = theirs.guard
	}
}

// scheduled returns the lines of the user's crontab, and of the system crontabs for
// this user. A crontab that can't be read counts as empty.
func (o *options) scheduled(ctx context.Context) []install.Line {
	var lines []install.Line
	if text, err := o.crontabFile().Read(ctx); err == nil {
		lines = install.Entries(text, o.kind())
	}
	files, _ := filepath.Glob("/etc/cron.d/*")
	files = append(files, "/etc/crontab")
	if o.crontab != "" { // supercronic reads none of them
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
	supervised, works := in.Supervisor.Alive(), in.Worker.Alive()
	s := instanceStatus{Name: in.Name, State: stateDown, worker: in.Worker, guard: o.guard,
		Running: supervised || works || len(in.Tree) > 0}
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
	if supervised && in.Supervisor != in.Worker {
		s.Supervisor = in.Supervisor.PID
	}
	written := o.written(in.Name, &s)
	// The journal's state counts only while the process that wrote it lives.
	if !s.Running && !o.guard.IsOwnMemory() {
		in = foreignInstance(in, written)
		supervised, works = in.Supervisor.Alive(), in.Worker.Alive()
		s.PID, s.worker, s.Running = in.Worker.PID, in.Worker, supervised || works
		s.Supervisor = in.Supervisor.PID
	}
	current := written.Boot == procscan.BootID() && procscan.ID(written.Supervisor) == in.Supervisor && supervised
	switch {
	case current:
		s.State, s.Restarts, s.Reloads, s.Status, s.Node, s.Fence = written.State, written.Restarts, written.Reloads,
			written.Status, written.Node, written.Fence
		s.Lost, s.since = written.Lost, written.Since
		s.UpSince, s.NextStart = written.Started, written.NextStart
		s.daemon, s.Command = written.Respawn, written.Command
		w := written.Worker
		if w == nil || !(works && procscan.ID(*w) == in.Worker) && !procscan.ID(*w).Alive() {
			switch {
			case works: // just started, and not yet in the journal
				s.State = supervisor.StateStarting
			case s.State == supervisor.StateRunning || s.State == supervisor.StateReady:
				s.State = supervisor.StateStopping // just ended
			}
			s.UpSince = nil
		} else {
			s.PID = w.PID
		}
	case works && !supervised:
		s.State = stateOrphaned
	case works: // --exec, or a block of a program of its own
		s.State = supervisor.StateRunning
	case supervised:
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
	if s.UpSince == nil && works && s.State != supervisor.StateStopping {
		since, _ := procscan.Describe(in.Worker)
		s.UpSince = stamp(since)
	}
	return s
}

// failed reports whether a run neither succeeded nor was stopped.
func failed(r *journal.Run) bool {
	return r != nil && !r.Good() && r.Outcome != journal.Stopped
}

// foreignInstance returns the instance that another user's journal names and the
// process table confirms. The caller can't read that user's locks and environments.
func foreignInstance(in guard.Instance, written journal.State) guard.Instance {
	if sup := procscan.ID(written.Supervisor); written.Boot == procscan.BootID() && sup.Alive() {
		in.Supervisor = sup
		if w := written.Worker; w != nil && procscan.ID(*w).Alive() {
			in.Worker = procscan.ID(*w)
		}
	}
	return in
}

// written returns the state in the journal, and copies the last runs from it into s.
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
