package process

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/internal/process/launch"
	"lifeline/procscan"
)

// Spec says what to start, and how.
type Spec struct {
	Argv  []string
	Env   []string
	Dir   string // "" means this process's own
	Umask int    // -1 means this process's own
	Stdio [3]int // descriptors for 0, 1, 2; zero value means this process's own

	Listen      []int    // sockets handed over as LISTEN_FDS, from descriptor 3
	ListenNames []string // their names, in the same order

	Run     int // the run file's descriptor, 0 for none
	Control int // the socket that becomes LIFELINE_FD, 0 for none
	Refusal int // the pipe that gets a byte if Until had passed before the command, 0 for none

	// Deathsig is sent to the child when the THREAD that forked ends; 0 for none.
	// Only Linux sends it.
	Deathsig unix.Signal
	Group    bool // a process group of its own
	CgroupFD int  // the cgroup to start in, 0 for this process's own (Linux)

	Conditions // user, limits and priorities that differ from this process's own

	// Until is the time on CLOCK_BOOTTIME, in nanoseconds, after which the command is no
	// longer started; 0 for none.
	Until int64
	// Thread runs fork on the main thread and waits for its return. Until execve the
	// child has that thread's name, and the thread's end sends Deathsig. nil means the
	// caller's thread.
	Thread func(fork func())
}

// Start forks and executes the command. An error means that nothing runs; an
// *[ExecError] means that the command is the cause.
func Start(spec Spec) (procscan.ID, error) {
	path, argv, env, err := spec.resolve()
	if err != nil {
		return procscan.ID{}, err
	}
	files, env := spec.descriptors(env)
	attr := &syscall.ProcAttr{Dir: spec.Dir, Env: env, Files: files, Sys: sysProcAttr(spec)}
	var pid int
	fork := func() {
		if spec.Umask >= 0 {
			defer unix.Umask(unix.Umask(spec.Umask))
		}
		crash.Point("fork.before")
		pid, err = syscall.ForkExec(path, argv, attr)
		crash.Point("fork.after")
	}
	if spec.Thread != nil {
		spec.Thread(fork)
	} else {
		fork()
	}
	if err != nil {
		return procscan.ID{}, startError(within(spec.Dir)(path), err)
	}
	s, err := procscan.Lookup(pid)
	if err != nil {
		return procscan.ID{PID: pid}, nil
	}
	return s.ID, nil
}

// resolve finds the file to execute. This is the launcher where the command's process
// has something to do for itself first.
func (s Spec) resolve() (path string, argv, env []string, err error) {
	if s.Dir != "" {
		if st, err := os.Stat(s.Dir); err != nil || !st.IsDir() {
			return "", nil, nil, fmt.Errorf("cannot change to the directory %s: %w; make it, or correct --chdir", s.Dir,
				dirError(err))
		}
	}
	path, err = locate(s.Argv[0], variable(s.Env, "PATH"), s.Dir)
	if err != nil {
		return "", nil, nil, err
	}
	env = s.Env
	if len(s.Listen) > 0 {
		env = append(slices.Clip(env), "LISTEN_FDS="+strconv.Itoa(len(s.Listen)))
		if len(s.ListenNames) > 0 {
			env = append(env, "LISTEN_FDNAMES="+strings.Join(s.ListenNames, ":"))
		}
	}
	if len(s.Listen) > 0 || s.Until != 0 || s.Conditions.Any() {
		// Check now, because the launcher could report a refusal only as an exit.
		in := within(s.Dir)
		if err := loadable(path, searchPath(variable(s.Env, "PATH"), in), in); err != nil {
			return "", nil, nil, err
		}
		plan := launch.Plan{Path: s.typed(path), Listen: len(s.Listen) > 0, Until: s.Until, Conditions: s.Conditions}
		env = append(slices.Clip(env), launch.Env+"="+plan.String())
		return self(), s.Argv, env, nil
	}
	return s.typed(path), s.Argv, env, nil
}

