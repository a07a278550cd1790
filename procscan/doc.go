// Package procscan reads the process table: who is alive, who carries a
// marker in the environment, who holds a lock.
//
//	self := procscan.Self()
//	found, err := procscan.Marked("LIFELINE_NAME", "web")
//	for _, p := range found.Processes {
//		if p.ID != self && p.Env["LIFELINE_PID"] == strconv.Itoa(p.PID) {
//			…
//		}
//	}
//
// A process is named by its pid AND its start time, because pids are reused.
// The start time is kept raw, as the kernel counts it (clock ticks since boot,
// proc_pid_stat(5) field 22): every conversion goes through the wall clock,
// and that one jumps.
//
// On Linux everything comes from /proc. On other systems gopsutil answers
// what it can; environments of other processes can't be read there, so
// [Marked] finds nothing and says so with [ErrBlind].
package procscan

import (
	"errors"
	"fmt"
)

// ErrBlind says that this machine doesn't show what was asked for: no /proc,
// a /proc of another pid namespace, or a system without a way to read it.
// What can't be seen is unknown, never "not there".
var ErrBlind = errors.New("the process table can't be read here")

// ID names one process for as long as the machine is up.
type ID struct {
	PID   int
	Start uint64 // clock ticks since boot, raw
}

func (id ID) String() string { return fmt.Sprintf("%d", id.PID) }

// Zero reports that id names no process.
func (id ID) Zero() bool { return id.PID == 0 }

// Older orders processes by (start, pid). Of two different processes exactly
// one is the older.
func (id ID) Older(than ID) bool {
	if id.Start != than.Start {
		return id.Start < than.Start
	}
	return id.PID < than.PID
}

// Stat is what the kernel tells of one process.
type Stat struct {
	ID
	PPID    int
	PGID    int
	SID     int
	State   byte // as in proc_pid_stat(5): R, S, D, Z, T, t, X …
	Threads int
	Kernel  bool // a kernel thread
	Comm    string
	Ticks   uint64 // CPU time, user and system, in clock ticks
	RSS     uint64 // resident set, pages
	envLen  uint64 // env_end − env_start; 0 when unknown or not set up yet
	loaded  bool   // end_code is set: execve is through with the program's memory
}

// Stopped reports a process in job-control stop (SIGSTOP, SIGTSTP).
func (s Stat) Stopped() bool { return s.State == 'T' }

// Dead reports a process that only waits to be reaped. A zombie leader whose
// other threads run is alive: the program is.
func (s Stat) Dead() bool {
	return s.State == 'X' || s.State == 'x' || s.State == 'Z' && s.Threads <= 1
}

// Process is one finding of [Marked].
type Process struct {
	Stat
	UID int // real uid
	// Env holds the variables whose names begin with the prefix asked for.
	Env map[string]string
}

// Table is the answer of [Marked].
type Table struct {
	Processes []Process
	// InExec are the processes that were in the middle of execve, or of their
	// end, and showed no environment: ask again.
	InExec []ID
	// Hidden counts the processes whose environment may not be read.
	Hidden int
}
