package guard

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"slices"
	"time"

	"github.com/gofrs/flock"

	"lifeline/internal/crash"
	"lifeline/internal/identity"
	"lifeline/procscan"
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
	AllowNFS bool   // use Dir even on a network file system
	StateDir string // where journals and pauses are kept; "" means MemoryDir()
	Group    string // the group that may read journals and pauses; "" for none

	Wait    time.Duration // wait up to this long for the name; 0 refuses at once
	Standby bool          // wait for the name without a limit

	Leftovers Leftovers
	// Warn is called with one line for the operator, without newline.
	Warn func(format string, args ...any)
}

// without switches parts of the guard off, for the tests that show what each
// of them does alone. Only a program built with the tag proof can set it.
var without struct{ flock, runLock, scan bool }

// ErrHeld means that another instance has the name; a *[HeldError] says which.
var ErrHeld = errors.New("another instance runs")

// ErrPaused means that lifeline pause keeps the name down.
var ErrPaused = errors.New("paused")

// HeldError says which instance has the name.
type HeldError struct {
	Name string
	Holder
}

func (e *HeldError) Error() string { return e.Name + " runs already: " + e.Holder.String() }

// Is makes errors.Is(err, ErrHeld) true.
func (e *HeldError) Is(target error) bool { return target == ErrHeld }

// Do runs block as the one instance of name and returns its error. A
// *[HeldError] means that another instance runs, [ErrPaused] that the name is
// paused. In both cases block isn't called. The program itself is the instance:
// it keeps the name until block returns. When the program is killed, the kernel
// frees the name.
func (g Guard) Do(ctx context.Context, name string, block func(context.Context, *Hold) error) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("cannot start %s: %w", name, err)
	}
	g.Leftovers = KeepLeftovers // a block can't end processes
	hold, err := g.Acquire(ctx, name)
	if err != nil {
		return err
	}
	defer hold.Release()
	if in := hold.Inherited(); !in.Worker.Zero() {
		return &HeldError{Name: name, Holder: Holder{Worker: in.Worker, Generation: in.Generation}}
	}
	self := procscan.Self()
	_, err = hold.Launch(ctx, NewGeneration(), func() (procscan.ID, error) { return self, nil })
	var orphan *OrphanError
	if errors.As(err, &orphan) {
		return &HeldError{Name: name, Holder: Holder{Worker: orphan.Worker, Generation: orphan.Generation}}
	}
	if err != nil {
		return err
	}
	defer hold.Ended() // the instance ends, and this process lives on
	stop := hold.Keep()
	defer stop()
	return block(ctx, hold)
}

// Acquire takes the name: see [Guard.Do] for the errors. The caller deals with
// what lived before ([Hold.Inherited]), starts workers ([Hold.Launch]), and
// calls Release after the last worker has ended.
func (g Guard) Acquire(ctx context.Context, name string) (*Hold, error) {
	if err := CheckName(name); err != nil { // step 1
		return nil, err
	}
	d, err := openDir(g.Dir, g.AllowNFS)
	if err == nil && (g.StateDir != "" || g.Group != "") {
		err = g.openMemory() // the caller chose it, so a failure is an error
	}
	if err != nil {
		return nil, err
	}
	if g.Wait > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, g.Wait)
		defer cancel()
	}
	for {
		hold, err := g.attempt(ctx, d, name)
		var held *HeldError
		switch {
		case err == nil:
			return hold, nil
		case errors.As(err, &held) && (g.Standby || g.Wait > 0):
			if !waitEnd(ctx, held.Holder) {
				return nil, held
			}
		case errors.Is(err, ErrPaused) && g.Standby:
			select {
			case <-ctx.Done():
				return nil, err
			case <-time.After(200 * time.Millisecond): // an operator resumes the name: no hurry
			}
		default:
			return nil, err
		}
	}
}

// attempt walks once through steps 2 to 4.
func (g Guard) attempt(ctx context.Context, d dir, name string) (*Hold, error) {
	lock, err := g.takeLock(ctx, d, name)
	if err != nil {
		return nil, err
	}
	hold, err := g.openHold(ctx, d, name, lock)
	if err != nil && lock != nil {
		lock.Close()
	}
	return hold, err
}

// openHold walks through step 4, after this process has locked the lock file. The
// run file and its record say whether a worker still lives.
func (g Guard) openHold(ctx context.Context, d dir, name string, lock *flock.Flock) (*Hold, error) {
	crash.Point("lock.checked")
	if _, paused, err := pausedUntil(g.memory(d).file(name, pausedFile)); err != nil {
		return nil, err
	} else if paused {
		return nil, ErrPaused
	}
	h := &Hold{Name: name, dir: d, guard: g, restored: make(chan struct{}, 1)}
	if lock != nil { // it is nil where mechanism A is switched off
		h.lock = lock
	}
	run, err := openRun(d.run(name), g.AllowNFS)
	if err != nil {
		return nil, err
	}
	h.useRun(run, false)
	crash.Point("run.opened")
	if err := h.takeOver(ctx); err != nil {
		run.Close()
		return nil, err
	}
	h.Skipped()
	return h, nil
}

