package guard

import (
	"os"
	"path/filepath"
	"slices"
	"strings"

	"lifeline/internal/identity"
	"lifeline/procscan"
)

// This file judges what a process has open and locked, and whose files these are.

// readLocks reads /proc/locks and the directory, once.
func (c *census) readLocks() {
	if c.lockFiles {
		return
	}
	c.lockFiles = true
	c.flocks, c.allFlocks = procscan.Flocks()
	c.inodes = inodesIn(c.dir.path)
}

// strays lists the locks on files that are not in the directory. The files belong
// to other programs, or are lifeline's own that were removed, moved, or hidden by
// a mount.
func (c *census) strays() []procscan.Flock {
	c.readLocks()
	return slices.DeleteFunc(slices.Clone(c.flocks), func(l procscan.Flock) bool { return c.inodes[l.Ino] })
}

// openOf lists the lock and run files that a process has open, in any
// directory.
func (c *census) openOf(id procscan.ID) []procscan.Open {
	open, known := c.open[id]
	if !known {
		open, _ = procscan.OpenFiles(id, func(path string) bool {
			return strings.HasSuffix(path, ".run") || strings.HasSuffix(path, ".lock")
		})
		c.open[id] = open
		for _, o := range open {
			c.byPath[o.Path] = append(c.byPath[o.Path], o)
		}
	}
	return open
}