// typed returns a path with a slash as it was typed, because a script finds it in $0.
func (s Spec) typed(path string) string {
	if strings.Contains(s.Argv[0], "/") {
		return s.Argv[0]
	}
	return path
}

func dirError(err error) error {
	var path *os.PathError
	switch {
	case err == nil:
		return unix.ENOTDIR
	case errors.As(err, &path):
		return path.Err
	}
	return err
}

// variable returns the value of a variable; where there are several, the last.
func variable(env []string, name string) string {
	for _, kv := range slices.Backward(env) {
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

// descriptors lays out the child's descriptors. The run file and LIFELINE_FD get high
// numbers below the limit, out of reach of a shell's exec 3>.
func (s Spec) descriptors(env []string) (files []uintptr, withFD []string) {
	fds := []int{0, 1, 2}
	if s.Stdio != [3]int{} {
		fds = slices.Clone(s.Stdio[:])
	}
	fds = append(fds, s.Listen...)
	base := len(fds)
	var lim unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil {
		// Go's fork fails without a few free descriptors above these: its own pipe, and
		// a number for each descriptor that it moves (forkExec, syscall/exec_linux.go).
		base = max(base, min(int(min(lim.Cur, 1024))-6-len(s.Listen), 256)-5)
	}
	for len(fds) < base && (s.Run != 0 || s.Control != 0) {
		fds = append(fds, -1)
	}
	if s.Run != 0 {
		fds = append(fds, s.Run)
	}
	if s.Control != 0 {
		env = append(slices.Clip(env), "LIFELINE_FD="+strconv.Itoa(len(fds)))
		fds = append(fds, s.Control)
	}
	if s.Refusal != 0 {
		env = append(slices.Clip(env), launch.EnvRefusal+"="+strconv.Itoa(len(fds)))
		fds = append(fds, s.Refusal)
	}
	for _, fd := range fds {
		files = append(files, uintptr(fd))
	}
	return files, env
}

// IsShort reports whether err comes from a lack of processes, memory or open files on
// this side, and so tells nothing of a command or a server.
func IsShort(err error) bool {
	return errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.ENOMEM) || errors.Is(err, unix.EMFILE) ||
		errors.Is(err, unix.ENFILE)
}

// startError returns the reason why fork or exec failed. A lack of processes, memory or
// files is this machine's; other reasons are the command's.
func startError(path string, err error) error {
	if IsShort(err) {
		return fmt.Errorf("cannot start a process: %w; the limit on processes, memory or open files is reached "+
			"(ulimit -a)", err)
	}
	return execError(path, err)
}

// Become turns this process into the command, without a supervisor. It returns only
// when the change fails.
func Become(spec Spec) error {
	path, argv, env, err := spec.resolve()
	if err != nil {
		return err
	}
	if spec.Run != 0 {
		// The duplicate is above the numbers that shell scripts use, and survives execve.
		fd, err := unix.FcntlInt(uintptr(spec.Run), unix.F_DUPFD, 200)
		if err != nil {
			fd, err = unix.FcntlInt(uintptr(spec.Run), unix.F_DUPFD, 10)
		}
		if err != nil {
			return fmt.Errorf("cannot pass on the run file: %w", err)
		}
		defer unix.Close(fd)
	}
	if spec.Dir != "" {
		if err := os.Chdir(spec.Dir); err != nil {
			return fmt.Errorf("cannot change to the directory %s: %w", spec.Dir, dirError(err))
		}
	}
	for to, from := range spec.Stdio {
		if from == to || spec.Stdio == [3]int{} {
			continue
		}
		if err := dup(from, to); err != nil {
			return fmt.Errorf("cannot lead the command's output elsewhere: %w", err)
		}
	}
	if spec.Umask >= 0 {
		unix.Umask(spec.Umask)
	}
	crash.Point("become.exec")
	return execError(path, syscall.Exec(path, argv, env))
}
