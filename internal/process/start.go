package process

import (
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/procscan"
)

// Spec is what to start, and how.
type Spec struct {
	Argv  []string
	Env   []string // the stub's; the command's is made of it
	Dir   string   // "" means this process's own
	Umask int      // -1 means this process's own
	Stdio [3]int   // descriptors for 0, 1, 2; zero value means this process's own

	Listen      []int    // sockets handed over as LISTEN_FDS, from descriptor 3
	ListenNames []string // one for each

	Run     int // the run file's descriptor, 0 for none
	Control int // the socket that becomes LIFELINE_FD, 0 for none

	// Deathsig is sent to the child when the THREAD that forked ends: the caller
	// holds it with runtime.LockOSThread for as long as it lives. Linux and
	// FreeBSD only.
	Deathsig unix.Signal
	Group    bool // a process group of its own
	CgroupFD int  // the cgroup to start in, 0 for this process's own (Linux)

	// Note is the settle function's, handed to the stub.
	Note string
	// Until is a time on CLOCK_BOOTTIME, in nanoseconds, after which the child
	// doesn't become the command any more; 0 for none.
	Until int64
	// Sure: there is nothing to settle, and where the system allows it the
	// command is started without a stub.
	Sure bool
	// Place is a file that has to be in its place for Sure to be true. The
	// child looks again when everybody can see it: whoever has made another one
	// by then has looked before.
	Place Place
	// Draft is what a child without a stub writes down before it becomes the
	// command. With a Place there is no such child without it.
	Draft Draft
	// Thread runs what forks, on the thread that Deathsig hangs on, and waits for
	// it; nil: on the caller's.
	Thread func(fork func())
}

// Draft is a text for the beginning of a file, with room for what only the
// child can know.
type Draft struct {
	FD         int
	Text       []byte // nil for none
	PID, Start []byte // parts of Text: digits, to be filled with leading zeros
	Sum        []byte // another one: for the CRC-32 of Summed, in hexadecimal
	Summed     []byte
}

// Place is a path and the file that it has to name; the zero value none.
type Place struct {
	Path     string
	Dev, Ino uint64
}

// Child is a started process.
type Child struct {
	procscan.ID
	// Started gives one value: nil when the command runs, else why it never
	// did (*ExecError, *YieldError).
	Started <-chan error
}

const (
	stubName   = "lifeline-stub"
	stubFormat = "%d:%d %d %d %d %d %d %d %d"
)

// layout is which descriptors a child gets, and where.
type layout struct {
	files                []int // at each number; -1 for none
	base                 int   // from here on they are lifeline's, not the command's
	run, status, control int   // numbers in the child; 0 for none
	env                  []string
}

// place lays out the descriptors. What the command shouldn't stumble upon goes
// to the high ones, below the limit, where a shell's exec 3> doesn't reach.
func place(spec Spec, report int) layout {
	l := layout{files: []int{0, 1, 2}, env: spec.Env}
	if spec.Stdio != [3]int{} {
		l.files = slices.Clone(spec.Stdio[:])
	}
	l.files = append(l.files, spec.Listen...)
	var lim unix.Rlimit
	l.base = len(l.files)
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &lim) == nil {
		// Go's fork needs a few above those for a moment, or it fails (forkExec,
		// syscall/exec_linux.go): its own pipe, and one for each that it moves.
		l.base = max(l.base, min(int(min(lim.Cur, 1024))-6-len(spec.Listen), 256)-5)
	}
	for len(l.files) < l.base {
		l.files = append(l.files, -1)
	}
	next := func(fd int) int {
		if fd == 0 {
			return 0
		}
		l.files = append(l.files, fd)
		return len(l.files) - 1
	}
	l.run = next(spec.Run)  // first: the guard looks for it by number
	l.status = next(report) // a hole for -1, so that what follows has the same number
	l.control = next(spec.Control)
	if l.control != 0 {
		l.env = append(l.env[:len(l.env):len(l.env)], "LIFELINE_FD="+strconv.Itoa(l.control))
	}
	return l
}

func (s *Spec) on(fork func()) {
	if s.Thread == nil {
		fork()
		return
	}
	s.Thread(fork)
}

// Start forks. An error means that nothing was started.
func Start(spec Spec) (*Child, error) {
	if c, ok, err := direct(spec, place(spec, -1)); ok {
		return c, err
	}
	return viaStub(spec)
}