// lockFileHolders lists the processes that hold a lock file of name, in the
// directory or gone from it.
func (c *census) lockFileHolders(name string) (ids []procscan.ID) {
	c.readLocks()
	now := inodeOf(c.dir.lock(name))
	for _, l := range c.flocks {
		if l.Ino != now && c.inodes[l.Ino] {
			continue
		}
		p, ok := c.table.Get(l.PID)
		if ok && c.holdsLockFile(c.openOf(p.ID), name) {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// holdsLockFile reports whether one of a process's descriptors is the lock file of
// name, locked. A moved lock file doesn't show its directory; the record of the run
// file that the process has open does.
func (c *census) holdsLockFile(open []procscan.Open, name string) bool {
	return slices.ContainsFunc(open, func(o procscan.Open) bool {
		if filepath.Base(o.Path) != identity.LockFile(name) || !isOwn(o) || !isLocked(o) {
			return false
		}
		return filepath.Dir(o.Path) == c.dir.space || slices.ContainsFunc(open, func(o procscan.Open) bool {
			if filepath.Base(o.Path) != identity.RunFile(name) {
				return false
			}
			if rec, err := recordBehind(o); err == nil {
				return rec.Space == identity.SpaceHash(c.dir.space)
			}
			// Where the record is damaged, the children show whose supervisor this is.
			return c.mayBeOurs(c.childrenOf(o.PID), name)
		})
	})
}

// runFileHolders lists the processes other than supervisors that hold a run file
// of name. It searches every process where a descendant may have inherited the
// run file's lock. With hidden set, a lock on a file gone from the directory counts too.
func (c *census) runFileHolders(name string, hidden bool) (ids []procscan.ID) {
	if hidden && c.mayHide(name) || c.isRunInherited(name) {
		c.searchAll()
	}
	for id, open := range c.open {
		if id != c.self && slices.ContainsFunc(open, func(o procscan.Open) bool { return c.isInherited(o, name) }) {
			ids = append(ids, id)
		}
	}
	return ids
}

// isInherited reports whether a worker, or a process that a worker started, has
// o open as a run file of name. A supervisor's own descriptor doesn't count.
// The record says which process is which. Where the record can't be read, a
// descriptor that came through execve is a worker's.
func (c *census) isInherited(o procscan.Open, name string) bool {
	if !c.isRunFile(o, name) {
		return false
	}
	if rec, err := recordBehind(o); err == nil && here(rec) {
		switch o.ID {
		case procscan.ID(rec.Worker):
			return true
		case procscan.ID(rec.Supervisor):
			return false
		}
	}
	_, closeOnExec := o.Info()
	return !closeOnExec
}

// holders lists the processes, supervisors among them, that hold the lock file
// and the run file that are in the directory.
func (c *census) holders(name string) (lock, run []procscan.ID) {
	if c.table == nil {
		return nil, nil
	}
	c.searchAll()
	return c.lockersOf(c.dir.lock(name)), c.lockersOf(c.dir.run(name))
}

// lockersOf lists the processes that hold the lock of the file at path. Where no
// descriptor shows a holder, the takers of the lock count.
func (c *census) lockersOf(path string) (ids []procscan.ID) {
	for _, o := range c.byPath[c.dir.space+"/"+filepath.Base(path)] {
		if !o.Deleted && isOwn(o) && isLocked(o) && !slices.Contains(ids, o.ID) {
			ids = append(ids, o.ID)
		}
	}
	if len(ids) > 0 {
		return ids
	}
	return c.takers(path)
}

// takers lists the processes that took the lock of the file at path. /proc/locks
// names a taker even where another user's descriptors are hidden.
func (c *census) takers(path string) (ids []procscan.ID) {
	c.readLocks()
	ino := inodeOf(path)
	for _, l := range c.flocks {
		if p, ok := c.table.Get(l.PID); ok && l.Ino == ino && ino != 0 {
			ids = append(ids, p.ID)
		}
	}
	return ids
}

// isRunInherited reports whether only processes that inherited the lock may still
// hold the directory's run file, because the lock's taker has ended.
func (c *census) isRunInherited(name string) bool {
	c.readLocks()
	now := inodeOf(c.dir.run(name))
	if now == 0 {
		return false
	}
	for _, l := range c.flocks {
		if l.Ino == now {
			_, alive := c.table.Get(l.PID)
			return !alive
		}
	}
	return !c.allFlocks
}

// mayHide reports whether a process may hold an inherited lock of name on a
// file outside the directory.
func (c *census) mayHide(name string) bool {
	c.readLocks()
	return !c.allFlocks || slices.ContainsFunc(c.inheritedLocks(), func(of []string) bool {
		return !slices.ContainsFunc(of, func(file string) bool { return file != identity.LockFile(name) })
	})
}

// inheritedLocks lists the locks on files outside the directory whose takers have
// ended or have closed the file. With each lock go the lock files that its taker
// holds, because the other locks of that process belong to the names of those files.
func (c *census) inheritedLocks() [][]string {
	if c.sought {
		return c.inherited
	}
	c.sought = true
	var closed []procscan.Flock
	var held [][]string
	for _, l := range c.strays() {
		p, alive := c.table.Get(l.PID)
		var of []string
		if alive && procscan.HoldsInode(p.PID, l.Ino) {
			continue
		}
		for _, o := range c.openOf(p.ID) {
			if strings.HasSuffix(o.Path, ".lock") && isOwn(o) && isLocked(o) {
				of = append(of, filepath.Base(o.Path))
			}
		}
		closed, held = append(closed, l), append(held, of)
	}
	if len(closed) == 0 {
		return nil
	}
	now, _ := procscan.Flocks() // most have been released since
	for i, l := range closed {
		if slices.Contains(now, l) {
			c.inherited = append(c.inherited, held[i])
		}
	}
	return c.inherited
}

// searchAll looks at the descriptors of every process that may be looked at.
func (c *census) searchAll() {
	if c.searched {
		return
	}
	c.searched = true
	for _, p := range c.table.Processes {
		if !p.Kernel {
			c.openOf(p.ID)
		}
	}
}

// isRunFile reports whether o holds the lock of a run file of name, in this
// directory or moved away from it.
func (c *census) isRunFile(o procscan.Open, name string) bool {
	if filepath.Base(o.Path) != identity.RunFile(name) || !isOwn(o) {
		return false
	}
	return (filepath.Dir(o.Path) == c.dir.space || c.isOurs(o, name)) && isLocked(o)
}

// isOurs reports whether a run file of name that is in another place was moved
// there from this directory: its record says so. Where the record is damaged, the
// file counts, unless the marker or the cgroup of its holder shows another
// directory.
func (c *census) isOurs(o procscan.Open, name string) bool {
	if rec, err := recordBehind(o); err == nil {
		return rec.Space == identity.SpaceHash(c.dir.space)
	}
	p, _ := c.table.Get(o.PID)
	return c.mayBeOurs([]procscan.Process{p}, name)
}

// mayBeOurs reports whether nothing shows that processes of name belong to another
// directory. A marker decides, then a cgroup.
func (c *census) mayBeOurs(list []procscan.Process, name string) bool {
	for _, p := range list {
		if space := p.Env[identity.EnvSpace]; space != "" {
			return space == c.dir.space
		}
	}
	return slices.ContainsFunc(list, func(p procscan.Process) bool {
		group := filepath.Base(procscan.CgroupOf(p.PID))
		return !strings.HasPrefix(group, "lifeline-") || strings.HasPrefix(group, CgroupPrefix(c.dir.space, name))
	})
}

// childrenOf lists the children of a process.
func (c *census) childrenOf(pid int) []procscan.Process {
	if c.children == nil {
		c.children = map[int][]procscan.Process{}
		for _, p := range c.table.Processes {
			c.children[p.PPID] = append(c.children[p.PPID], p)
		}
	}
	return c.children[pid]
}

// isOwn reports whether only the caller's user may open the file. Another user can
// make a file of any content. In a mount namespace of his own he can give any path
// to a file that he may open.
func isOwn(o procscan.Open) bool {
	uid, perm, ok := o.Access()
	return ok && uid == ownUID() && perm&0o077 == 0
}

func isLocked(o procscan.Open) bool {
	locked, _ := o.Info()
	return locked
}

func recordBehind(o procscan.Open) (identity.Record, error) {
	buf := make([]byte, identity.RecordSize)
	if n, _ := o.ReadAt(buf); n != len(buf) {
		return identity.Record{}, identity.ErrRecord
	}
	return identity.Decode(buf)
}

func ownUID() int { return os.Geteuid() }
