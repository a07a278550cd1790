package guard

import (
	"context"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/internal/identity"
	"lifeline/procscan"
)

// standstill is how long a start waits for one contender, or one process in
// execve, that makes no progress.
const standstill = 3 * time.Second

// OrphanError says what a census has found without a supervisor. A living worker
// is to be adopted. Leftovers of ended workers are to be dealt with before the
// next start.
type OrphanError struct{ Inherited }

func (e *OrphanError) Error() string {
	if e.Worker.Zero() {
		return fmt.Sprintf("pid %d runs, which an earlier run has left behind", e.Leftovers[0].PID)
	}
	return fmt.Sprintf("pid %d runs, and its supervisor was killed", e.Worker.PID)
}

// Launch starts a worker: steps 5 to 8. It announces the start, makes sure that
// this process has locked both files and that they are in their place, and
// elects. A supervisor whose files have been in their place since its last
// census needs no election. Launch calls fork when no other instance can start
// any more. It writes the worker that fork returns into the record, and then
// withdraws the announcement.
//
// Newer files can only belong to a process that announced itself after this
// process had announced. The census of that process shows this process.
//
// A *[HeldError] says that another instance has the name, an *[OrphanError]
// that a worker without a supervisor lives. The error of fork is returned as it
// is.
func (h *Hold) Launch(ctx context.Context, generation string, fork func() (procscan.ID, error)) (procscan.ID, error) {
	return h.launch(ctx, procscan.ID{}, func() (procscan.ID, error) {
		id, err := fork()
		if err != nil {
			return id, err
		}
		crash.Point("start.forked")
		h.SetWorker(generation, id)
		crash.Point("start.recorded")
		return id, nil
	})
}

// LaunchBeside starts a second generation beside the worker old, for a reload. It
// goes through the same steps as Launch, but this process's own workers don't count
// as another instance, and the record goes on naming old.
//
// old may end meanwhile. A contender whose census began before the announcement has
// made its files by then, or makes none.
func (h *Hold) LaunchBeside(ctx context.Context, old procscan.ID,
	fork func() (procscan.ID, error)) (procscan.ID, error) {
	return h.launch(ctx, old, fork)
}

// launch announces a start, elects and calls fork. old is a worker of this process
// that may live; zero for none.
func (h *Hold) launch(ctx context.Context, old procscan.ID, fork func() (procscan.ID, error)) (procscan.ID, error) {
	withdraw := announce(identity.Announcement(h.dir.space, h.Name))
	defer withdraw()
	crash.Point("start.announced")
	sure, breaks, err := h.secure()
	if err != nil {
		return procscan.ID{}, err
	}
	crash.Point("start.secured")
	if !sure && !without.scan {
		if err := h.elect(ctx, old); err != nil {
			return procscan.ID{}, err
		}
	}
	h.elected(breaks, old.Zero())
	crash.Point("start.elected")
	return fork()
}

// secure makes sure that both files are in their place and locked by this
// process. sure says that the files have been in their place since the last
// census. breaks counts how often a file was found missing.
func (h *Hold) secure() (sure bool, breaks int, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.watch.pending() { // moved away and back again, perhaps
		h.breaks, h.sure = h.breaks+1, false
	}
	if !without.flock && !without.runLock && !(h.held && h.inPlaceLocked()) {
		err = h.regain()
	}
	return h.sure && !without.flock && !without.runLock, h.breaks, err
}

// regain locks the files that the paths name now, unless another process has them.
func (h *Hold) regain() error {
	h.breaks, h.sure, h.inherited = h.breaks+1, false, Inherited{}
	if held := h.lost(); held != nil {
		h.held = false // this process writes no record any more
		return held
	}
	if !h.inPlaceLocked() {
		err := h.remake()
		if err == errBusy {
			h.held = false
			rec, _ := readRecordAt(h.dir.run(h.Name))
			return &HeldError{h.Name, Holder{procscan.ID(rec.Supervisor), procscan.ID(rec.Worker), rec.Generation}}
		}
		if err != nil {
			return err
		}
	}
	// An adopted worker had the run file's lock. If its leftovers still have the
	// lock, the name gets a new file.
	return h.freeRun()
}

// elected notes that from now on only this process starts workers, and where alone is
// set that none lives.
func (h *Hold) elected(breaks int, alone bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sure = h.breaks == breaks
	if !alone {
		return
	}
	h.searched, h.since = true, ticksNow()
	h.prior = priorRecord{known: true, rec: h.record()}
}

