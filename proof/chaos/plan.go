//go:build linux

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

// plan is what the driver does around one tick. It depends only on the seed and the
// tick's number, so that a run can be repeated with the machine's timing as the only
// difference.
type plan struct {
	burst   int       // ticks that start at once
	workers []variant // the worker that each of these ticks would start
	actions []action
}

// variant is how a worker behaves.
type variant struct {
	closeFrom, wipe, ignoreTerm bool
	drop                        bool // the worker becomes another user
	follow, background          bool // the tick has --leftovers follow; the worker goes into the background
	daemon                      string
	children                    int
	length                      time.Duration // 0: until the driver ends it
	respawn                     bool          // the supervisor starts it again, with a delay of 0
	smallFiles                  bool          // the tick may write no file
	fewFiles                    int           // the limit on descriptors of the tick; 0: as it is
}

func (v variant) flags() []string {
	var flags []string
	add := func(on bool, flag ...string) {
		if on {
			flags = append(flags, flag...)
		}
	}
	add(v.closeFrom, "-closefrom")
	add(v.wipe, "-wipe")
	add(v.drop, "-drop")
	add(v.background, "-background")
	add(v.ignoreTerm, "-ignore-term")
	add(v.daemon != "", "-daemon", v.daemon)
	add(v.children > 0, "-children", fmt.Sprint(v.children))
	add(v.length > 0, "-for", v.length.String())
	return flags
}

// kind is a fault.
type kind int

const (
	killSupervisor kind = iota
	killWorker
	killBoth
	killStarting // a tick that has just begun
	termSupervisor
	termWorker
	stopSupervisor
	stopWorker
	stopBoth
	removeLock
	removeRun
	removeDir
	damage
	killAndRemove // both faults, which leave only the process table as evidence
	moveDir       // open files keep their inodes, and have another path
	killAndDamage // the record can't tell of the orphan
	fullDisk      // every byte is taken, or every inode
	fewFiles      // the supervisor may open no more descriptors
	pauseIt
	reloadIt
	busy // load on both cores
	kinds
)

func (k kind) String() string {
	return [...]string{"KILL supervisor", "KILL worker", "KILL both", "KILL starting tick", "TERM supervisor",
		"TERM worker",
		"STOP supervisor", "STOP worker", "STOP both", "rm lock", "rm run", "rm -rf directory", "damage record",
		"KILL supervisor and rm -rf directory", "mv directory away", "KILL supervisor and damage record", "disk full",
		"descriptor limit", "pause", "reload", "load on both cores"}[k]
}

// kills reports whether the fault kills a supervisor, so that only what it has left
// behind shows its worker.
func (k kind) kills() bool {
	return k == killSupervisor || k == killBoth || k == killStarting || k == killAndRemove || k == killAndDamage
}

// forgets reports whether the fault removes or damages the worker's record.
func (k kind) forgets() bool {
	switch k {
	case removeRun, removeDir, moveDir, damage, killAndRemove, killAndDamage, fullDisk:
		return true
	}
	return false
}

// action is one fault in a plan.
type action struct {
	kind  kind
	after time.Duration // since the tick
	pick  float64       // chooses among several processes, or ways to damage a record
	hold  time.Duration // from STOP to CONT
}

func (a action) String() string {
	s := a.kind.String()
	if a.hold > 0 {
		s += fmt.Sprintf(" for %s", a.hold)
	}
	return s
}

// epoch is a stretch of the run. Only the record and the living supervisor show a
// worker that hides its descriptors and its environment. The manual says that taking
// BOTH away can't be survived. So for such a worker an epoch allows at most one of
// the two faults.
type epoch int

const (
	plain   epoch = iota // every fault, no worker that hides in both ways
	noKills              // every worker, no supervisor is killed
	noWipes              // every worker, nothing written is lost
	// followed is as plain, under --leftovers follow. Leftovers would be the instance,
	// so no worker leaves any.
	followed
)

func (e epoch) String() string {
	return [...]string{"every fault", "hiding workers, no supervisor killed", "hiding workers, nothing removed",
		"every fault, leftovers followed"}[e]
}

const epochLength = 80 // ticks

// epochOf returns the epoch of tick n.
func epochOf(seed uint64, n int) epoch {
	rng := rand.New(rand.NewPCG(seed, 1<<32+uint64(n/epochLength)))
	return []epoch{plain, plain, followed, noKills, noWipes}[rng.IntN(5)]
}

// planOf makes the plan of tick n. spare is the command's flag -spare.
func planOf(seed uint64, n int, tick time.Duration, faults float64, spare string) plan {
	rng := rand.New(rand.NewPCG(seed, uint64(n)))
	p := plan{burst: 1}
	if rng.IntN(16) == 0 {
		p.burst = 12
	}
	e := epochOf(seed, n)
	for range p.burst {
		p.workers = append(p.workers, variantOf(rng, e, spare))
	}
	if rng.Float64() >= faults {
		return p
	}
	after := time.Duration(rng.Int64N(int64(tick)))
	for range []int{1, 1, 1, 2, 2, 3}[rng.IntN(6)] {
		a := action{kind: kind(rng.IntN(int(kinds))), after: after, pick: rng.Float64()}
		switch a.kind {
		case stopSupervisor, stopWorker, stopBoth, fullDisk, fewFiles, pauseIt, busy:
			a.hold = time.Duration(rng.Int64N(int64(6 * tick)))
		case killStarting:
			a.after = time.Duration(rng.Int64N(int64(15 * time.Millisecond)))
		}
		if rng.IntN(3) == 0 { // else at the same moment as the fault before
			after += time.Duration(rng.Int64N(int64(8 * time.Millisecond)))
		}
		if e == noKills && a.kind.kills() || e == noWipes && a.kind.forgets() {
			continue
		}
		p.actions = append(p.actions, a)
	}
	return p
}

func variantOf(rng *rand.Rand, e epoch, spare string) variant {
	v := variant{
		closeFrom:  rng.IntN(4) == 0,
		wipe:       rng.IntN(4) == 0,
		ignoreTerm: rng.IntN(2) == 0, // without this the death signal ends most orphans
		daemon:     []string{"", "", "", "", "", "", "keep", "close"}[rng.IntN(8)],
		children:   []int{0, 0, 0, 0, 0, 0, 0, 3}[rng.IntN(8)],
	}
	v.respawn = rng.IntN(4) == 0
	if rng.IntN(20) == 0 {
		v.fewFiles = 4 + rng.IntN(28)
		if rng.IntN(2) == 0 {
			v.fewFiles = 64 // enough to run
		}
	}
	if rng.IntN(8) == 0 {
		v.length = 20*time.Millisecond + time.Duration(rng.Int64N(int64(400*time.Millisecond)))
	}
	v.drop = os.Geteuid() == 0 && rng.IntN(6) == 0
	if v.follow = e == followed; v.follow {
		v.daemon, v.children, v.background = "", 0, rng.IntN(3) == 0
	}
	v.smallFiles = rng.IntN(30) == 0
	if e == noKills || e == noWipes {
		v.smallFiles = false // with it no record can be written, and only a record shows some workers
		if rng.IntN(2) == 0 {
			v.closeFrom, v.wipe = true, true
		}
	} else if strings.Contains(spare, "wipe") {
		v.wipe = false
	} else if v.closeFrom && v.wipe {
		v.wipe = false
	}
	// Another user's marker alone is no evidence for root: see the manual.
	if v.closeFrom {
		v.drop = false
	}
	return v
}
