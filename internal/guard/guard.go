package guard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"time"

	"github.com/gofrs/flock"

	"lifeline/internal/crash"
	"lifeline/procscan"
)

// Orphans says what to do with a worker whose supervisor was killed.
type Orphans string

const (
	Adopt     Orphans = "adopt"     // it is the instance: watch over it until it ends (the zero value means this too)
	Terminate Orphans = "terminate" // end its whole tree, then start
)

// Leftovers says what to do with descendants that outlive their worker.
type Leftovers string

const (
	EndLeftovers    Leftovers = "terminate" // the zero value means this too
	KeepLeftovers   Leftovers = "keep"
	FollowLeftovers Leftovers = "follow" // the instance lives while they do
)

// Guard keeps a name. The zero value is ready: the user's default directory,
// no waiting.
type Guard struct {
	Dir      string // the state directory; "" means DefaultDir()
	AllowNFS bool   // use it even on a network file system

	Wait    time.Duration // how long to wait for the name to come free; 0 means not at all
	Standby bool          // wait for as long as it takes
	Replace bool          // end the instance that runs, then take its place; needs EndTree

	Orphans   Orphans
	Leftovers Leftovers

	// EndTree ends a whole process tree and returns when it is gone: root and
	// everything below it, and everything marked with generation. root may be
	// zero. Without it orphans are left alone ([HeldError]) and leftovers kept.
	EndTree func(ctx context.Context, root procscan.ID, generation string) error
	// Stop asks the supervisor of a running instance to end, and returns when
	// the whole tree is gone. Replace needs it.
	Stop func(ctx context.Context, g Guard, name string) error
	// Warn takes one line for a person, without newline.
	Warn func(format string, args ...any)
}

// without switches parts of the guard off, for the tests that show what each
// of them does alone. Only a program built with the tag proof can set it.
var without struct{ flock, runLock, scan bool }

// ErrHeld means that another instance has the name; a *[HeldError] says which.
var ErrHeld = errors.New("another instance runs")

// ErrPaused: someone keeps the name down.
var ErrPaused = errors.New("paused")

// HeldError says that another instance has the name.
type HeldError struct {
	Name string
	Holder
}

func (e *HeldError) Error() string { return e.Name + " runs already: " + e.Holder.String() }

// Is makes errors.Is(err, ErrHeld) true.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// Do runs block as the one instance of name and gives its error. A
// *[HeldError] means that another instance runs and block was not called,
// [ErrPaused] that the name is paused. The program itself is the instance: it
// keeps the name until block returns, and if it is killed the kernel frees it.
func (g Guard) Do(ctx context.Context, name string, block func(context.Context) error) error {
	g.EndTree = nil
	hold, err := g.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer hold.Release()
	hold.SetWorker(newGeneration(), procscan.Self())
	defer hold.vacate() // this process lives on, the instance doesn't
	stop := hold.Keep()
	defer stop()
	return block(ctx)
}

// Acquire takes the name and gives what holds it: see [Guard.Do] for the
// errors. The caller starts the worker, and calls Release when it has ended.
func (g Guard) Acquire(ctx context.Context, name string) (*Hold, error) {
	if err := CheckName(name); err != nil { // step 1
		return nil, err
	}
	d, err := openDir(g.Dir, g.AllowNFS)
	if err != nil {
		return nil, err
	}
	if g.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.Wait)
		defer cancel()
	}
	replace := g.Replace
	for {
		hold, err := g.attempt(ctx, d, name)
		var held *HeldError
		switch {
		case err == nil:
			return hold, nil
		case errors.As(err, &held) && replace:
			replace = false
			hold, err := g.replace(ctx, d, name)
			if !errors.As(err, &held) {
				return hold, err
			}
		case errors.As(err, &held) && (g.Standby || g.Wait > 0):
			if !waitEnd(ctx, held.Holder) {
				return nil, held
			}
		case errors.Is(err, ErrPaused) && g.Standby:
			select {
			case <-ctx.Done():
				return nil, err
			case <-time.After(200 * time.Millisecond): // a person resumes it: no hurry
			}
		default:
			return nil, err
		}
	}
}

