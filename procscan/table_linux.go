package procscan

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"

	"github.com/shirou/gopsutil/v3/common"  // pins gopsutil to the real /proc
	"github.com/shirou/gopsutil/v3/process" // the list of pids, and the details that people see
	"golang.org/x/sys/unix"
)

// realProc keeps gopsutil away from HOST_PROC, a variable that a monitoring agent
// may have set.
var realProc = context.WithValue(context.Background(), common.EnvKey,
	common.EnvMap{common.HostProcEnvKey: "/proc"})

// ours reports whether /proc is that of this process's pid namespace. /proc/self
// leads to this process's pid in the namespace that mounted /proc
// (pid_namespaces(7)). In another namespace's /proc the own pid may belong to
// another process.
var ours = sync.OnceValue(func() bool {
	link, err := os.Readlink("/proc/self")
	return err == nil && link == strconv.Itoa(os.Getpid())
})

// Pids lists the processes that this process may see.
func Pids() ([]int, error) {
	if !ours() {
		return nil, fmt.Errorf("%w: there is no /proc, or that of another pid namespace", ErrBlind)
	}
	var pids []int32
	err := reading(func() (err error) {
		pids, err = process.PidsWithContext(realProc)
		return err
	})
	switch {
	case isShort(err):
		return nil, &shortError{err}
	case err != nil:
		return nil, fmt.Errorf("%w: %v", ErrBlind, err)
	}
	out := make([]int, len(pids))
	for i, p := range pids {
		out[i] = int(p)
	}
	return out, nil
}

// lastPID returns the pid that the kernel gave out last, to a thread or a process
// (proc_loadavg(5)). While the pid stays the same, no process has been forked. ok
// is false where the pid is unknown.
func lastPID() (pid int, ok bool) {
	text, err := readSmall("/proc/loadavg")
	if err != nil || !ours() {
		return 0, false
	}
	fields := strings.Fields(string(text))
	if len(fields) != 5 {
		return 0, false
	}
	pid, err = strconv.Atoi(fields[4])
	return pid, err == nil
}

// Read passes once over the process table. It reads the stat of every process, and
// the variables that begin with prefix where the environment may be read. The
// error is ErrBlind when /proc is missing or belongs to another pid namespace. Any
// other error says that this process has no descriptor left to read with.
func Read(prefix string) (*Table, error) {
	pids, err := Pids()
	if err != nil {
		return nil, err
	}
	t := &Table{Processes: make([]Process, 0, len(pids)), index: make(map[int]int, len(pids))}
	r := newReader(prefix)
	for _, pid := range pids {
		t.add(r, pid)
	}
	return t, r.err
}

// newbornRounds is how often [ReadAll] looks for processes that were born during
// its pass.
const newbornRounds = 1

// ReadAll reads as Read does, and also the processes that were born during the pass.
// The caller must see every process that existed at the call, and their children. sure
// is false where new processes kept coming.
func ReadAll(prefix string) (t *Table, sure bool, err error) {
	last, known := lastPID()
	if t, err = Read(prefix); err != nil {
		return nil, false, err
	}
	r := newReader(prefix)
	for range newbornRounds {
		now, _ := lastPID()
		if known && now == last {
			return t, true, nil
		}
		last = now
		pids, err := Pids()
		if err != nil {
			return nil, false, err
		}
		born := false
		for _, pid := range pids {
			if _, seen := t.index[pid]; !seen {
				t.add(r, pid)
				born = true
			}
		}
		if r.err != nil {
			return nil, false, r.err
		}
		if !born {
			return t, true, nil
		}
	}
	return t, false, nil
}

// Look reads one process as Read does.
func Look(pid int, prefix string) (p Process, ok bool) {
	if !ours() {
		return Process{}, false
	}
	return newReader(prefix).process(pid)
}

func (t *Table) add(r *reader, pid int) {
	p, ok := r.process(pid)
	if !ok {
		return
	}
	if at, twice := t.index[pid]; twice {
		t.Processes[at] = p
		return
	}
	t.index[pid] = len(t.Processes)
	t.Processes = append(t.Processes, p)
}

