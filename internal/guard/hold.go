package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/internal/identity"
	"lifeline/procscan"
)

// supervisorLock is the lock on the lock file: gofrs/flock's, or a lock that came
// through execve.
type supervisorLock interface {
	Stat() (fs.FileInfo, error)
	Close() error
}

// Hold is a name that this process holds.
type Hold struct {
	Name string

	dir        dir
	guard      Guard
	prior      priorRecord // what was known before this process wrote the record
	inherited  Inherited
	mu         sync.Mutex // for what follows: Keep replaces the files in a goroutine of its own
	lock       supervisorLock
	run        *os.File // open for reading only, because the worker inherits it
	rec        *os.File // the run file again, for writing the record
	generation string
	worker     procscan.ID
	since      uint64 // clock ticks at which it was last known that only worker lives
	searched   bool   // the record knows of every worker there was
	held       bool   // run is locked by this process; else by an adopted worker
	sure       bool   // both files have been in their place since the last census
	breaks     int    // how often a file was found missing
	watch      *watch // nil for none
	released   bool   // removed files stay removed
	complained string // the last obstacle that Warn was told
	restored   chan struct{}
	counted    int64 // the length of the lock file up to which Skipped has counted
}

// Space returns the state directory, as the marker names it.
func (h *Hold) Space() string { return h.dir.space }

// Environ returns the marker of a generation of the name.
func (h *Hold) Environ(generation string) []string {
	return identity.Marker{
		Name:       h.Name,
		Space:      h.dir.space,
		Generation: generation,
		Supervisor: identity.ID(procscan.Self()),
	}.Environ()
}

// CgroupPrefix returns the beginning that the names of the worker's cgroups have.
func (h *Hold) CgroupPrefix() string { return CgroupPrefix(h.dir.space, h.Name) }

// RunFile returns the descriptor of the run file, for the worker to inherit; 0
// for none.
func (h *Hold) RunFile() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil {
		return 0
	}
	return int(h.run.Fd())
}

// Generation returns the id of the last worker; "" before the first.
func (h *Hold) Generation() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.generation
}

// SetWorker writes into the record who the worker is, and of which generation.
func (h *Hold) SetWorker(generation string, id procscan.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !id.Zero() || generation != "" {
		h.generation = generation
	}
	h.worker = id
	h.writeRecord()
}

// Ended writes into the record that the worker has ended.
func (h *Hold) Ended() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.worker, h.since = procscan.ID{}, ticksNow()
	h.writeRecord()
}

// Worker returns the worker that the record names.
func (h *Hold) Worker() procscan.ID {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.worker
}

// useRun makes run, which the path names now, the hold's run file. held says
// whether this process has locked run.
func (h *Hold) useRun(run *os.File, held bool) {
	h.held = held
	if h.run != nil {
		h.run.Close()
	}
	h.rec.Close() // nil is fine
	h.run, h.rec = run, openRecord(run, h.dir.run(h.Name))
}

// lost returns the living instance of another supervisor that the record at the
// path names; nil for none.
func (h *Hold) lost() *HeldError {
	rec, ok := readRecordAt(h.dir.run(h.Name))
	sup, worker := procscan.ID(rec.Supervisor), procscan.ID(rec.Worker)
	switch {
	case !ok, sup == procscan.Self(), worker == h.worker && !h.worker.Zero():
		return nil
	case worker.Alive() || sup.Alive():
		return &HeldError{h.Name, Holder{sup, worker, rec.Generation}}
	}
	return nil
}

// mayWrite reports whether this process may write the record. The holder of the
// run file's lock may write without checking.
func (h *Hold) mayWrite() bool { return h.rec != nil && (h.held || h.lost() == nil) }

func (h *Hold) writeRecord() {
	if h.mayWrite() {
		writeRecord(h.rec, h.record())
	}
}

func (h *Hold) record() identity.Record {
	return identity.Record{
		Boot: procscan.BootID(), PIDNamespace: procscan.PIDNamespace(), Space: identity.SpaceHash(h.dir.space),
		Generation: h.generation, Supervisor: identity.ID(procscan.Self()), Worker: identity.ID(h.worker),
		Since: h.since, Searched: h.searched,
	}
}

// Paused tells whether an operator has paused the name since it was taken.
func (h *Hold) Paused() bool {
	_, paused, _ := pausedUntil(h.guard.memory(h.dir).file(h.Name, pausedFile))
	return paused
}