// replace ends the running instance and takes its place.
func (g Guard) replace(ctx context.Context, d dir, name string) (*Hold, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	// While the old one is being ended we stand in the queue for the lock
	// already, so that no tick gets in between.
	queued := g.queue(ctx, d.lock(name))
	if err := g.Stop(ctx, g, name); err != nil {
		return nil, fmt.Errorf("cannot end the running instance: %w", err)
	}
	select {
	case q := <-queued:
		if q.err != nil {
			return nil, q.err
		}
		hold, err := g.won(ctx, d, name, q.lock)
		if err != nil {
			q.lock.Close()
		}
		return hold, err
	case <-time.After(5 * time.Second):
		// Somebody else stood in the queue before us, and runs now.
		return nil, &HeldError{Name: name, Holder: holderOf(d, name)}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// attempt is one walk through steps 2 to 4.
func (g Guard) attempt(ctx context.Context, d dir, name string) (*Hold, error) {
	lock, err := g.takeLock(ctx, d, name)
	if err != nil {
		return nil, err
	}
	hold, err := g.won(ctx, d, name, lock)
	if err != nil && lock != nil {
		lock.Close()
	}
	return hold, err
}

// won is step 4: K.lock is ours. K.run and its record say whether a worker
// lives all the same.
func (g Guard) won(ctx context.Context, d dir, name string, lock *flock.Flock) (*Hold, error) {
	crash.Point("lock.checked")
	if _, paused, err := pausedUntil(d.paused(name)); err != nil {
		return nil, err
	} else if paused {
		return nil, ErrPaused
	}
	hold := &Hold{Name: name, dir: d, guard: g, restored: make(chan struct{}, 1)}
	if lock != nil { // it is nil where mechanism A is switched off
		hold.lock = lock
	}
	run, err := openRun(d.run(name), g.AllowNFS)
	if err != nil {
		return nil, err
	}
	hold.useRun(run, false)
	crash.Point("run.opened")
	rec, free, err := g.settleRecord(ctx, run)
	if err != nil {
		run.Close()
		if held, ok := err.(*HeldError); ok {
			held.Name = name
		}
		return nil, err
	}
	hold.held, hold.fresh = free, rec.unknown
	if rec.worker.Zero() && !free {
		// Somebody holds K.run, and the record doesn't say who.
		var sup procscan.ID
		if p, ok := g.findOrphan(d, name, rec.generation); ok {
			rec.worker, rec.generation = p.ID, p.Env[EnvID]
			sup, _ = supervisor(p)
		} else if rec.unknown {
			if ids := findHolders(d, name); len(ids) > 0 {
				rec.worker = ids[0]
			}
		}
		if !rec.worker.Zero() {
			if sup := watcher(d, name, sup); !sup.Zero() {
				run.Close()
				return nil, &HeldError{name, Holder{sup, rec.worker, rec.generation}}
			}
		}
	}
	crash.Point("record.read")
	orphan := rec.worker
	hold.Previous = rec.generation
	if !orphan.Zero() {
		hold.Skipped()
		if err := g.orphaned(ctx, hold, rec, orphan); err != nil || hold.Orphan == orphan {
			if err != nil {
				run.Close()
			}
			return hold, err
		}
		free = flockNow(run) == nil // its tree is gone
		hold.held = free
	}
	if !free || rec.crashed {
		if err := g.leftBehind(ctx, hold, rec.generation); err != nil {
			run.Close()
			return nil, err
		}
	}
	if !free {
		if err := hold.renewRun(); err != nil {
			run.Close()
			return nil, err
		}
	}
	hold.SetWorker("", procscan.ID{}) // step 5
	crash.Point("record.none")
	hold.Skipped()
	return hold, nil
}

// settleRecord reads the record until it stands still: rec.worker is a living
// worker or zero, and free says whether K.run is locked by us now. A worker
// that has a living supervisor of its own is a *HeldError.
func (g Guard) settleRecord(ctx context.Context, run *os.File) (rec record, free bool, err error) {
	if without.runLock {
		return record{}, true, nil
	}
	for deadline := time.Now().Add(time.Second); ; time.Sleep(2 * time.Millisecond) {
		lockErr := flockNow(run)
		if lockErr != nil && lockErr != errBusy {
			return rec, false, fmt.Errorf("cannot lock the run file %s: %w", run.Name(), lockErr)
		}
		crash.Point("run.locked")
		rec, err = readRecord(run)
		if err != nil || !rec.here() {
			rec = record{unknown: err != nil}
		} else {
			rec.unknown = !rec.searched
		}
		self := procscan.Self()
		if lockErr != nil && rec.worker.Zero() {
			if rec.supervisor != self && rec.supervisor.Alive() {
				// It has lost K.lock to an rm, and is between two workers or is
				// starting one, however long that takes on this machine.
				return rec, false, &HeldError{Holder: Holder{Supervisor: rec.supervisor, Generation: rec.generation}}
			}
			if time.Now().Before(deadline) && ctx.Err() == nil {
				continue // its supervisor died while it was starting one: its stub will notice
			}
		}
		if st, statErr := run.Stat(); errors.Is(err, errRecord) && statErr == nil && st.Size() > 0 {
			g.warn("the record in %s was damaged: the locks and the process table decide alone this time", run.Name())
		}
		if !rec.worker.Alive() {
			rec.crashed = !rec.worker.Zero() // a supervisor that ends well leaves none there
			rec.worker = procscan.ID{}
			return rec, lockErr == nil, nil
		}
		if rec.inProcess() || rec.supervisor != self && rec.supervisor.Alive() {
			return rec, false, &HeldError{Holder: Holder{Supervisor: rec.supervisor, Worker: rec.worker, Generation: rec.generation}}
		}
		return rec, lockErr == nil, nil
	}
}

// renewRun gives the name a new K.run: descendants hold the old one although
// its worker is gone, and none of them may block the name.
func (h *Hold) renewRun() error {
	path := h.dir.run(h.Name)
	fresh := fmt.Sprintf("%s.%d", path, os.Getpid())
	if err := os.Remove(fresh); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("cannot remove %s: %w", fresh, reason(err))
	}
	f, err := os.OpenFile(fresh, runFlags(h.guard.AllowNFS)|os.O_EXCL, 0o600)
	if err != nil {
		return openError("run file", fresh, err)
	}
	crash.Point("renew.made")
	if err := flockNow(f); err != nil {
		f.Close()
		return fmt.Errorf("cannot lock the run file %s: %w", fresh, err)
	}
	crash.Point("renew.locked")
	if err := os.Rename(fresh, path); err != nil {
		f.Close()
		return fmt.Errorf("cannot put a new run file at %s: %w", path, reason(err))
	}
	crash.Point("renew.renamed")
	h.useRun(f, true)
	return nil
}

func (g Guard) warn(format string, args ...any) {
	if g.Warn != nil {
		g.Warn(format, args...)
	}
}

// newGeneration makes the id of a generation: not a secret, but nothing that
// another user could guess beforehand.
func newGeneration() string { return fmt.Sprintf("%016x", rand.Uint64()) }
