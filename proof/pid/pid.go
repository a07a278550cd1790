//go:build linux

// Package pid names, watches and signals processes for the drivers of the proofs. It
// shares no code with lifeline, so that a proof doesn't repeat lifeline's mistakes.
//
//	h, err := pid.Open(id) // pid and start time must both agree
//	h.Signal(unix.SIGKILL)
//	h.Wait()               // returns when the process has ended, reaped or not
package pid

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ID is a pid and its process's start time (clock ticks since boot, field 22 of
// proc_pid_stat(5)). In these proofs pids are reused within minutes.
type ID struct {
	PID   int
	Ticks uint64
}

func (id ID) String() string { return fmt.Sprintf("%d %d", id.PID, id.Ticks) }

// ErrGone means that the process has ended.
var ErrGone = errors.New("the process has ended")

// Stat is the part of /proc/PID/stat that the proofs need.
type Stat struct {
	ID
	PPID int
	// State is the kernel's letter; Z is a zombie.
	State byte
	// ArgStart and EnvEnd are the addresses at which the arguments begin and the
	// environment ends; zero for another process that may not be read.
	ArgStart, EnvEnd uint64
}

// Look reads the stat of pid.
func Look(pid int) (Stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, ErrGone
	}
	at := bytes.LastIndexByte(text, ')') // the command name may contain any byte
	f := strings.Fields(string(text[at+1:]))
	if at < 0 || len(f) < 49 {
		return Stat{}, fmt.Errorf("cannot understand /proc/%d/stat", pid)
	}
	s := Stat{ID: ID{PID: pid}, State: f[0][0]}
	s.PPID, _ = strconv.Atoi(f[1])
	s.Ticks, _ = strconv.ParseUint(f[19], 10, 64)
	s.ArgStart, _ = strconv.ParseUint(f[45], 10, 64)
	s.EnvEnd, _ = strconv.ParseUint(f[48], 10, 64)
	return s, nil
}

// Now returns CLOCK_MONOTONIC in nanoseconds, the same clock for every process of the
// machine. It can't be set (clock_gettime(2)).
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // can't happen with this clock
	}
	return ts.Nano()
}

// Handle stands for one process, also after its pid is reused.
type Handle struct {
	ID
	fd int
}

// Open returns a handle of id. The error is ErrGone when the process has ended.
func Open(id ID) (*Handle, error) {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err == unix.ESRCH || err == unix.EINVAL { // EINVAL: the number is a thread's now
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open a pidfd of %d: %w", id.PID, err)
	}
	// The check comes after the open, because an open pidfd always means one process.
	if s, err := Look(id.PID); err != nil || s.Ticks != id.Ticks {
		unix.Close(fd)
		return nil, ErrGone
	}
	return &Handle{ID: id, fd: fd}, nil
}

// Signal sends sig. It does nothing to a process that has ended.
func (h *Handle) Signal(sig unix.Signal) {
	_ = unix.PidfdSendSignal(h.fd, sig, nil, 0)
}

// Dead reports whether the process has ended.
func (h *Handle) Dead() bool { return h.poll(0) }

// Wait returns when the process has ended.
func (h *Handle) Wait() { h.poll(-1) }

// WaitFor reports whether the process ends within the given milliseconds.
func (h *Handle) WaitFor(ms int) bool { return h.poll(ms) }

func (h *Handle) poll(ms int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, ms)
		if err == unix.EINTR {
			continue // interrupted by a signal of the Go runtime
		}
		return err == nil && n > 0
	}
}

// Close closes the handle; the process goes on.
func (h *Handle) Close() { unix.Close(h.fd) }

// Below lists the processes, except zombies, whose program lies below the directory
// dir: what a run has started.
func Below(dir string) []ID {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	dir = filepath.Clean(dir) + "/"
	var ids []ID
	for _, e := range entries {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		exe, err := os.Readlink("/proc/" + e.Name() + "/exe")
		if err != nil || !strings.HasPrefix(exe, dir) {
			continue
		}
		if s, err := Look(n); err == nil && s.State != 'Z' && s.State != 'X' {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

// KillBelow ends every process that runs a program below dir, so that the
// drivers leave nothing behind after any run.
func KillBelow(dir string) {
	for range 1000 {
		ids := Below(dir)
		if len(ids) == 0 {
			return
		}
		for _, id := range ids {
			if h, err := Open(id); err == nil {
				h.Signal(unix.SIGKILL)
				h.WaitFor(100)
				h.Close()
			}
		}
	}
}
