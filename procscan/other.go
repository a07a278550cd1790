//go:build !linux

package procscan

import (
	"context"
	"os"

	"github.com/shirou/gopsutil/v3/process" // the process table where there is no /proc
	"golang.org/x/sys/unix"
)

// Reserve does nothing: no file is opened to read the process table.
func Reserve() {}

// Pids lists the processes that this process may see.
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

// Read returns ErrBlind, because the environment of other processes can't be read
// here. The locks and the record decide alone.
func Read(prefix string) (*Table, error) { return nil, ErrBlind }

// ReadAll returns ErrBlind, as Read does.
func ReadAll(prefix string) (*Table, bool, error) { return nil, true, ErrBlind }

// Look finds nothing here.
func Look(pid int, prefix string) (Process, bool) { return Process{}, false }

// UID returns -1: unknown here.
func (p Process) UID() int { return -1 }

// Environ returns ErrBlind.
func Environ(ID) (map[string]string, error) { return nil, ErrBlind }

// Flock is one lock of flock(2).
type Flock struct {
	PID int
	Ino uint64
}

// Flocks fails, because this system doesn't list its locks.
func Flocks() ([]Flock, bool) { return nil, false }

// Open is an open descriptor of a process.
type Open struct {
	ID
	FD      int
	Path    string
	Deleted bool
}

// OpenFiles fails, because this system doesn't list descriptors.
func OpenFiles(ID, func(string) bool) ([]Open, bool) { return nil, false }

// HoldsInode returns true, because this system doesn't list descriptors.
func HoldsInode(int, uint64) bool { return true }

// ReadAt returns ErrBlind.
func (Open) ReadAt([]byte) (int, error) { return 0, ErrBlind }

// Info returns false, because nothing is known of the descriptor.
func (Open) Info() (locked, closeOnExec bool) { return false, false }

// Access fails, because the owner isn't known here.
func (Open) Access() (uid int, perm uint32, ok bool) { return 0, 0, false }

// CgroupOf returns "", because this system has no cgroups.
func CgroupOf(int) string { return "" }

// CgroupOwner fails, because this system has no cgroups.
func CgroupOwner(string) (uid int, ok bool) { return 0, false }

// CanSeeFlocks says whether this system shows the holder of a lock.
const CanSeeFlocks = false

// Lookup describes one process. Start is the start time in milliseconds of the
// wall clock, because gopsutil knows no other.
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

// Self returns the ID of this process.
func Self() ID {
	s, err := Lookup(os.Getpid())
	if err != nil {
		return ID{PID: os.Getpid()}
	}
	return s.ID
}

// Alive reports whether id's process runs. A process that can't be read counts as
// alive.
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

// BootID returns the name of this boot of the machine: its session id, or its time
// in seconds.
func BootID() string { return bootID() }

// PIDNamespace returns 0, because this system has no pid namespaces.
func PIDNamespace() uint64 { return 0 }

var realProc = context.Background()
