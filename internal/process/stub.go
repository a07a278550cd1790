package process

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/procscan"
)

// Stub is what a stub knows, for the settle function.
type Stub struct {
	Parent procscan.ID // zero for a process that becomes the command itself
	Run    *os.File    // the run file; nil for none
	Note   string
}

// The variables by which a process says what it is: a stub, or the very worker
// that its pid and start time (raw, in ticks) tell from its descendants.
const (
	stubMark  = "LIFELINE_STUB"
	pidMark   = "LIFELINE_PID"
	startMark = "LIFELINE_START"

	nameMark       = "LIFELINE_NAME"
	spaceMark      = "LIFELINE_SPACE"
	idMark         = "LIFELINE_ID"
	supervisorMark = "LIFELINE_SUPERVISOR"
)

var errLate = &ExecError{125, "its time was over before it could be started"}

// RunStub does the stub's work and becomes the command; it returns only the
// exit code of a failure. settle decides whether to go on, and may have
// something to tell the supervisor then.
func RunStub(settle func(Stub) (remark string, err error)) int {
	a, command, ok := parseStubArgs(os.Args)
	if !ok {
		fmt.Fprintln(os.Stderr, "lifeline: this is how lifeline starts itself; it can't be used by hand")
		return 125
	}
	report := func(err error) int { return a.fail(err) }
	if a.status != 0 {
		unix.CloseOnExec(a.status)
	}
	stub := Stub{Parent: a.parent, Note: a.note}
	if a.run != 0 {
		stub.Run = os.NewFile(uintptr(a.run), "run file")
	}
	if a.umask >= 0 {
		unix.Umask(a.umask)
	}
	crash.Point("stub.begun")
	path, err := lookPath(command[0], os.Getenv("PATH"))
	if err != nil {
		return report(err)
	}
	remark, err := settle(stub)
	if err != nil {
		return report(err)
	}
	self := procscan.Self()
	env := workerEnviron(os.Environ(), strconv.Itoa(self.PID), strconv.FormatUint(self.Start, 10))
	if a.listen > 0 {
		env = append(listenEnviron(env, a.listen, a.listenNames), "LISTEN_PID="+strconv.Itoa(self.PID))
	}
	if a.status != 0 {
		// Also when there is nothing to tell: a stub that was killed before it
		// had looked around says nothing either. One write: if execve fails,
		// what is said of that follows.
		_, _ = unix.Write(a.status, []byte("remark "+remark+"\n"))
	}
	if a.until != 0 && bootTime() >= a.until {
		return report(errLate)
	}
	crash.Point("stub.exec")
	err = syscall.Exec(path, command, env)
	// Not before: collecting the os.File would close the descriptor that the
	// command is to inherit.
	runtime.KeepAlive(stub.Run)
	return report(execError(path, err))
}

// workerEnviron turns the stub's environment into the command's: who the
// worker is takes the place of the mark of a stub.
func workerEnviron(env []string, pid, start string) []string {
	out := make([]string, 0, len(env)+6)
	for _, kv := range env {
		if strings.HasPrefix(kv, stubMark+"=") {
			out = append(out, pidMark+"="+pid, startMark+"="+start)
			continue
		}
		out = append(out, kv)
	}
	return out
}

// listenEnviron adds what sd_listen_fds(3) reads, but for LISTEN_PID.
func listenEnviron(env []string, n int, names []string) []string {
	env = append(env, "LISTEN_FDS="+strconv.Itoa(n))
	if len(names) > 0 {
		env = append(env, "LISTEN_FDNAMES="+strings.Join(names, ":"))
	}
	return env
}

// fail reports err through the pipe, or to standard error where there is no
// supervisor to read it.
func (a stubArgs) fail(err error) int {
	code := 125
	var exec *ExecError
	if errors.As(err, &exec) {
		code = exec.Code
	}
	if a.status == 0 {
		return a.failAlone(err, code)
	}
	text := fmt.Sprintf("error %d %s", code, err)
	if strings.HasPrefix(err.Error(), "yield ") {
		text = err.Error()
	}
	_, _ = unix.Write(a.status, []byte(text))
	return code
}

// lookPath finds the command as execvp(3) would, and tells "not found" from
// "found, but not executable": exec.LookPath says the first for both.
func lookPath(name, path string) (string, error) {
	if name == "" {
		return "", &ExecError{127, "the command is empty"}
	}
	if strings.Contains(name, "/") {
		return name, executable(name)
	}
	var denied error
	if path == "" {
		path = "/usr/bin:/bin"
	}
	for dir := range strings.SplitSeq(path, ":") {
		if dir == "" {
			dir = "."
		}
		full := dir + "/" + name
		err := executable(full)
		if err == nil {
			return full, nil
		}
		var exec *ExecError
		if errors.As(err, &exec) && exec.Code == 126 && denied == nil {
			denied = err
		}
	}
	if denied != nil {
		return "", denied
	}
	return "", &ExecError{127, fmt.Sprintf("%s: command not found on PATH=%s", name, path)}
}

func executable(path string) error {
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		return execError(path, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return &ExecError{126, path + " is a directory"}
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return execError(path, err)
	}
	return nil
}

func execError(path string, err error) error {
	switch {
	case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		var st unix.Stat_t
		if unix.Stat(path, &st) == nil {
			return &ExecError{126, fmt.Sprintf("cannot execute %s: its interpreter (first line) doesn't exist", path)}
		}
		return &ExecError{127, path + ": no such command"}
	case errors.Is(err, unix.EACCES):
		return &ExecError{126, fmt.Sprintf("cannot execute %s: permission denied; chmod +x it?", path)}
	case errors.Is(err, unix.ENOEXEC):
		return &ExecError{126, fmt.Sprintf("cannot execute %s: not a program, and no #! in its first line", path)}
	case errors.Is(err, unix.E2BIG):
		return &ExecError{126, fmt.Sprintf("cannot execute %s: the command line and the environment are too long together", path)}
	}
	return &ExecError{126, fmt.Sprintf("cannot execute %s: %v", path, err)}
}
