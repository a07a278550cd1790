// Package process starts processes, signals them, and ends whole trees of them.
//
//	id, err := process.Start(process.Spec{Argv: []string{"sleep", "60"}, Env: os.Environ(), Umask: -1})
//	if err != nil { … }               // nothing runs
//	for _, e := range process.Reap() { // after SIGCHLD
//		if e.PID == id.PID { … e.Status … }
//	}
//
// The standard library forks and executes the command in one step. A launcher on the
// way does what only the command's own process can do: see package launch.
package process

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ExecError says why the command was never started. Code is a shell's exit code: 127 for
// not found, 126 for found but not executable, 125 for anything else.
type ExecError struct {
	Code int
	Text string
}

func (e *ExecError) Error() string { return e.Text }

// Exit describes how a child ended.
type Exit struct {
	PID    int
	Status unix.WaitStatus
	Usage  unix.Rusage
}

// Code returns the exit code that a shell would give: 128+n for signal n.
func (e Exit) Code() int { return Code(e.Status) }

// Code turns a wait status into a shell's exit code.
func Code(s unix.WaitStatus) int {
	if s.Signaled() {
		return 128 + int(s.Signal())
	}
	return s.ExitStatus()
}

// Describe says how a child ended, for a person.
func Describe(s unix.WaitStatus) string {
	switch {
	case s.Signaled():
		core := ""
		if s.CoreDump() {
			core = ", core dumped"
		}
		return fmt.Sprintf("killed by %s%s", SignalName(s.Signal()), core)
	case s.ExitStatus() == 0:
		return "ended well"
	}
	return fmt.Sprintf("exit code %d", s.ExitStatus())
}

// SignalName returns the name of a signal: SIGTERM for 15.
func SignalName(sig unix.Signal) string {
	if name := unix.SignalName(sig); name != "" {
		return name
	}
	return fmt.Sprintf("signal %d", int(sig))
}

// rtMin and rtMax bound the real-time signals of programs, as in glibc (signal(7)).
const rtMin, rtMax = 34, 64

// realTime reads RTMIN, RTMIN+3, RTMAX or RTMAX-2, as in kill(1). It returns 0 for
// anything else.
func realTime(name string) unix.Signal {
	for base, first := range map[string]int{"RTMIN+": rtMin, "RTMAX-": rtMax} {
		by, ok := strings.CutPrefix(name, base)
		if name == base[:len(base)-1] {
			by, ok = "0", true
		}
		n, err := strconv.ParseUint(by, 10, 8)
		if !ok || err != nil || strconv.FormatUint(n, 10) != by || n > rtMax-rtMin || runtime.GOOS != "linux" {
			continue
		}
		if base == "RTMAX-" {
			return unix.Signal(first - int(n))
		}
		return unix.Signal(first + int(n))
	}
	return 0
}

// ParseSignal reads TERM, SIGTERM, sigterm, 15 or RTMIN+3.
func ParseSignal(s string) (unix.Signal, error) {
	var n int
	if _, err := fmt.Sscanf(s, "%d", &n); err == nil && fmt.Sprint(n) == s && n > 0 && n < 65 {
		return unix.Signal(n), nil
	}
	name := strings.ToUpper(s)
	if !strings.HasPrefix(name, "SIG") {
		name = "SIG" + name
	}
	if sig := unix.SignalNum(name); sig != 0 {
		return sig, nil
	}
	if sig := realTime(strings.TrimPrefix(name, "SIG")); sig != 0 {
		return sig, nil
	}
	return 0, fmt.Errorf("%q is no signal: give a name such as TERM or a number", s)
}

// Signal is the value of a flag that takes a signal by name or number.
type Signal unix.Signal

// Set reads the signal.
func (s *Signal) Set(text string) error {
	sig, err := ParseSignal(text)
	if err == nil {
		*s = Signal(sig)
	}
	return err
}

func (s *Signal) String() string {
	if s == nil || *s == 0 {
		return ""
	}
	if name := unix.SignalName(unix.Signal(*s)); name != "" {
		return strings.TrimPrefix(name, "SIG")
	}
	return strconv.Itoa(int(*s))
}

// Reap collects all children that have ended. In a supervisor only [StartDetached] also
// waits for a child, so no worker's status is lost.
func Reap() []Exit {
	var ended []Exit
	for {
		var e Exit
		pid, err := unix.Wait4(-1, &e.Status, unix.WNOHANG, &e.Usage)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return ended
		}
		e.PID = pid
		ended = append(ended, e)
	}
}

// self returns a path of this program, to start it again. /proc/self/exe leads to the
// file that this process runs, even after an upgrade has replaced the file.
func self() string {
	if _, err := os.Lstat("/proc/self/exe"); err == nil {
		return "/proc/self/exe"
	}
	if path, err := os.Executable(); err == nil {
		return path
	}
	if path := executed(); path != "" {
		return path
	}
	return os.Args[0]
}