// viaStub starts this program again, as the stub.
func viaStub(spec Spec) (*Child, error) {
	status, report, err := pipe()
	if err != nil {
		return nil, fmt.Errorf("cannot make a pipe: %w", err)
	}
	l := place(spec, report)
	args := stubArgs{parent: procscan.Self(), umask: spec.Umask, listen: len(spec.Listen), listenNames: spec.ListenNames,
		note: spec.Note, until: spec.Until, run: l.run, status: l.status, control: l.control}
	files := make([]uintptr, len(l.files))
	for i, fd := range l.files {
		files[i] = uintptr(fd)
	}
	attr := &syscall.ProcAttr{Dir: spec.Dir, Env: l.env, Files: files, Sys: sysProcAttr(spec)}
	var pid int
	spec.on(func() { pid, err = syscall.ForkExec(self(), append(args.argv(), spec.Argv...), attr) })
	unix.Close(report)
	if err != nil {
		unix.Close(status)
		return nil, startError(spec, err)
	}
	crash.Point("start.forked")
	s, err := procscan.Lookup(pid)
	if err != nil {
		s.ID = procscan.ID{PID: pid}
	}
	started := make(chan error, 1)
	// Through the runtime's poller: a start costs no thread.
	pipe := os.NewFile(uintptr(status), "status")
	go func() {
		text, _ := io.ReadAll(io.LimitReader(pipe, 4096))
		pipe.Close()
		started <- parseReport(string(text))
	}()
	return &Child{ID: s.ID, Started: started}, nil
}

func pipe() (r, w int, err error) {
	var p [2]int
	syscall.ForkLock.RLock() // or somebody else's child inherits it
	defer syscall.ForkLock.RUnlock()
	if err := unix.Pipe(p[:]); err != nil {
		return 0, 0, err
	}
	for _, fd := range p {
		unix.CloseOnExec(fd)
	}
	return p[0], p[1], unix.SetNonblock(p[0], true)
}

func startError(spec Spec, err error) error {
	switch {
	case spec.Dir != "" && (errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EACCES)):
		var st unix.Stat_t
		if statErr := unix.Stat(spec.Dir, &st); statErr != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR || errors.Is(err, unix.EACCES) {
			return fmt.Errorf("cannot change to the directory %s: %w", spec.Dir, err)
		}
	case errors.Is(err, unix.E2BIG):
		return fmt.Errorf("the command line and the environment are too long together: %w; put the command into a script", err)
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.ENOMEM):
		return fmt.Errorf("cannot start a process: %w; the limit on processes or memory is reached", err)
	}
	return fmt.Errorf("cannot start a process: %w", err)
}

func parseReport(text string) error {
	first, more, whole := strings.Cut(text, "\n")
	if whole && strings.HasPrefix(first, "remark ") {
		if more != "" { // execve failed after it
			return parseReport(more)
		}
		text = first
	}
	kind, rest, _ := strings.Cut(text, " ")
	switch kind {
	case "":
		return ErrSilent
	case "yield":
		return &YieldError{Text: text}
	case "remark":
		if !whole {
			return ErrSilent
		}
		if rest == "" {
			return nil
		}
		return &Remark{Text: rest}
	}
	code, message, ok := strings.Cut(rest, " ")
	n, err := strconv.Atoi(code)
	if kind != "error" || !ok || err != nil || n < 1 || n > 255 {
		return &ExecError{Code: 125, Text: "the starting process said: " + text}
	}
	return &ExecError{Code: n, Text: message}
}

// stubArgs are the stub's own arguments, before "--" and the command.
type stubArgs struct {
	parent               procscan.ID
	status, control, run int
	umask                int // -1: leave it
	listen               int
	until                int64 // see [Spec.Until]
	yieldCode            int   // with [Become]: what to exit with after stepping back
	listenNames          []string
	note                 string
}

func (a stubArgs) argv() []string {
	return []string{stubName,
		fmt.Sprintf(stubFormat, a.parent.PID, a.parent.Start, a.status, a.control, a.run, a.umask, a.listen, a.yieldCode, a.until),
		strings.Join(a.listenNames, ":"), a.note, "--"}
}

func parseStubArgs(argv []string) (a stubArgs, command []string, ok bool) {
	if len(argv) < 6 || argv[0] != stubName || argv[4] != "--" {
		return a, nil, false
	}
	n, err := fmt.Sscanf(argv[1], stubFormat, &a.parent.PID, &a.parent.Start, &a.status, &a.control, &a.run, &a.umask, &a.listen, &a.yieldCode, &a.until)
	if err != nil || n != 9 {
		return a, nil, false
	}
	if argv[2] != "" {
		a.listenNames = strings.Split(argv[2], ":")
	}
	a.note = argv[3]
	return a, argv[5:], true
}

// IsStub reports that this process was started by [Start] or [Become].
func IsStub() bool { return len(os.Args) > 0 && os.Args[0] == stubName }

func init() {
	if IsStub() {
		// The death signal belongs to the thread that asked for it, and only
		// the main thread keeps it through execve.
		runtime.LockOSThread()
	}
}