// reader keeps the buffers of a pass.
type reader struct {
	prefix string
	first  []byte // prefix behind a NUL: where a variable begins
	env    []byte
	stat   []byte
	err    error // the reader had no descriptor left, so processes may be missing
}

func newReader(prefix string) *reader {
	return &reader{
		prefix: prefix,
		first:  append([]byte{0}, prefix...),
		env:    make([]byte, 64<<10),
		stat:   make([]byte, 4096),
	}
}

// process reads one process, the stat first. A process that withdraws its
// announcement after its marker shows is then seen with at least one of the two.
func (r *reader) process(pid int) (p Process, ok bool) {
	n, err := readInto(procPath(pid, "stat"), r.stat)
	if err != nil {
		r.note(err)
		return p, false
	}
	if p.Stat, err = ParseStat(r.stat[:n]); err != nil || p.Dead() {
		return p, false
	}
	if p.Kernel {
		return p, true
	}
	for range patience {
		env, err := environ(pid, &r.env)
		if len(env) == 0 && p.State == 'Z' {
			// The first thread has ended. Threads that still run show the environment.
			// An ending thread frees its memory first, and its descriptors with all
			// locks last (do_exit, kernel/exit.c).
			env = environOfThreads(pid, &r.env)
		}
		r.note(err)
		switch {
		case len(env) > 0:
			p.Environment, p.Env = Shown, r.variables(env)
			return p, true
		case r.err != nil:
			return p, false
		case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
			p.Environment = Hidden
			return p, true
		case p.State == 'Z':
			return p, true
		}
		// While execve lays out the environment its length is 0, and end_code isn't
		// set yet (load_elf_binary, fs/binfmt_elf.c). The execve may have begun
		// between the two reads, or be over by now.
		again, err := Lookup(pid)
		if err != nil || again.ID != p.ID || again.Dead() {
			return p, false
		}
		if !p.loaded && !again.loaded {
			p.Environment = InExec
			return p, true
		}
		p.Stat = again
		if p.loaded && p.envSize == 0 { // started without an environment
			return p, true
		}
	}
	return p, true // the environment isn't mapped any more
}

// note keeps err if it says that no descriptor was left. A process that can't be read
// for that reason is unknown, not absent.
func (r *reader) note(err error) {
	if isShort(err) {
		r.err = &shortError{err}
	}
}

// patience is how often process reads an environment that has a length and shows
// nothing. A process that calls execve in a loop is in the middle of execve in up
// to half of the reads.
const patience = 100

// variables returns the variables with the reader's prefix; nil for none.
func (r *reader) variables(env []byte) map[string]string {
	if !bytes.Contains(env, r.first) && !bytes.HasPrefix(env, r.first[1:]) {
		return nil
	}
	return variables(env, r.prefix)
}

func procPath(pid int, file string) string { return "/proc/" + strconv.Itoa(pid) + "/" + file }

// UID returns the real uid of the process, -1 where it is unknown.
func (p Process) UID() int { return realUID(p.PID) }

// Environ returns the environment that id was started with. The environment is
// empty, without an error, while id is in the middle of execve.
func Environ(id ID) (map[string]string, error) {
	buf := make([]byte, 64<<10)
	env, err := environ(id.PID, &buf)
	if err != nil {
		return nil, err
	}
	vars := variables(env, "")
	if s, err := Lookup(id.PID); err != nil || s.ID != id {
		return nil, ErrBlind
	}
	return vars, nil
}

