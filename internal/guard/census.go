package guard

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"

	"lifeline/internal/identity"
	"lifeline/procscan"
)

// census is one pass over the process table of a state directory. It answers
// for every name of the directory: who is a supervisor, a worker, an orphan, a
// leftover, a contender for a start. Elections, adoption, terminate, status,
// metrics and doctor use it and nothing else.
//
// The evidence adds up. A process belongs to a name by
//   - its marker, where the process is of the caller's uid or other evidence
//     supports the marker: other users can write markers as well;
//   - an open description of the name's run file, even a removed or moved one,
//     which no other user can have;
//   - its cgroup, which root made for the name.
type census struct {
	dir   dir
	self  procscan.ID
	table *procscan.Table
	blind error // the process table can't be read; the locks decide alone

	flocks    []procscan.Flock
	allFlocks bool       // flocks has every lock, those of ended takers included
	lockFiles bool       // flocks has been read
	inherited [][]string // see inheritedLocks
	sought    bool       // inherited has been filled
	inodes    map[uint64]bool
	open      map[procscan.ID][]procscan.Open
	byPath    map[string][]procscan.Open // what open has, by path
	children  map[int][]procscan.Process
	searched  bool // open is complete: every process was looked at
}

// takeCensus looks at the process table once. Processes that are born meanwhile
// are looked at too: while a contender forks its worker, the evidence moves from
// one pid to another.
func takeCensus(d dir) *census {
	c := &census{
		dir:    d,
		self:   procscan.Self(),
		open:   map[procscan.ID][]procscan.Open{},
		byPath: map[string][]procscan.Open{},
	}
	c.table, _, c.blind = procscan.ReadAll(identity.Prefix)
	return c
}

// failed returns why the census knows nothing, where another try may know more: this
// process has no descriptor left. Without a readable process table the locks decide.
func (c *census) failed() error {
	if errors.Is(c.blind, procscan.ErrBlind) {
		return nil
	}
	return c.blind
}

// member is a process of a name.
type member struct {
	procscan.Process
	marker identity.Marker // zero where the process shows none
}

// sighting is what a census shows of one name.
type sighting struct {
	// supervisor is a living supervisor other than this process; zero for none.
	supervisor procscan.ID
	// worker is the living instance; zero for none.
	worker     procscan.ID
	generation string
	// second is another living generation: the supervisor was killed during a
	// reload.
	second []procscan.ID
	// leftovers are what ended workers have left running.
	leftovers []procscan.ID
	// members is everything of the name, the worker first.
	members []member
	// contenders announce that they start a worker of the name.
	contenders []procscan.Stat
	// unknown are in the middle of execve, and show nothing yet.
	unknown []procscan.ID
}

// of tells what the census shows of name. rec is what the run file said before
// this process wrote it. known says that rec knew of every worker.
func (c *census) of(name string, rec identity.Record, known bool) sighting {
	var s sighting
	if c.table == nil {
		return s
	}
	announced := identity.Announcement(c.dir.space, name)
	for _, p := range c.table.Processes {
		switch {
		case p.ID == c.self:
		case p.Comm == announced:
			if p.UID() == ownUID() {
				s.contenders = append(s.contenders, p.Stat)
			}
		case p.Environment == procscan.InExec:
			s.unknown = append(s.unknown, p.ID)
		case p.Env[identity.EnvName] == name && p.Env[identity.EnvSpace] == c.dir.space:
			if m, ok := identity.MarkerOf(p.Env); ok && c.trusts(p, m, rec) {
				s.members = append(s.members, member{p, m})
			}
		}
	}
	for _, id := range c.runFileHolders(name, !known) {
		p, ok := c.table.Get(id.PID)
		if ok && p.ID == id && !slices.ContainsFunc(s.members, func(m member) bool { return m.ID == id }) {
			s.members = append(s.members, member{Process: p})
		}
	}
	// The record names a worker that hides its marker and has closed the run
	// file.
	if w := procscan.ID(rec.Worker); known && c.table.Has(w) && w != c.self &&
		!slices.ContainsFunc(s.members, func(m member) bool { return m.ID == w }) {
		p, _ := c.table.Get(w.PID)
		s.members = append(s.members, member{Process: p})
	}
	s.supervisor = c.supervisorOf(name, s.members)
	c.sort(&s, name, rec, known)
	if s.supervisor.Zero() && c.isInProcess(s, rec, known) {
		s.supervisor = s.worker
	}
	return s
}

// isInProcess reports whether the worker is its own supervisor: a command started
// with --exec, or a program inside Guard.Do.
func (c *census) isInProcess(s sighting, rec identity.Record, known bool) bool {
	worker := identity.ID(s.worker)
	if worker.Zero() || known && rec.InProcess() && rec.Worker == worker {
		return !worker.Zero()
	}
	if slices.ContainsFunc(s.members,
		func(m member) bool { return m.ID == s.worker && m.marker.Supervisor == worker }) {
		return true
	}
	return slices.ContainsFunc(c.open[s.worker], func(o procscan.Open) bool {
		rec, err := recordBehind(o)
		return err == nil && here(rec) && rec.InProcess() && rec.Worker == worker
	})
}

