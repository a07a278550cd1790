//go:build !linux

package procscan

import (
	"context"
	"os"

	"github.com/shirou/gopsutil/v3/process" // the process table where there is no /proc
	"golang.org/x/sys/unix"
)

// Pids lists the processes that this one may see.
func Pids() ([]int, error) {
	pids, err := process.Pids()
	if err != nil {
		return nil, err
	}
	out := make([]int, len(pids))
	for i, p := range pids {
		out[i] = int(p)
	}
	return out, nil
}

// LastPID can't be known here.
func LastPID() (pid int, ok bool) { return 0, false }

// Marked can't read the environment of other processes here: always ErrBlind.
// The locks and the record decide alone.
func Marked(name, value string) (Table, error) { return Table{}, ErrBlind }

// Environ can't be read here.
func Environ(ID) (map[string]string, error) { return nil, ErrBlind }

// LockHolders can't be known here.
func LockHolders(path string) []ID { return nil }

// OpenAt can't be known here.
func OpenAt(path string, numbers ...int) []ID { return nil }

// Openers can't be known here.
func Openers(path string) []ID { return nil }

// Lookup tells of one process. Start is the start time in milliseconds of the
// wall clock, as gopsutil has it: the best there is here.
func Lookup(pid int) (Stat, error) {
	p := &process.Process{Pid: int32(pid)}
	created, err := p.CreateTime()
	if err != nil {
		return Stat{}, err
	}
	s := Stat{ID: ID{PID: pid, Start: uint64(created)}, State: 'S', Threads: 1}
	if ppid, err := p.Ppid(); err == nil {
		s.PPID = int(ppid)
	}
	s.PGID, _ = unix.Getpgid(pid)
	if states, err := p.Status(); err == nil && len(states) > 0 {
		switch states[0] {
		case process.Zombie:
			s.State = 'Z'
		case process.Stop:
			s.State = 'T'
		}
	}
	return s, nil
}

// Self is this process.
func Self() ID {
	s, err := Lookup(os.Getpid())
	if err != nil {
		return ID{PID: os.Getpid()}
	}
	return s.ID
}

// Alive reports whether id's process runs. What can't be read counts as alive.
func (id ID) Alive() bool {
	if id.PID <= 0 || unix.Kill(id.PID, 0) == unix.ESRCH {
		return false
	}
	s, err := Lookup(id.PID)
	if err != nil {
		return unix.Kill(id.PID, 0) != unix.ESRCH
	}
	return s.Start == id.Start && !s.Dead()
}

// Children lists the direct children of pid.
func Children(pid int) []Stat {
	pids, err := Pids()
	if err != nil {
		return nil
	}
	var kids []Stat
	for _, p := range pids {
		if s, err := Lookup(p); err == nil && s.PPID == pid && !s.Dead() {
			kids = append(kids, s)
		}
	}
	return kids
}

// BootID is the time of the last boot, in seconds: it names this boot.
func BootID() string { return bootID() }

// PIDNamespace: there are none here.
func PIDNamespace() uint64 { return 0 }

var realProc = context.Background()
