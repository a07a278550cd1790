package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/procscan"
)

// supervisorLock is K.lock: gofrs/flock's, or one that came through execve.
type supervisorLock interface {
	Stat() (fs.FileInfo, error)
	Close() error
}

// Hold is a name that is ours.
type Hold struct {
	Name string
	// Orphan is a living worker that came with the name: its supervisor was
	// killed. It is the instance, to be watched, never to be doubled.
	Orphan procscan.ID
	// Follow: descendants of an ended worker are the instance, to be watched
	// until the last has ended.
	Follow bool
	// Previous is the generation that the record named before: that of Orphan
	// and of what is to be followed.
	Previous string

	dir        dir
	guard      Guard
	mu         sync.Mutex // the files change hands when they are put back
	lock       supervisorLock
	run        *os.File // locked; the worker has it too, and so it is for reading only
	rec        *os.File // the same file, for writing the record
	generation string
	worker     procscan.ID
	fresh      bool   // K.run had no record that knew of every worker
	replaced   bool   // a file had to be put back: see Intact
	held       bool   // run is locked by us; else by an adopted worker, as long as it lives
	released   bool   // no more putting back
	complained string // the last obstacle that was told
	restored   chan struct{}
	counted    int64 // of K.lock's length: see Skipped
}

// Space is the state directory, as the marker names it.
func (h *Hold) Space() string { return h.dir.space }

// RunFile is K.run, locked, for the worker to inherit; nil when there is none.
func (h *Hold) RunFile() *os.File {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.run
}

// SetWorker writes into the record who the worker is, and of which generation;
// zero for none.
func (h *Hold) SetWorker(generation string, id procscan.ID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.generation, h.worker = generation, id
	h.writeRecord()
}

// useRun makes run, which the path names now, the hold's K.run; held says that
// it is locked.
func (h *Hold) useRun(run *os.File, held bool) {
	h.held = held
	if h.run != nil {
		h.run.Close()
	}
	h.rec.Close() // nil is fine
	h.run, h.rec = run, openRecord(run, h.dir.run(h.Name))
}

// Lost is a *[HeldError] when another supervisor has taken the name. It can,
// where this one was stopped: K.lock was removed meanwhile, the worker has
// ended, and that one was adopted, so that K.run was locked by nobody but the
// worker. Asked before each start: the other's worker may have hidden itself
// from everything but the record.
func (h *Hold) Lost() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil || h.held && names(h.dir.run(h.Name), h.run.Stat) {
		return nil
	}
	took := !h.held && flockNow(h.run) == nil
	if held := h.lost(); held != nil {
		if took {
			_ = unix.Flock(int(h.run.Fd()), unix.LOCK_UN)
		}
		h.held = false // nothing is written any more
		return held
	}
	h.held = h.held || took
	return nil
}

// lost looks whether the record that stands there now is another's, and of
// something that lives.
func (h *Hold) lost() *HeldError {
	f, err := os.OpenFile(h.dir.run(h.Name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil
	}
	defer f.Close()
	rec, err := readRecord(f)
	switch {
	case err != nil, !rec.here(), rec.supervisor == procscan.Self(), rec.worker == h.worker && !h.worker.Zero():
		return nil
	case rec.worker.Alive() || rec.supervisor.Alive():
		return &HeldError{h.Name, Holder{rec.supervisor, rec.worker, rec.generation}}
	}
	return nil
}

// mayWrite: the record is ours to write. Who has K.run's lock needn't look.
func (h *Hold) mayWrite() bool { return h.rec != nil && (h.held || h.lost() == nil) }

func (h *Hold) writeRecord() {
	if !h.mayWrite() {
		return
	}
	// A full disk is no reason not to run: the locks need no data.
	_ = writeRecord(h.rec, h.record())
}

func (h *Hold) record() record {
	return record{
		boot: procscan.BootID(), pidNS: procscan.PIDNamespace(),
		generation: h.generation, supervisor: procscan.Self(), worker: h.worker, searched: !h.fresh,
	}
}

// Settled: the stub has looked around, and no worker of a lost record lives.
func (h *Hold) Settled() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fresh = false
	h.writeRecord()
}

// vacate writes into the record that nobody is the instance any more.
func (h *Hold) vacate() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mayWrite() {
		_ = writeRecord(h.rec, record{boot: procscan.BootID(), pidNS: procscan.PIDNamespace(), generation: h.generation, searched: !h.fresh})
	}
}

// Paused tells whether someone has paused the name since it was taken.
func (h *Hold) Paused() bool {
	_, paused, _ := pausedUntil(h.dir.paused(h.Name))
	return paused
}