// environ reads the environment of pid in ONE read. The kernel holds the
// process's memory for the length of a call, so one call is a snapshot. A file
// read in pieces (os.ReadFile, and with it gopsutil's Environ) ends early when
// the process calls execve in between. Half an environment may lack the marker.
// During execve a process shows an empty environment.
func environ(pid int, buf *[]byte) (env []byte, err error) {
	err = open(procPath(pid, "environ"), func(fd int) error {
		for {
			n, err := unix.Pread(fd, *buf, 0)
			switch {
			case err == unix.EINTR:
			case err != nil:
				return err
			case n == len(*buf): // there may be more: read the whole again
				*buf = make([]byte, 4*len(*buf))
			default:
				env = (*buf)[:n]
				return nil
			}
		}
	})
	return env, err
}

// environOfThreads reads the environment of a program whose first thread has
// ended. Only its other threads still show the environment.
func environOfThreads(pid int, buf *[]byte) []byte {
	tasks, err := readDir("/proc/" + strconv.Itoa(pid) + "/task")
	if err != nil {
		return nil
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(task.Name())
		if err != nil || tid == pid {
			continue
		}
		if env, err := environ(tid, buf); err == nil && len(env) > 0 {
			return env
		}
	}
	return nil
}

// variables returns the variables with the prefix. The first of two equal names
// counts, as for getenv(3).
func variables(env []byte, prefix string) map[string]string {
	vars := map[string]string{}
	for _, kv := range strings.Split(string(env), "\x00") {
		if k, v, ok := strings.Cut(kv, "="); ok && strings.HasPrefix(k, prefix) {
			if _, twice := vars[k]; !twice {
				vars[k] = v
			}
		}
	}
	return vars
}

// Lookup describes one process. The error is unix.ESRCH or fs.ErrNotExist when
// there is no such process, ErrBlind when the process table is hidden.
func Lookup(pid int) (Stat, error) {
	if !ours() {
		return Stat{}, ErrBlind
	}
	text, err := readSmall("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, err
	}
	return ParseStat(text)
}

// readSmall reads a file of /proc in one call.
func readSmall(path string) ([]byte, error) {
	var buf [4096]byte // on the stack; most files have a tenth of that
	n, err := readInto(path, buf[:])
	if err != nil {
		return nil, err
	}
	return bytes.Clone(buf[:n]), nil
}

func readInto(path string, buf []byte) (n int, err error) {
	err = open(path, func(fd int) (err error) {
		for {
			if n, err = unix.Read(fd, buf); err != unix.EINTR {
				return err
			}
		}
	})
	return n, err
}

// Self returns the ID of this process.
var Self = sync.OnceValue(func() ID {
	s, err := Lookup(os.Getpid())
	if err != nil {
		return ID{PID: os.Getpid()}
	}
	return s.ID
})

// Alive reports whether id's process runs. A process that can't be read counts as
// alive, because a gap until the next tick is better than two instances.
func (id ID) Alive() bool {
	if id.PID <= 0 {
		return false
	}
	if err := unix.Kill(id.PID, 0); err == unix.ESRCH {
		return false
	}
	s, err := Lookup(id.PID)
	if err != nil {
		// kill found a process without an entry: hidepid hides it, or it has just ended.
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
			return unix.Kill(id.PID, 0) == unix.EPERM
		}
		return true
	}
	return s.Start == id.Start && !s.Dead()
}

// realUID returns the owner of pid from its status. The owner of /proc/PID would be
// root for a process that isn't dumpable (proc(5)).
func realUID(pid int) int {
	text, err := readSmall("/proc/" + strconv.Itoa(pid) + "/status")
	if err != nil {
		return -1
	}
	_, rest, ok := strings.Cut(string(text), "\nUid:\t")
	if !ok {
		return -1
	}
	uid, _, _ := strings.Cut(rest, "\t")
	n, err := strconv.Atoi(uid)
	if err != nil {
		return -1
	}
	return n
}

// BootID returns the name of this boot of the machine.
var BootID = sync.OnceValue(func() string {
	text, err := readSmall("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
})

// PIDNamespace returns the inode of this process's pid namespace. Pids of another
// pid namespace mean nothing here.
var PIDNamespace = sync.OnceValue(func() uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/pid", &st) != nil {
		return 0
	}
	return st.Ino
})