// elect takes a census and decides whether another instance lives or another
// contender goes first. Of any two contenders that announce themselves before
// they look, at least one sees the other. Both agree on which is older (start
// ticks, pid). The older one goes on, after the younger one has withdrawn. If
// old isn't zero, this process's own workers don't count.
func (h *Hold) elect(ctx context.Context, old procscan.ID) error {
	self := procscan.Self()
	var first []procscan.ID // younger contenders of the first census
	for again, deadline := false, time.Now().Add(standstill); ; again = true {
		c := takeCensus(h.dir)
		if c.blind != nil {
			if err := c.failed(); err != nil {
				return err
			}
			h.guard.warn("%v: the locks decide alone", c.blind)
			return nil
		}
		s := c.of(h.Name, h.prior.rec, h.prior.known)
		if len(s.unknown) > 0 { // a process that begins an execve later has seen this process
			h.resolveUnknown(ctx, c, s.unknown, deadline)
			s = c.of(h.Name, h.prior.rec, h.prior.known)
		}
		if !old.Zero() {
			s = h.withoutOwn(s, old)
		}
		if !s.worker.Zero() || !s.supervisor.Zero() {
			return h.found(s, old)
		}
		var younger []procscan.Stat
		for _, other := range s.contenders {
			wakeUp(other)
			if other.Older(self) {
				return &HeldError{h.Name, Holder{Supervisor: other.ID}}
			}
			// A contender of a later census announced itself after this process, and
			// sees this process. Waiting for such contenders would have no end under
			// a stream of ticks. Only a forked child, which has a single thread,
			// can't look.
			if !again {
				first = append(first, other.ID)
			}
			if other.Threads == 1 || slices.Contains(first, other.ID) {
				younger = append(younger, other)
			}
		}
		if len(younger) == 0 && len(s.leftovers) > 0 && h.guard.Leftovers != KeepLeftovers {
			return &OrphanError{Inherited{Leftovers: s.leftovers}}
		}
		if len(younger) == 0 {
			return nil
		}
		if late := h.await(ctx, younger, deadline); late.PID != 0 {
			return fmt.Errorf("cannot start: pid %d announced a start of this name more than %s ago and makes no "+
				"progress; kill %d if it hangs, the next tick tries again", late.PID, standstill, late.PID)
		}
	}
}

// withoutOwn removes this process's own workers and all leftovers from a sighting.
func (h *Hold) withoutOwn(s sighting, old procscan.ID) sighting {
	self, generation := identity.ID(procscan.Self()), h.Generation()
	own := func(id procscan.ID) bool {
		return id == old || slices.ContainsFunc(s.members, func(m member) bool {
			return m.ID == id && (m.marker.Supervisor == self || m.marker.Generation == generation)
		})
	}
	others := slices.DeleteFunc(append([]procscan.ID{s.worker}, s.second...), func(id procscan.ID) bool {
		return id.Zero() || own(id)
	})
	s.worker, s.second, s.leftovers = procscan.ID{}, nil, nil
	if len(others) > 0 {
		s.worker, s.second = others[0], others[1:]
	}
	return s
}

// found turns a sighting into the reason why the start ends here. Beside a worker of
// its own, this process adopts none.
func (h *Hold) found(s sighting, old procscan.ID) error {
	if s.supervisor.Zero() && s.worker != procscan.Self() && old.Zero() {
		h.SetWorker(s.generation, s.worker) // the next tick finds it in the record
		return &OrphanError{Inherited{Worker: s.worker, Generation: s.generation, Second: s.second}}
	}
	return &HeldError{h.Name, Holder{s.supervisor, s.worker, s.generation}}
}

// resolveUnknown reads each process that was in the middle of execve again
// until it shows what it is, and puts it into the census. A process that has
// the name's run file open is a worker, so its environment isn't needed. A
// process that shows nothing until the deadline is left out.
func (h *Hold) resolveUnknown(ctx context.Context, c *census, unknown []procscan.ID, deadline time.Time) {
	for len(unknown) > 0 {
		var left []procscan.ID // the set only shrinks
		for _, id := range unknown {
			p, ok := procscan.Look(id.PID, identity.Prefix)
			if !ok || p.ID != id {
				continue
			}
			c.table.Put(p)
			if p.Environment == procscan.InExec {
				c.openOf(id)
				left = append(left, id)
			}
		}
		if unknown = left; len(unknown) == 0 || time.Now().After(deadline) || ctx.Err() != nil {
			break
		}
		time.Sleep(200 * time.Microsecond)
	}
}

// await waits until the younger contenders have withdrawn their announcement or
// ended. It returns a contender that still announces itself at the deadline.
func (h *Hold) await(ctx context.Context, younger []procscan.Stat, deadline time.Time) (late procscan.Stat) {
	for _, other := range younger {
		for {
			now, err := procscan.Lookup(other.PID)
			if err != nil || now.ID != other.ID || now.Dead() || now.Comm != other.Comm {
				break
			}
			if time.Now().After(deadline) || ctx.Err() != nil {
				return now
			}
			wakeUp(now)
			time.Sleep(time.Millisecond)
		}
	}
	return procscan.Stat{}
}

// wakeUp continues a stopped contender, so that it doesn't go on later with an old
// census.
func wakeUp(s procscan.Stat) {
	if s.Stopped() && s.ID.Alive() {
		_ = unix.Kill(s.PID, unix.SIGCONT)
	}
}
