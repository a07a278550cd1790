// Package procscan reads the process table: which processes live, carry a
// marker in the environment, hold a lock, or have a file open.
//
//	self := procscan.Self()
//	table, err := procscan.Read("LIFELINE_")
//	for _, p := range table.Processes {
//		if p.ID != self && p.Env["LIFELINE_NAME"] == "web" {
//			…
//		}
//	}
//
// A pid and a start time together name a process, because pids are reused. The
// start time is raw, as the kernel counts it (clock ticks since boot,
// proc_pid_stat(5) field 22). A conversion would use the wall clock, which jumps.
//
// On Linux everything comes from /proc. On other systems gopsutil answers what
// it can; environments of other processes can't be read there, so [Read] says
// so with [ErrBlind].
package procscan

import (
	"errors"
	"fmt"
)

// ErrBlind means that the process table is hidden: /proc is missing or belongs to
// another pid namespace, or the system shows no process table. A process that
// can't be seen counts as unknown, not as gone.
var ErrBlind = errors.New("the process table can't be read here")

// ID names one process for as long as the machine is up.
type ID struct {
	PID   int
	Start uint64 // clock ticks since boot, raw
}

func (id ID) String() string { return fmt.Sprintf("%d", id.PID) }

// Zero reports whether id names no process.
func (id ID) Zero() bool { return id.PID == 0 }

// Older orders processes by (start, pid). Of two different processes exactly
// one is the older.
func (id ID) Older(than ID) bool {
	if id.Start != than.Start {
		return id.Start < than.Start
	}
	return id.PID < than.PID
}

// Stat is what the kernel says of one process.
type Stat struct {
	ID
	PPID    int
	PGID    int
	SID     int
	State   byte // as in proc_pid_stat(5): R, S, D, Z, T, t, X …
	Threads int
	Kernel  bool // a kernel thread
	Exiting bool // the kernel is ending it (PF_EXITING); its locks may last for some milliseconds more
	Comm    string
	Ticks   uint64 // CPU time, user and system, in clock ticks
	RSS     uint64 // resident set, pages
	loaded  bool   // end_code is set: execve has laid out the program's memory
	envSize uint64 // bytes of the environment; 1 where an old kernel doesn't say
}

// Stopped reports whether the process is in job-control stop (SIGSTOP, SIGTSTP).
func (s Stat) Stopped() bool { return s.State == 'T' }

// Dead reports whether the process only waits to be reaped. A zombie leader whose
// other threads run isn't dead.
func (s Stat) Dead() bool {
	return s.State == 'X' || s.State == 'x' || s.State == 'Z' && s.Threads <= 1
}

// Environment says what a process shows of its environment.
type Environment byte

const (
	None   Environment = iota // empty, unmapped, or freed with the process's memory
	Shown                     // could be read
	Hidden                    // another user's, which may not be read
	InExec                    // not set yet: the process is in the middle of execve
)

// Process is one process of a [Table].
type Process struct {
	Stat
	Environment Environment
	// Env holds the variables whose names begin with the reader's prefix; nil for
	// none.
	Env map[string]string
}

// Table holds the processes that one pass over the process table has seen, without
// the dead.
type Table struct {
	Processes []Process
	index     map[int]int
}

// Get returns the process with that pid.
func (t *Table) Get(pid int) (Process, bool) {
	if t == nil {
		return Process{}, false
	}
	at, ok := t.index[pid]
	if !ok {
		return Process{}, false
	}
	return t.Processes[at], true
}

// Has reports whether id was alive during the pass.
func (t *Table) Has(id ID) bool {
	p, ok := t.Get(id.PID)
	return ok && p.Start == id.Start
}

// Put adds a process that was read after the pass, or replaces it.
func (t *Table) Put(p Process) {
	if at, ok := t.index[p.PID]; ok {
		t.Processes[at] = p
		return
	}
	t.index[p.PID] = len(t.Processes)
	t.Processes = append(t.Processes, p)
}
