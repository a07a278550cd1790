package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"lifeline/internal/identity"
	"lifeline/internal/statedir"
	"lifeline/procscan"
)

// These functions serve doctor: they read, and change nothing.

// Directory returns the guard's state directory, and why it can't be used. A
// missing directory is no error where the first start can make it.
func (g Guard) Directory() (path string, there bool, err error) {
	if path = g.Dir; path == "" {
		path = DefaultDir()
	}
	if path, err = filepath.Abs(path); err != nil {
		return path, false, fmt.Errorf("cannot tell the state directory's full path: %w", err)
	}
	err = checkDir(path, g.AllowNFS)
	there = !errors.Is(err, fs.ErrNotExist)
	if err != nil && there {
		return path, true, err
	}
	if err := checkAbove(path); err != nil {
		return path, there, err
	}
	if !there {
		above := filepath.Dir(path)
		for above != filepath.Dir(above) && errors.Is(unix.Access(above, unix.F_OK), unix.ENOENT) {
			above = filepath.Dir(above)
		}
		if err := unix.Access(above, unix.W_OK|unix.X_OK); err != nil {
			return path, false, fmt.Errorf("the state directory %s is not there and can't be made in %s: %w; make it "+
				"(mkdir -m 700, your own), or give another with --dir",
				path, above, err)
		}
		return path, false, nil
	}
	if err := unix.Access(path, unix.R_OK|unix.W_OK|unix.X_OK); err != nil {
		return path, true, fmt.Errorf("the state directory %s can't be written: %w; chmod 700 it, or "+
			"give another with --dir",
			path, err)
	}
	if on, err := statedir.Stat(path); err == nil && on.Inodes > 0 && on.FreeInodes == 0 {
		return path, true, fmt.Errorf("the file system of the state directory %s has no inode left, so that no lock "+
			"can be made: remove files there, or give another with --dir", path)
	}
	return path, true, nil
}

// IsFull reports whether the file system of path has no room left for the caller.
func IsFull(path string) bool {
	on, err := statedir.Stat(path)
	return err == nil && on.Blocks > 0 && on.Available <= 0 && (os.Geteuid() != 0 || on.Free == 0)
}

// checkAbove refuses a path in which other users could put a directory of theirs.
func checkAbove(path string) error {
	real, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return nil // not there yet
	}
	for ; ; real = filepath.Dir(real) {
		var st unix.Stat_t
		if err := unix.Stat(real, &st); err != nil {
			return fmt.Errorf("cannot look at %s, above the state directory: %w", real, err)
		}
		mode := uint32(st.Mode)
		switch {
		case st.Uid != 0 && int(st.Uid) != os.Geteuid():
			return fmt.Errorf("%s, above the state directory %s, belongs to uid %d, who can put another directory in "+
				"its place: give one of your own with --dir",
				real, path, st.Uid)
		case mode&0o002 != 0 && mode&unix.S_ISVTX == 0:
			return fmt.Errorf("%s, above the state directory %s, may be written by every user (mode %04o), who can "+
				"put another directory in its place: chmod o-w it, or give another with --dir",
				real, path, mode&0o7777)
		}
		if real == filepath.Dir(real) {
			return nil
		}
	}
}

// Exam is what can be seen of one name.
type Exam struct {
	Lock, Run string // the paths of its files

	// Broken says which files would be refused, and what to do about them.
	Broken []error

	LockHolders, RunHolders []procscan.ID // the holders of the locks; empty where they can't be known

	Record     RecordState
	Supervisor procscan.ID // as the record has it
	Worker     procscan.ID // likewise

	SupervisorNow, WorkerNow *procscan.Stat // what the census shows of the two; nil for a process that has ended
}

// RecordState says what the record is worth.
type RecordState string

const (
	RecordNone     RecordState = "none"    // the name was never started, or ended well
	RecordDamaged  RecordState = "damaged" // the record can't be read
	RecordFine     RecordState = "fine"
	RecordEarlier  RecordState = "of an earlier boot"
	RecordForeign  RecordState = "of another pid namespace"
	RecordUnlocked RecordState = "unlocked" // its supervisor lives, but has no lock
)

// Examiner looks at the files of names, with one census for each directory.
type Examiner struct {
	taken map[string]*census // by directory
}

// Forget makes the next Examine take a new census.
func (x *Examiner) Forget() { x.taken = nil }

func (x *Examiner) census(d dir) *census {
	if x.taken == nil {
		x.taken = map[string]*census{}
	}
	if x.taken[d.path] == nil {
		x.taken[d.path] = takeCensus(d)
	}
	return x.taken[d.path]
}

// living returns what the census shows of id; nil if id has ended.
func (c *census) living(id procscan.ID) *procscan.Stat {
	switch p, ok := c.table.Get(id.PID); {
	case ok && p.ID == id:
		return &p.Stat
	case id.Alive(): // hidden from the census
		return &procscan.Stat{ID: id}
	}
	return nil
}

// Examine looks at the files of name in the directory of g.
func (x *Examiner) Examine(g Guard, name string) (Exam, error) {
	if err := CheckName(name); err != nil {
		return Exam{}, err
	}
	path, _, err := g.Directory()
	if err != nil {
		return Exam{}, err
	}
	space, err := filepath.EvalSymlinks(path)
	if err != nil {
		space = path
	}
	d := dir{path: path, space: space}
	e := Exam{Lock: d.lock(name), Run: d.run(name), Record: RecordNone}
	for what, file := range map[string]string{"lock file": e.Lock, "run file": e.Run} {
		if err := examineFile(what, file); err != nil {
			e.Broken = append(e.Broken, err)
		}
	}
	c := x.census(d)
	e.LockHolders, e.RunHolders = c.holders(name)
	f, err := os.OpenFile(e.Run, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return e, nil // Broken says why, or there is none
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil || !st.Mode().IsRegular() || st.Size() == 0 {
		return e, nil
	}
	rec, err := readRecord(f)
	switch {
	case err != nil:
		e.Record = RecordDamaged
	case rec.Boot != procscan.BootID():
		e.Record = RecordEarlier
	case rec.PIDNamespace != procscan.PIDNamespace():
		e.Record = RecordForeign
	default:
		e.Record, e.Supervisor, e.Worker = RecordFine, procscan.ID(rec.Supervisor), procscan.ID(rec.Worker)
		e.SupervisorNow, e.WorkerNow = c.living(e.Supervisor), c.living(e.Worker)
		if !rec.InProcess() && e.SupervisorNow != nil && len(e.LockHolders) == 0 && procscan.CanSeeFlocks {
			e.Record = RecordUnlocked
		}
	}
	return e, nil
}

// examineFile refuses by the path alone what checkFile refuses. The file may be
// missing.
func examineFile(what, path string) error {
	st, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cannot look at the %s %s: %w", what, path, reason(err))
	}
	if st.Mode()&fs.ModeSymlink != 0 {
		return openError(what, path, unix.ELOOP)
	}
	return judgeFile(what, path, st)
}

// Marked reports whether the environment of id has the marker of name and of this
// guard's directory.
func (g Guard) Marked(id procscan.ID, name string) bool {
	env, err := procscan.Environ(id)
	if err != nil {
		return false
	}
	path, _, _ := g.Directory()
	space, err := filepath.EvalSymlinks(path)
	return env[identity.EnvName] == name &&
		(err != nil || env[identity.EnvSpace] == space || strings.TrimSuffix(env[identity.EnvSpace], "/") == path)
}
