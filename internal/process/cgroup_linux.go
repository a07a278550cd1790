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

// Cgroup is a tree's own control group (cgroups(7), version 2). Neither a fork nor a new
// session leaves the cgroup, and one write kills all processes in it. Where no cgroup can
// be made, Tree has other ways to find its members.
type Cgroup struct {
	path   string
	fd     int
	killed atomic.Bool
}

// NewCgroup makes a cgroup below this process's own, with a name that begins with prefix.
// It fails without cgroup version 2 or without permission.
func NewCgroup(prefix string) (*Cgroup, error) {
	parent, err := ownCgroup()
	if err != nil {
		return nil, err
	}
	removeEmpty(parent, prefix)
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

// OpenCgroup opens an existing cgroup.
func OpenCgroup(path string) (*Cgroup, error) {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open the cgroup %s: %w", path, err)
	}
	c := &Cgroup{path: path, fd: fd}
	// Kernels before 5.14 can't kill a cgroup, which is then useless here.
	if _, err := os.Stat(filepath.Join(path, "cgroup.kill")); err != nil {
		c.Remove()
		return nil, fmt.Errorf("cannot use the cgroup %s: %w", path, err)
	}
	return c, nil
}

// Path returns the cgroup's directory.
func (c *Cgroup) Path() string { return c.path }

// FD returns the descriptor for [Spec.CgroupFD].
func (c *Cgroup) FD() int { return c.fd }

// Kill sends SIGKILL to all processes of the cgroup at once.
func (c *Cgroup) Kill() error {
	c.killed.Store(true)
	return os.WriteFile(filepath.Join(c.path, "cgroup.kill"), []byte("1"), 0)
}

// Killed reports whether Kill was called. Such a cgroup must not be used again: recent
// kernels (seen on 6.18) kill at once what is started into it.
func (c *Cgroup) Killed() bool { return c.killed.Load() }

// LimitMemory sets the cgroup's memory limit in bytes; above it the kernel kills all
// processes of the cgroup. An error means that the memory controller is missing
// (cgroup-v2, "Memory").
func (c *Cgroup) LimitMemory(bytes int64) error {
	if err := os.WriteFile(filepath.Join(c.path, "memory.max"), strconv.AppendInt(nil, bytes, 10), 0); err != nil {
		return fmt.Errorf("cannot limit the memory of the cgroup %s: %w", c.path, err)
	}
	_ = os.WriteFile(filepath.Join(c.path, "memory.oom.group"), []byte("1"), 0)
	return nil
}

// OOMKills returns how many processes of the cgroup the kernel has killed for memory.
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

// Members lists the living processes of the cgroup and of the cgroups below it.
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

// Remove removes the cgroup, if it is empty, with all below it, and closes its
// descriptor.
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

// removeEmpty removes the cgroups that killed supervisors of this name have left;
// rmdir(2) refuses a cgroup in which a process lives. Cgroups of living supervisors stay.
// A supervisor in another pid namespace counts as dead here, and makes a new cgroup when
// it needs one.
func removeEmpty(parent, prefix string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, e := range entries {
		parts := strings.Split(e.Name(), "-")
		if !e.IsDir() || !strings.HasPrefix(e.Name(), prefix) || len(parts) < 4 {
			continue
		}
		pid, err := strconv.Atoi(parts[len(parts)-3])
		start, err2 := strconv.ParseUint(parts[len(parts)-2], 10, 64)
		if err == nil && err2 == nil && !(procscan.ID{PID: pid, Start: start}).Alive() {
			removeTree(filepath.Join(parent, e.Name()))
		}
	}
}

// ownCgroup returns the directory of this process's version 2 cgroup.
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

// cgroupMount returns where cgroup version 2 is mounted (proc_pid_mountinfo(5)).
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
