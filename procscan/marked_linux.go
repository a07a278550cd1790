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

// realProc keeps gopsutil away from HOST_PROC: a variable that a monitoring
// agent may have left behind must not blind the guard.
var realProc = context.WithValue(context.Background(), common.EnvKey,
	common.EnvMap{common.HostProcEnvKey: "/proc"})

// ours reports whether /proc is that of this process's pid namespace: what
// /proc/self leads to is decided by the one that /proc was mounted in
// (pid_namespaces(7)). A pid of ours may be there as well and be another
// process.
var ours = sync.OnceValue(func() bool {
	link, err := os.Readlink("/proc/self")
	return err == nil && link == strconv.Itoa(os.Getpid())
})

// Pids lists the processes that this one may see.
func Pids() ([]int, error) {
	if !ours() {
		return nil, fmt.Errorf("%w: there is no /proc, or that of another pid namespace", ErrBlind)
	}
	pids, err := process.PidsWithContext(realProc)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", ErrBlind, err)
	}
	out := make([]int, len(pids))
	for i, p := range pids {
		out[i] = int(p)
	}
	return out, nil
}

// LastPID is the pid that was given out last (proc_loadavg(5)): when it hasn't
// changed, nothing has been forked. ok is false where that isn't known.
func LastPID() (pid int, ok bool) {
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

// Marked finds the processes with name=value in the environment they were
// started with, and gives their variables that share name's prefix up to its
// first underscore. ErrBlind when /proc is missing or isn't ours.
func Marked(name, value string) (Table, error) {
	var t Table
	pids, err := Pids()
	if err != nil {
		return t, err
	}
	prefix, _, _ := strings.Cut(name, "_")
	prefix += "_"
	want := []byte(name + "=" + value + "\x00")
	buf := make([]byte, 64<<10)
	for _, pid := range pids {
		env, err := environ(pid, &buf)
		// A program whose first thread has ended has no environment there that
		// could belong to its user.
		if (errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)) && !own(pid) {
			t.Hidden++
			continue
		}
		if len(env) == 0 {
			s, lookErr := Lookup(pid)
			switch {
			case lookErr != nil || s.Kernel || s.Dead(): // ended in the meantime
			case s.State == 'Z':
				// Its first thread has ended, others have not. When they are on
				// their way out as well, their memory goes first and their
				// descriptors, with all locks, last: it isn't gone yet.
				if env = environOfThreads(pid, &buf); len(env) == 0 {
					t.InExec = append(t.InExec, s.ID)
				}
			case errors.Is(err, unix.EACCES), errors.Is(err, unix.EPERM):
				t.Hidden++
			case err == nil && !(s.loaded && s.envLen == 0):
				// While execve lays out the environment its length is 0, as it
				// is for a process that has none; end_code is set after that
				// (load_elf_binary, fs/binfmt_elf.c).
				t.InExec = append(t.InExec, s.ID)
			}
		}
		if !hasVariable(env, want) {
			continue
		}
		// Whether the environment belongs to the process that stat tells of
		// is settled by the start time: same pid, same start, same process.
		s, err := Lookup(pid)
		if err != nil || s.Dead() {
			continue
		}
		t.Processes = append(t.Processes, Process{Stat: s, UID: realUID(pid), Env: variables(env, prefix)})
	}
	return t, nil
}

// Environ gives the environment id was started with. It is empty, without an
// error, while id is in the middle of execve.
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

// environ reads the environment of pid in ONE read: the kernel holds the
// process's memory for the length of a call, so that one call is a snapshot.
// A file read in pieces (os.ReadFile, and with it gopsutil's Environ) ends
// early when the process calls execve in between, and half an environment
// looks like one without a marker. Nothing at all is what a process shows
// during execve.
func environ(pid int, buf *[]byte) ([]byte, error) {
	var path [32]byte
	p := append(path[:0], "/proc/"...)
	p = strconv.AppendInt(p, int64(pid), 10)
	p = append(p, "/environ"...)
	fd, err := unix.Open(string(p), unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	for {
		n, err := unix.Pread(fd, *buf, 0)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return nil, err
		case n == len(*buf): // there may be more: ask again for the whole
			*buf = make([]byte, 4*len(*buf))
		default:
			return (*buf)[:n], nil
		}
	}
}

// own reports a process of our uid that isn't protected from us.
func own(pid int) bool {
	var st unix.Stat_t
	return unix.Stat("/proc/"+strconv.Itoa(pid), &st) == nil && int(st.Uid) == os.Geteuid()
}

// environOfThreads is for a program whose first thread has ended: it shows its
// environment through the others alone.
func environOfThreads(pid int, buf *[]byte) []byte {
	tasks, err := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
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

// hasVariable reports whether env holds want ("NAME=value\0") as a whole
// variable.
func hasVariable(env, want []byte) bool {
	for at := 0; ; {
		i := bytes.Index(env[at:], want)
		if i < 0 {
			// The last variable may lack its NUL.
			tail := want[:len(want)-1]
			return bytes.HasSuffix(env, tail) && (len(env) == len(tail) || env[len(env)-len(tail)-1] == 0)
		}
		if at+i == 0 || env[at+i-1] == 0 {
			return true
		}
		at += i + 1
	}
}

// variables gives those with the prefix; of one that stands there twice the
// first, as getenv(3) does.
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

// Lookup tells of one process. The error is unix.ESRCH or fs.ErrNotExist when
// there is none, ErrBlind when that can't be known.
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
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var buf [4096]byte // on the stack: what is there is mostly a tenth of it
	for {
		n, err := unix.Read(fd, buf[:])
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return nil, err
		}
		return bytes.Clone(buf[:n]), nil
	}
}

// Self is this process.
var Self = sync.OnceValue(func() ID {
	s, err := Lookup(os.Getpid())
	if err != nil {
		return ID{PID: os.Getpid()}
	}
	return s.ID
})

// Alive reports whether id's process runs. What can't be read counts as
// alive: a name kept for too long is a gap until the next tick, a name given
// away is two instances.
func (id ID) Alive() bool {
	if id.PID <= 0 {
		return false
	}
	if err := unix.Kill(id.PID, 0); err == unix.ESRCH {
		return false
	}
	s, err := Lookup(id.PID)
	if err != nil {
		// No entry although kill finds it: hidepid, or it has just ended.
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ESRCH) {
			return unix.Kill(id.PID, 0) == unix.EPERM
		}
		return true
	}
	return s.Start == id.Start && !s.Dead()
}

// realUID is the owner of pid, from its status: the owner of /proc/PID is
// root for every process that isn't dumpable.
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

// Children lists the direct children of pid, zombies left out.
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

// BootID names this boot of the machine.
var BootID = sync.OnceValue(func() string {
	text, err := readSmall("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
})

// PIDNamespace is the inode of this process's pid namespace: pids of another
// one mean nothing here.
var PIDNamespace = sync.OnceValue(func() uint64 {
	var st unix.Stat_t
	if unix.Stat("/proc/self/ns/pid", &st) != nil {
		return 0
	}
	return st.Ino
})