// Release gives the name back. The unlock of K.run reaches every copy that
// descendants have inherited.
func (h *Hold) Release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run != nil {
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

// Holder is who has a name, as far as can be told.
type Holder struct {
	Supervisor procscan.ID // zero when unknown
	Worker     procscan.ID // zero when none is known
	Generation string
}

// Alive reports whether anything of it runs.
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

// Holder tells who has name in the guard's directory; ok is false when nobody
// does.
func (g Guard) Holder(name string) (h Holder, ok bool, err error) {
	if err := CheckName(name); err != nil {
		return Holder{}, false, err
	}
	path := g.Dir
	if path == "" {
		path = DefaultDir()
	}
	if err := checkDir(path, g.AllowNFS); errors.Is(err, os.ErrNotExist) {
		return Holder{}, false, nil
	} else if err != nil {
		return Holder{}, false, err
	}
	d, err := openDir(g.Dir, g.AllowNFS)
	if err != nil {
		return Holder{}, false, err
	}
	h = holderOf(d, name)
	if h.Worker.Zero() {
		// The record may be gone or damaged; the process table isn't.
		if p, ok := g.findOrphan(d, name, h.Generation); ok {
			h.Worker, h.Generation = p.ID, p.Env[EnvID]
		}
	}
	return h, h.Alive(), nil
}

// Everything lists the processes that carry the marker of name: workers,
// their descendants, and those of earlier workers that nobody has ended; and
// what has no marker, but the lock of a worker that no record names. With
// them come the living supervisors that they name: with every file gone nothing
// else tells of those.
func (g Guard) Everything(name string) (ids, above []procscan.ID) {
	d, err := g.forName(name)
	if err != nil {
		return nil, nil
	}
	table, _ := marked(name, d.space)
	holder := holderOf(d, name)
	if holder.Worker.Zero() {
		ids = findHolders(d, name)
	}
	supervisors := procscan.LockHolders(d.lock(name))
	for _, p := range table.Processes {
		if !trusted(p, holder.Generation, supervisors) {
			continue
		}
		ids = append(ids, p.ID)
		if sup, ok := supervisor(p); ok && sup.Alive() && !slices.Contains(above, sup) {
			above = append(above, sup)
		}
	}
	return ids, above
}

// holderOf reads the record; when it is stale or damaged, the process that
// locked K.lock is looked up in /proc/locks, which is right there because that
// lock is never inherited.
func holderOf(d dir, name string) Holder {
	var h Holder
	if f, err := os.OpenFile(d.run(name), os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0); err == nil {
		rec, err := readRecord(f)
		f.Close()
		if err == nil && rec.here() {
			h = Holder{Supervisor: rec.supervisor, Worker: rec.worker, Generation: rec.generation}
		}
	}
	if h.Supervisor.Alive() {
		return h
	}
	h.Supervisor = procscan.ID{}
	if !h.Worker.Alive() {
		h.Worker = procscan.ID{}
	}
	// The kernel knows the file by its path without links.
	if ids := procscan.LockHolders(dir{path: d.space}.lock(name)); len(ids) > 0 {
		h.Supervisor = ids[0]
	}
	return h
}

// Journal is where the supervisor of name writes down what happens; see package
// journal.
func (g Guard) Journal(name string) (state, history string, err error) {
	d, err := g.forName(name)
	if err != nil {
		return "", "", err
	}
	state, history = d.journal(name)
	return state, history, nil
}

// Log is where the output of name is written down; "" when that isn't known.
func (g Guard) Log(name string) (string, error) {
	d, err := g.forName(name)
	if err != nil {
		return "", err
	}
	_, _, link := d.output(name)
	path, _ := os.Readlink(link)
	return path, nil
}

// Names lists the names that have files in the guard's directory.
func (g Guard) Names() ([]string, error) {
	path := g.Dir
	if path == "" {
		path = DefaultDir()
	}
	entries, err := os.ReadDir(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the state directory %s: %w", path, reason(err))
	}
	var names []string
	for _, e := range entries {
		stem, ok := strings.CutSuffix(e.Name(), ".lock")
		if !ok || len(stem) < 14 {
			continue
		}
		if name := stem[:len(stem)-13]; CheckName(name) == nil && key(name) == stem {
			names = append(names, name)
		}
	}
	return names, nil
}

// Control is the path of the socket where the supervisor of name takes
// commands.
func (g Guard) Control(name string) (string, error) {
	d, err := g.forName(name)
	return d.control(name), err
}
