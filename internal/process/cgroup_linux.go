package process

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// Cgroup is a control group of its own for a tree (cgroups(7), version 2).
// Nothing leaves it by forking or by a session of its own, and one write kills
// everything in it. Where it can't be made, Tree's other ways remain.
type Cgroup struct {
	path   string
	fd     int
	killed atomic.Bool
}

// NewCgroup makes one below this process's own, with a name that begins with
// prefix. The error says why there is none to be had: no version 2, no
// permission.
func NewCgroup(prefix string) (*Cgroup, error) {
	parent, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	removeEmpty(parent)
	self := procscan.Self()
	for i := range 100 {
		path := filepath.Join(parent, fmt.Sprintf("%s%d-%d-%d", prefix, self.PID, self.Start, i))
		err := os.Mkdir(path, 0o755)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("cannot make a cgroup: %w", err)
		}
		return OpenCgroup(path)
	}
	return nil, fmt.Errorf("cannot make a cgroup below %s: all names are taken", parent)
}

const cgroupPrefix = "lifeline-"

// OpenCgroup opens one that is there.
func OpenCgroup(path string) (*Cgroup, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the cgroup %s: %w", path, err)
	}
	c := &Cgroup{path: path, fd: fd}
	// Kernels before 5.14 can't kill a cgroup: then it is of no use here.
	if _, err := os.Stat(filepath.Join(path, "cgroup.kill")); err != nil {
		c.Remove()
		return nil, fmt.Errorf("cannot use the cgroup %s: %w", path, err)
	}
	return c, nil
}

// Path is where it is.
func (c *Cgroup) Path() string { return c.path }

// FD is for [Spec.CgroupFD].
func (c *Cgroup) FD() int { return c.fd }

// Kill sends SIGKILL to everything in it, as one.
func (c *Cgroup) Kill() error {
	c.killed.Store(true)
	return os.WriteFile(filepath.Join(c.path, "cgroup.kill"), []byte("1"), 0)
}

// Killed reports that Kill was called: then it must not be used again. On a
// recent kernel (seen on 6.18) everything that is started into a cgroup that
// has ever been killed is killed at once.
func (c *Cgroup) Killed() bool { return c.killed.Load() }

// LimitMemory has the kernel keep all that is in it within that many bytes: when
// there is no more to be had it kills everything in it. The error says that the
// memory controller isn't to be had here (cgroup-v2, "Memory").
func (c *Cgroup) LimitMemory(bytes int64) error {
	if err := os.WriteFile(filepath.Join(c.path, "memory.max"), strconv.AppendInt(nil, bytes, 10), 0); err != nil {
		return fmt.Errorf("cannot limit the memory of the cgroup %s: %w", c.path, err)
	}
	_ = os.WriteFile(filepath.Join(c.path, "memory.oom.group"), []byte("1"), 0)
	return nil
}

// OOMKills is how many processes in it the kernel has killed for memory.
func (c *Cgroup) OOMKills() int {
	text, _ := os.ReadFile(filepath.Join(c.path, "memory.events"))
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(rest))
			return n
		}
	}
	return 0
}

// Members lists what is in it and in those below it.
func (c *Cgroup) Members() []procscan.ID {
	var ids []procscan.ID
	_ = filepath.WalkDir(c.path, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil
		}
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil
		}
		for line := range strings.Lines(string(text)) {
			if pid, err := strconv.Atoi(strings.TrimSpace(line)); err == nil && pid > 0 {
				if s, err := procscan.Lookup(pid); err == nil && !s.Dead() {
					ids = append(ids, s.ID)
				}
			}
		}
		return nil
	})
	return ids
}

// Remove takes it away if it is empty, with those below it, and lets go of it.
func (c *Cgroup) Remove() {
	removeTree(c.path)
	_ = unix.Close(c.fd)
}

func removeTree(path string) {
	entries, err := os.ReadDir(path)
	if err != nil {
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			removeTree(filepath.Join(path, e.Name()))
		}
	}
	_ = unix.Rmdir(path)
}

// removeEmpty clears away what killed supervisors have left: rmdir(2) refuses
// a cgroup in which anything lives. Those of living lifelines are left: they may
// be between two workers. A living one of another pid namespace can't be told
// from a dead one; it makes itself a new cgroup.
func removeEmpty(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		parts := strings.Split(e.Name(), "-")
		if !e.IsDir() || !strings.HasPrefix(e.Name(), cgroupPrefix) || len(parts) < 4 {
			continue
		}
		pid, err := strconv.Atoi(parts[len(parts)-3])
		start, err2 := strconv.ParseUint(parts[len(parts)-2], 10, 64)
		if err == nil && err2 == nil && !(procscan.ID{PID: pid, Start: start}).Alive() {
			removeTree(filepath.Join(parent, e.Name()))
		}
	}
}

// ownCgroup is the directory of this process's version 2 cgroup.
func ownCgroup() (string, error) {
	text, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", fmt.Errorf("cannot tell the own cgroup: %w", err)
	}
	path := ""
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), "0::"); ok {
			path = rest
		}
	}
	mount, err := cgroupMount()
	if err != nil || path == "" {
		return "", errors.Join(err, errors.New("there is no cgroup version 2 here"))
	}
	return filepath.Join(mount, path), nil
}

// cgroupMount finds where version 2 is mounted (proc_pid_mountinfo(5)).
func cgroupMount() (string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return "", err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		before, after, ok := strings.Cut(lines.Text(), " - ")
		fields := strings.Fields(before)
		if ok && strings.HasPrefix(after, "cgroup2 ") && len(fields) > 4 && fields[3] == "/" {
			return fields[4], nil
		}
	}
	return "", errors.New("cgroup version 2 isn't mounted")
}