// takeOver judges the record and the lock of the run file, and notes in the hold
// what this process inherits.
func (h *Hold) takeOver(ctx context.Context) error {
	prior, err := h.readPrior(ctx)
	if err != nil {
		return err
	}
	h.prior, h.generation, h.since = prior, prior.rec.Generation, prior.rec.Since
	worker := procscan.ID(prior.rec.Worker)
	switch {
	case prior.orphaned:
	case prior.free && worker.Zero(): // the election finds what a lost record has forgotten
		h.inherit(Inherited{})
		return nil
	}
	// What lives of the name has to be known before a start.
	c := takeCensus(h.dir)
	if err := c.failed(); err != nil {
		return err
	}
	s := c.of(h.Name, prior.rec, prior.known)
	switch {
	case !s.supervisor.Zero():
		return &HeldError{h.Name, Holder{s.supervisor, s.worker, s.generation}}
	case prior.orphaned:
		h.inherit(Inherited{Worker: worker, Generation: prior.rec.Generation, Second: s.second})
	case !s.worker.Zero():
		h.inherit(Inherited{Worker: s.worker, Generation: s.generation, Second: s.second})
	case !prior.free && len(s.leftovers) == 0 && (!prior.known || prior.foreign):
		// The lock's holder is hidden: a worker in another pid namespace, for
		// example. The hidden holder is the instance.
		return &HeldError{h.Name, Holder{}}
	default:
		h.inherit(Inherited{Leftovers: s.leftovers})
		if err := h.freeRun(); err != nil {
			return err
		}
	}
	return nil
}

// inherit notes what lives, and writes it into the record for the next tick.
func (h *Hold) inherit(in Inherited) {
	h.inherited = in
	if !in.Worker.Zero() {
		crash.Point("adopt")
		h.SetWorker(in.Generation, in.Worker)
		return
	}
	h.SetWorker("", procscan.ID{})
	crash.Point("record.none")
}

// freeRun makes sure that this process holds the run file's lock. Where leftovers
// hold the old file, the name gets a new one, so that they can't block the name.
func (h *Hold) freeRun() error {
	if h.held || without.runLock {
		return nil
	}
	if h.guard.Leftovers == FollowLeftovers && len(h.inherited.Leftovers) > 0 {
		return nil // the leftovers are the instance, and hold the lock
	}
	if flockNow(h.run) == nil {
		h.held = true
		h.writeRecord()
		return nil
	}
	return h.renewRun()
}

// priorRecord is what the record said before this process wrote into it.
type priorRecord struct {
	rec      identity.Record
	known    bool // the record says which worker there is, if any
	orphaned bool // that worker lives, and its supervisor is gone
	free     bool // the run file is locked by this process now
	foreign  bool // the record was written in another pid namespace
}

// readPrior reads the record, and reads it again while another process writes
// it. A worker that has a living supervisor of its own is a *HeldError.
func (h *Hold) readPrior(ctx context.Context) (p priorRecord, err error) {
	if without.runLock {
		h.held = true
		return priorRecord{free: true, known: true}, nil
	}
	self := procscan.Self()
	for deadline := time.Now().Add(time.Second); ; time.Sleep(2 * time.Millisecond) {
		lockErr := flockNow(h.run)
		if lockErr != nil && lockErr != errBusy {
			return p, fmt.Errorf("cannot lock the run file %s: %w", h.run.Name(), lockErr)
		}
		crash.Point("run.locked")
		h.held = lockErr == nil
		rec, err := readRecord(h.run)
		p = priorRecord{rec: rec, free: h.held}
		p.foreign = err == nil && rec.Boot == procscan.BootID() && rec.PIDNamespace != procscan.PIDNamespace()
		p.known = err == nil && here(rec) && rec.Searched
		if err != nil || !here(rec) {
			p.rec = identity.Record{}
		}
		crash.Point("record.read")
		sup, worker := procscan.ID(p.rec.Supervisor), procscan.ID(p.rec.Worker)
		holder := Holder{sup, worker, p.rec.Generation}
		if !p.free && worker.Zero() {
			if sup != self && sup.Alive() {
				// The supervisor has lost its lock file to an rm. It is between two
				// workers, or is starting one.
				if st, err := procscan.Lookup(sup.PID); err == nil && st.ID == sup {
					wakeUp(st)
				}
				return p, &HeldError{h.Name, holder}
			}
			if err != nil && time.Now().Before(deadline) && ctx.Err() == nil {
				continue // the record is just being written
			}
		}
		if st, statErr := h.run.Stat(); errors.Is(err, identity.ErrRecord) && statErr == nil && st.Size() > 0 {
			h.guard.warn("the record in %s was damaged: the locks and the process table decide alone this time",
				h.run.Name())
		}
		if !worker.Alive() {
			return p, nil
		}
		if p.rec.InProcess() || sup != self && sup.Alive() {
			return p, &HeldError{h.Name, holder}
		}
		p.orphaned = true
		return p, nil
	}
}

// renewRun gives the name a new run file, because leftovers hold the old one.
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
	h.writeRecord()
	return nil
}

func (g Guard) warn(format string, args ...any) {
	if g.Warn != nil {
		g.Warn(format, args...)
	}
}

// NewGeneration makes the id of a generation. Other users can't guess the id
// before it is written.
func NewGeneration() string { return fmt.Sprintf("%016x", rand.Uint64()) }

// Inherited is what lives of a name when it is taken.
type Inherited struct {
	// Worker is an orphan, whose supervisor was killed. The orphan is the instance.
	Worker     procscan.ID
	Generation string
	// Second is the other generation of a reload whose supervisor was killed.
	Second []procscan.ID
	// Leftovers are what ended workers have left running; none where the guard's
	// Leftovers is KeepLeftovers.
	Leftovers []procscan.ID
}

// Inherited returns what lived when the name was taken.
func (h *Hold) Inherited() Inherited {
	in := h.inherited
	if h.guard.Leftovers == KeepLeftovers {
		in.Leftovers = nil
	}
	in.Second = slices.Clone(in.Second)
	return in
}
