package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/procscan"
)

// directory reports whether locks can be made in the state directory of g, and by this
// user alone.
func (d *Doctor) directory(g guard.Guard) {
	path, there, err := g.Directory()
	if slices.Contains(d.dirs, path) {
		return
	}
	d.dirs = append(d.dirs, path)
	switch {
	case err != nil:
		d.failed("directory", err)
	case !there:
		d.fine("directory", "%s isn't there yet; the first start makes it", path)
	case guard.IsFull(path):
		d.wrong("directory", "free some space there: df "+path,
			"the file system of the state directory %s is full: no state and no history can be written", path)
	default:
		d.fine("directory", "%s is yours, closed to others and local", path)
	}
	if memory, err := g.Memory(); err != nil {
		d.failed("directory", err)
	} else if memory != path && guard.IsFull(existing(memory)) {
		d.wrong("directory", "free some space there: df "+existing(memory),
			"the file system of %s is full: no journal and no pause can be written", memory)
	}
	if _, err := procscan.Pids(); err != nil {
		d.wrong("processes", "mount /proc, if that can be; else nothing: the locks alone keep it single", "%v", err)
	}
}

// existing returns path, or the nearest directory above it that exists.
func existing(path string) string {
	for !exists(path) && path != filepath.Dir(path) {
		path = filepath.Dir(path)
	}
	return path
}

// state examines the name's files, locks and processes.
func (d *Doctor) state(c candidate) {
	name, g := c.name, c.guard
	if _, there, err := g.Directory(); err != nil {
		return // directory has reported the error
	} else if !there {
		d.unread(c.line.table, time.Time{})
		d.fine("state", "has never been started here")
		if !c.blocked {
			d.overdue(c, guard.Exam{}, "")
		}
		return
	}
	if until, paused, err := g.PausedUntil(name); err != nil {
		c.blocked = true
		d.wrong("pause", "lifeline resume "+name+" takes the file away", "%v", err)
	} else if paused {
		c.blocked = true
		text := "it is paused, so cron starts nothing"
		if !until.IsZero() {
			text += ", until " + human.ShortTime(until)
		}
		if since := g.PausedSince(name); !since.IsZero() {
			text += " (since " + human.ShortTime(since) + ")"
		}
		d.wrongAs("paused", "pause", "lifeline resume "+name, "%s", text)
	}
	e, err := d.exams.Examine(g, name)
	// Wait for an instance that is ending or puts its lock file back.
	for n := 0; n < 20 && err == nil && e.Record == guard.RecordUnlocked; n++ {
		time.Sleep(50 * time.Millisecond)
		d.exams.Forget()
		e, err = d.exams.Examine(g, name)
	}
	if err != nil {
		return // directory has reported the error
	}
	for _, err := range e.Broken {
		c.blocked = true
		d.failed("files", err)
	}
	if info, err := os.Stat(e.Lock); err == nil {
		d.unread(c.line.table, info.ModTime())
	} else {
		d.unread(c.line.table, time.Time{})
	}
	d.record(name, e)
	if d.locks(name, g, e) {
		d.running(c, e)
	}
	d.history(c)
}

func (d *Doctor) record(name string, e guard.Exam) {
	switch e.Record {
	case guard.RecordDamaged:
		d.wrong("record", fmt.Sprintf("lifeline restart %s writes a new one; if it doesn't run: rm %s", name, e.Run),
			"%s can't be read: who the instance is has to be found by the process table", e.Run)
	case guard.RecordForeign:
		d.wrong("record", "give each container a state directory of its own (--dir)",
			"%s was written in another pid namespace: a container shares this state directory", e.Run)
	case guard.RecordUnlocked:
		d.wrong("record", "look again in ten seconds: it puts its lock file back; if not: lifeline restart "+name,
			"pid %d runs it, and doesn't hold the lock %s", e.Supervisor.PID, e.Lock)
	default:
		if e.Record != guard.RecordNone {
			d.fine("record", "%s is sound", e.Run)
		}
	}
}

// locks reports foreign processes that hold the locks, and returns false if any does.
func (d *Doctor) locks(name string, g guard.Guard, e guard.Exam) bool {
	foreign := func(path string, holders []procscan.ID) (who string, pids []string) {
		var list []string
		for _, id := range holders {
			if id != e.Supervisor && id != e.Worker && !isLifeline(id) && !g.Marked(id, name) && mayHold(id, path) {
				list, pids = append(list, describe(id)), append(pids, id.String())
			}
		}
		return strings.Join(list, " and "), pids
	}
	ok := true
	if who, pids := foreign(e.Lock, e.LockHolders); who != "" {
		ok = false
		d.wrong("lock", "find out what it wants with it, and end it: kill "+strings.Join(pids, " "),
			"%s is held by %s, which isn't lifeline: nothing can start", e.Lock, who)
	}
	if who, pids := foreign(e.Run, e.RunHolders); who != "" && e.WorkerNow == nil {
		ok = false
		d.wrong("lock", fmt.Sprintf("if it isn't %s, end it: kill %s", name, strings.Join(pids, " ")),
			"%s is held by %s, which shows nothing of %s: it is taken for an instance that has lost its environment, "+
				"or holds up each start", e.Run, who, name)
	}
	return ok
}

// mayHold reports whether id has path open. It is needed because /proc/locks shows inode
// numbers, which another file system may have, too. Where id's descriptors can't be seen,
// the device decides.
func mayHold(id procscan.ID, path string) bool {
	file, err := os.Stat(path)
	if err != nil {
		return true
	}
	dir := fmt.Sprintf("/proc/%d/fd", id.PID)
	list, err := os.ReadDir(dir)
	if err != nil {
		return !locksElsewhere(id.PID, path)
	}
	return slices.ContainsFunc(list, func(fd os.DirEntry) bool {
		open, err := os.Stat(filepath.Join(dir, fd.Name()))
		return err == nil && os.SameFile(open, file)
	})
}

// isLifeline reports whether id runs this program, in any version.
func isLifeline(id procscan.ID) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", id.PID))
	if err != nil {
		_, exe = procscan.Describe(id)
		exe, _, _ = strings.Cut(exe, " ")
	}
	exe = strings.TrimSuffix(exe, " (deleted)")
	self, err := os.Executable()
	return filepath.Base(exe) == "lifeline" || err == nil && exe == self
}

func describe(id procscan.ID) string {
	if since, command := procscan.Describe(id); command != "" {
		return fmt.Sprintf("pid %d, since %s (%s)", id.PID, since.Format(time.DateTime), command)
	}
	return fmt.Sprintf("pid %d", id.PID)
}
