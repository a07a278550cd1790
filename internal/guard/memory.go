package guard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"lifeline/internal/identity"
	"lifeline/internal/statedir"
)

// memory is the directory of what must survive a reboot: journals, pauses, the
// link to the log and what a cluster's node remembers. Locks and run files are
// in the state directory, which may be lost at any time. Older lifelines kept
// everything there.
type memory struct {
	path string
	old  string // the state directory
}

// The endings of the memory's files.
const (
	stateFile   = ".state"
	historyFile = ".history"
	pausedFile  = ".paused"
	logLink     = ".log"
	clusterFile = ".cluster"
	failedFile  = ".output"
)

var memoryFiles = []string{stateFile, historyFile, pausedFile, logLink, clusterFile, failedFile}

// MemoryDir returns the directory of journals and pauses: StateDir, else Dir, else
// the user's default.
func (g Guard) MemoryDir() string {
	path := g.StateDir
	if path == "" {
		path = g.Dir
	}
	if path == "" {
		return statedir.Memory()
	}
	if abs, err := filepath.Abs(path); err == nil {
		return abs
	}
	return path
}

func (g Guard) memory(d dir) memory { return memory{g.MemoryDir(), d.path} }

// file returns the path at which a reader finds a file of name. A file that only
// an older lifeline has written is in the state directory.
func (m memory) file(name, ending string) string {
	path := filepath.Join(m.path, identity.Key(name)+ending)
	if _, err := os.Lstat(path); err == nil || m.old == m.path {
		return path
	}
	old := filepath.Join(m.old, identity.Key(name)+ending)
	if _, err := os.Lstat(old); err == nil {
		return old
	}
	return path
}

// openMemory makes the directory, if need be, and lets the group read it.
func (g Guard) openMemory() error {
	path := g.MemoryDir()
	if err := checkMemory(path); errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(path); err != nil {
			return fmt.Errorf("cannot make the directory of the journals, %s: %w; give another with --state-dir", path,
				reason(err))
		}
		if err := checkMemory(path); err != nil {
			return err
		}
	} else if err != nil {
		return err
	}
	if g.Group == "" {
		return nil
	}
	group, err := user.LookupGroup(g.Group)
	if err != nil {
		return fmt.Errorf("there is no group %s: make it (groupadd), or give another with --state-group", g.Group)
	}
	gid, _ := strconv.Atoi(group.Gid)
	if err := os.Chown(path, -1, gid); err != nil {
		return fmt.Errorf("cannot give %s to the group %s: %w; do it as root, or leave out --state-group", path,
			g.Group, reason(err))
	}
	if err := os.Chmod(path, 0o750|fs.ModeSetgid); err != nil {
		return fmt.Errorf("cannot let the group %s read %s: %w", g.Group, path, reason(err))
	}
	return nil
}

// checkMemory refuses a directory that others could write.
func checkMemory(path string) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("cannot look at the directory of the journals, %s: %w; give another with --state-dir", path,
			err)
	}
	mode := uint32(st.Mode)
	switch {
	case mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("the directory of the journals, %s, is not a directory: remove it, or give another with "+
			"--state-dir", path)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("the directory of the journals, %s, belongs to uid %d, not to uid %d: give another with "+
			"--state-dir", path, st.Uid, os.Geteuid())
	case mode&0o022 != 0:
		return fmt.Errorf("the directory of the journals, %s, may be written by others (mode %04o): chmod go-w it, or "+
			"give another with --state-dir", path, mode&0o7777)
	}
	return nil
}

// Memory returns the directory of the journals, or why they can't be kept there.
func (g Guard) Memory() (path string, err error) {
	path = g.MemoryDir()
	if err := checkMemory(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return path, err
	}
	above := path
	for above != filepath.Dir(above) && errors.Is(unix.Access(above, unix.F_OK), unix.ENOENT) {
		above = filepath.Dir(above)
	}
	if err := unix.Access(above, unix.W_OK|unix.X_OK); err != nil {
		return path, fmt.Errorf("journals and pauses can't be kept in %s: %w; make it (mkdir -m 700, your own), or "+
			"give another with --state-dir", path, err)
	}
	return path, nil
}

// IsOwnMemory reports whether the journals belong to the caller, and not to
// another user who lets the caller read them.
func (g Guard) IsOwnMemory() bool {
	var st unix.Stat_t
	return unix.Stat(g.MemoryDir(), &st) != nil || int(st.Uid) == os.Geteuid()
}

// writeDir returns the directory to write name's files in, after it has moved an
// older lifeline's files there. A file that can't be moved stays where it was.
func (g Guard) writeDir(d dir, name string) string {
	m := g.memory(d)
	if m.path == m.old {
		return m.path
	}
	if g.openMemory() != nil {
		return m.old
	}
	for _, ending := range memoryFiles {
		if old := m.file(name, ending); filepath.Dir(old) != m.path {
			_ = move(old, filepath.Join(m.path, filepath.Base(old)))
		}
	}
	return m.path
}

// move moves a file, also to another file system. The file at to is always whole
// or missing.
func move(from, to string) error {
	if target, err := os.Readlink(from); err == nil {
		if err := os.Symlink(target, to); err != nil {
			return err
		}
		return os.Remove(from)
	}
	in, err := os.OpenFile(from, os.O_RDONLY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+"-*")
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	if err = errors.Join(err, statedir.Share(out), out.Close()); err == nil {
		err = os.Rename(out.Name(), to)
	}
	if err != nil {
		_ = os.Remove(out.Name())
		return err
	}
	return os.Remove(from)
}

// Forget removes all files of name, the lock file last and locked. A tick that
// has opened the lock file finds that the path is empty, and makes a new file. A
// *[HeldError] means that a process of the name runs.
func (g Guard) Forget(ctx context.Context, name string) error {
	d, err := g.forName(name)
	if err != nil {
		return err
	}
	m := g.memory(d)
	lock, err := g.takeLock(ctx, d, name)
	if err != nil {
		return err
	}
	defer lock.Close()
	if seen, err := g.Look(name); err != nil {
		return fmt.Errorf("cannot tell whether %s runs: %w", name, err)
	} else if len(seen[0].Tree) > 0 {
		return &HeldError{Name: name, Holder: seen[0].Holder}
	}
	var files []string
	for _, ending := range memoryFiles {
		files = append(files, filepath.Join(m.path, identity.Key(name)+ending),
			filepath.Join(m.old, identity.Key(name)+ending))
	}
	fifo, socket := d.output(name)
	return removeAll(append(files, fifo, fifo+".err", socket, d.control(name), d.skipped(name), d.trouble(name),
		d.run(name), d.lock(name))...)
}

func removeAll(paths ...string) error {
	var all error
	for _, path := range paths {
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = errors.Join(all, fmt.Errorf("cannot remove %s: %w", path, reason(err)))
		}
	}
	return all
}

// namesIn lists the names that have files with one of the endings in path.
func namesIn(path string, endings ...string) ([]string, error) {
	entries, err := os.ReadDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list %s: %w", path, reason(err))
	}
	var names []string
	for _, e := range entries {
		for _, ending := range endings {
			stem, ok := strings.CutSuffix(e.Name(), ending)
			if !ok || len(stem) < 14 {
				continue
			}
			if name := stem[:len(stem)-13]; CheckName(name) == nil && identity.Key(name) == stem {
				names = append(names, name)
			}
		}
	}
	return names, nil
}