// trusts reports whether the marker of p may be believed. Every user can write a
// marker into the environment of his own process. That must not keep root's worker
// from starting.
func (c *census) trusts(p procscan.Process, m identity.Marker, rec identity.Record) bool {
	switch {
	case p.UID() == ownUID():
		return true
	case ownUID() != 0:
		return false
	case rec.Generation != "" && m.Generation == rec.Generation:
		return true // other users cannot know the generation before it is written
	}
	parent, ok := c.table.Get(p.PPID)
	if ok && parent.ID == procscan.ID(m.Supervisor) && parent.UID() == ownUID() {
		return true
	}
	if path := procscan.CgroupOf(p.PID); strings.HasPrefix(filepath.Base(path), CgroupPrefix(c.dir.space, m.Name)) {
		if uid, ok := procscan.CgroupOwner(path); ok && uid == ownUID() {
			return true
		}
	}
	return slices.ContainsFunc(c.openOf(p.ID), func(o procscan.Open) bool { return c.isRunFile(o, m.Name) })
}

// CgroupPrefix returns the beginning of the names of the cgroups in which a
// supervisor of the name starts workers.
func CgroupPrefix(space, name string) string {
	return "lifeline-" + strings.TrimPrefix(identity.Announcement(space, name), "ll:") + "-"
}

// sort decides which member is the worker, and what the others are.
func (c *census) sort(s *sighting, name string, rec identity.Record, known bool) {
	slices.SortStableFunc(s.members, func(a, b member) int {
		if a.Older(b.ID) {
			return -1
		}
		return 1
	})
	var workers []member // the oldest of each generation that may be an instance
	if i := slices.IndexFunc(s.members,
		func(m member) bool { return known && m.ID == procscan.ID(rec.Worker) }); i >= 0 {
		workers = append(workers, s.members[i])
	}
	named := len(workers) > 0 // a process without a marker is then a descendant of that worker
	for _, m := range s.members {
		generation := m.marker.Generation
		switch {
		case named && (m.ID == workers[0].ID || generation == "" || generation == rec.Generation):
		case slices.ContainsFunc(workers, func(w member) bool { return generation == w.marker.Generation }):
		case c.ended(m, rec, known):
			s.leftovers = append(s.leftovers, m.ID)
		default:
			workers = append(workers, m)
		}
	}
	if len(workers) == 0 {
		return
	}
	s.worker, s.generation = workers[0].ID, workers[0].marker.Generation
	if s.generation == "" && known {
		s.generation = rec.Generation
	}
	for _, m := range workers[1:] {
		s.second = append(s.second, m.ID)
	}
	slices.SortStableFunc(s.members, func(a, b member) int {
		if a.ID == s.worker && b.ID != s.worker {
			return -1
		}
		return 0
	})
}

// ended reports whether m's worker is known to have ended, so that m is a
// leftover. Where no evidence decides, m counts as the instance: a name without
// an instance is safer than a name with two.
func (c *census) ended(m member, rec identity.Record, known bool) bool {
	sup := procscan.ID(m.marker.Supervisor)
	switch {
	case m.marker.Generation != "" && m.ID == sup: // --exec
		return false
	case m.marker.Generation != "" && c.table.Has(sup):
		// The worker is the child of its supervisor. A worker of this process has
		// ended, or this process would not ask.
		return m.PPID != sup.PID || sup == c.self
	case !known:
		return !mayBeWorker(m)
	case m.marker.Generation == "":
		return true // it has the run file of a worker that has ended, as the record says
	case m.marker.Generation == rec.Generation:
		return true
	}
	// The record names no worker, or a worker that has ended. The supervisor of a
	// worker that was started later had no time to write the record.
	return m.Start < rec.Since || !mayBeWorker(m)
}

// mayBeWorker reports whether m can be the process that its supervisor forked.
// Such a process leads a process group, and a leader can't begin a session
// (setsid(2)). On a terminal it is in its supervisor's group. What a worker has
// started is in the worker's group, or has a session of its own.
func mayBeWorker(m member) bool {
	return m.PGID == m.PID && m.SID != m.PID || m.marker.Supervisor.PID != 0 && m.PGID == m.marker.Supervisor.PID
}

// supervisorOf finds a living supervisor of name other than this process. A
// supervisor that has lost its lock file to an rm still has it open. It counts
// only if it has a worker, which leaves out the losers of an election.
func (c *census) supervisorOf(name string, members []member) procscan.ID {
	for _, m := range members {
		sup := procscan.ID(m.marker.Supervisor)
		if m.marker.Generation != "" && sup != c.self && sup != m.ID && c.table.Has(sup) {
			return sup
		}
	}
	for _, id := range c.lockFileHolders(name) {
		if id == c.self {
			continue
		}
		if slices.ContainsFunc(c.table.Processes, func(p procscan.Process) bool { return p.PPID == id.PID }) ||
			len(members) > 0 {
			return id
		}
	}
	return procscan.ID{}
}
