//go:build linux

// Package pid names, watches and signals processes for the drivers of the
// proofs. It shares no code with lifeline on purpose, so that the judge and the
// judged make different mistakes.
//
//	h, err := pid.Open(id) // pid and start time must both agree
//	h.Signal(unix.SIGKILL)
//	h.Wait()               // returns when it has ended, reaped or not
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

// ID is a pid and the start time that goes with it (clock ticks since boot,
// field 22 of proc_pid_stat(5)). Pids come round again within minutes here.
type ID struct {
	PID   int
	Ticks uint64
}

func (id ID) String() string { return fmt.Sprintf("%d %d", id.PID, id.Ticks) }

// ErrGone says that the process has ended.
var ErrGone = errors.New("the process has ended")

// Stat is the little that the proofs need of /proc/PID/stat.
type Stat struct {
	ID
	PPID int
	// State is the kernel's letter; Z is a zombie.
	State byte
	// EnvStart and the others are where the arguments and the environment lie
	// in the process's own memory; zero in another's, where it may not look.
	ArgStart, EnvEnd uint64
}

// Look reads the stat of pid.
func Look(pid int) (Stat, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return Stat{}, ErrGone
	}
	at := bytes.LastIndexByte(text, ')') // the name in front may hold anything
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

// Now is CLOCK_MONOTONIC in nanoseconds: one clock for every process of the
// machine, which can't be set.
func Now() int64 {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		panic(err) // it can't fail with this clock
	}
	return ts.Nano()
}

// Handle is a process that stays the same one for as long as the handle is
// open.
type Handle struct {
	ID
	fd int
}

// Open gives the handle of id; ErrGone when it has ended, or its pid belongs
// to another by now.
func Open(id ID) (*Handle, error) {
	fd, err := unix.PidfdOpen(id.PID, 0)
	if err == unix.ESRCH || err == unix.EINVAL { // EINVAL: it is a thread's number now
		return nil, ErrGone
	}
	if err != nil {
		return nil, fmt.Errorf("cannot open a pidfd of %d: %w", id.PID, err)
	}
	// Checked after the open: what the descriptor means can't change any more.
	if s, err := Look(id.PID); err != nil || s.Ticks != id.Ticks {
		unix.Close(fd)
		return nil, ErrGone
	}
	return &Handle{ID: id, fd: fd}, nil
}

// Signal sends sig; a process that has ended is no error.
func (h *Handle) Signal(sig unix.Signal) {
	_ = unix.PidfdSendSignal(h.fd, sig, nil, 0)
}

// Dead reports that it has ended by now.
func (h *Handle) Dead() bool { return h.poll(0) }

// Wait returns when it has ended.
func (h *Handle) Wait() { h.poll(-1) }

// WaitFor reports whether it has ended within the given milliseconds.
func (h *Handle) WaitFor(ms int) bool { return h.poll(ms) }

func (h *Handle) poll(ms int) bool {
	for {
		fds := []unix.PollFd{{Fd: int32(h.fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, ms)
		if err == unix.EINTR {
			continue // a signal of the runtime's own isn't a death
		}
		return err == nil && n > 0
	}
}

// Close ends the watch, not the process.
func (h *Handle) Close() { unix.Close(h.fd) }

// Below lists the processes whose program lies in the directory dir: what a
// run has started, however it hides. Zombies are left out.
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