// Release gives the name back. The unlock of the run file reaches every copy that
// descendants have inherited.
func (h *Hold) Release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != nil {
		if h.mayWrite() && h.worker.Zero() { // this process may live on, but not as a supervisor of the name
			rec := h.record()
			rec.Supervisor = identity.ID{}
			writeRecord(h.rec, rec)
		}
		_ = unix.Flock(int(h.run.Fd()), unix.LOCK_UN)
		_ = h.run.Close()
		_ = h.rec.Close()
		h.run, h.rec = nil, nil
		crash.Point("end.unlocked")
	}
	if h.lock != nil {
		_ = h.lock.Close()
		h.lock = nil
		crash.Point("end.released")
	}
}

// Holder names the processes that have a name, as far as they are known.
type Holder struct {
	Supervisor procscan.ID // zero when unknown
	Worker     procscan.ID // zero when none is known
	Generation string
}

// Alive reports whether the supervisor or the worker runs.
func (h Holder) Alive() bool { return h.Supervisor.Alive() || h.Worker.Alive() }

// String says pid, since when and which command, for a person.
func (h Holder) String() string {
	id, what := h.Worker, "pid"
	if !id.Alive() {
		id, what = h.Supervisor, "lifeline, pid"
	}
	if id.Zero() {
		return "its holder can't be told"
	}
	s := fmt.Sprintf("%s %d", what, id.PID)
	if since, command := procscan.Describe(id); command != "" {
		s += fmt.Sprintf(", since %s: %s", since.Format(time.DateTime), command)
	}
	return s
}

// Holder tells who has name in the guard's directory; ok is false when it has no
// living instance.
func (g Guard) Holder(name string) (h Holder, ok bool, err error) {
	list, err := g.Look(name)
	if len(list) == 0 {
		return Holder{}, false, err
	}
	return list[0].Holder, list[0].Alive(), nil
}

// holderOf reads the record. When the record is stale or damaged, holderOf looks
// up the process that locked the lock file in /proc/locks. That process is the
// holder, because no other process inherits the lock.
func holderOf(d dir, name string) Holder {
	var h Holder
	if rec, ok := readRecordAt(d.run(name)); ok {
		h = Holder{procscan.ID(rec.Supervisor), procscan.ID(rec.Worker), rec.Generation}
	}
	if h.Supervisor.Alive() {
		return h
	}
	h.Supervisor = procscan.ID{}
	if !h.Worker.Alive() {
		h.Worker = procscan.ID{}
	}
	ino := inodeOf(d.lock(name))
	locks, _ := procscan.Flocks()
	for _, l := range locks {
		if l.Ino == ino && procscan.HoldsInode(l.PID, ino) {
			if s, err := procscan.Lookup(l.PID); err == nil && !s.Dead() {
				h.Supervisor = s.ID
			}
		}
	}
	return h
}

// Journal returns the paths of the files in which the supervisor of name writes
// down what happens; see package journal.
func (g Guard) Journal(name string) (state, history string, err error) {
	d, err := g.forName(name)
	if err != nil {
		return "", "", err
	}
	m := g.memory(d)
	return m.file(name, stateFile), m.file(name, historyFile), nil
}

// Log returns the path of name's log; "" when it isn't known.
func (g Guard) Log(name string) (string, error) {
	d, err := g.forName(name)
	if err != nil {
		return "", err
	}
	path, _ := os.Readlink(g.memory(d).file(name, logLink))
	return path, nil
}

// FailedOutput returns the path at which a logger keeps the end of what the last
// failed run printed.
func (g Guard) FailedOutput(name string) (string, error) {
	d, err := g.forName(name)
	if err != nil {
		return "", err
	}
	return g.memory(d).file(name, failedFile), nil
}

// Names lists the names that have files in the guard's directories.
func (g Guard) Names() ([]string, error) {
	path := g.Dir
	if path == "" {
		path = DefaultDir()
	}
	names, err := namesIn(path, ".lock")
	if err != nil {
		return nil, err
	}
	known, err := namesIn(g.MemoryDir(), stateFile, historyFile, pausedFile)
	if errors.Is(err, fs.ErrPermission) && g.StateDir == "" {
		err = nil
	}
	names = append(names, known...)
	slices.Sort(names)
	return slices.Compact(names), err
}

// PingTrouble returns the path of the file that tells of a failed ping of name.
func (g Guard) PingTrouble(name string) string {
	d, err := g.forName(name)
	if err != nil {
		return ""
	}
	return d.trouble(name)
}

// Control returns the path of the socket where the supervisor of name takes
// commands.
func (g Guard) Control(name string) (string, error) {
	d, err := g.forName(name)
	return d.control(name), err
}
