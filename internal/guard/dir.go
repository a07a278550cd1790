package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"lifeline/internal/identity"
	"lifeline/internal/statedir"
)

// DefaultDir returns the state directory of the calling user.
func DefaultDir() string { return statedir.Default() }

// dir is an opened, checked state directory.
type dir struct {
	path string
	// space is the path with its links resolved: two ways to write one
	// directory are one namespace.
	space string
}

func (d dir) lock(name string) string { return filepath.Join(d.path, identity.LockFile(name)) }
func (d dir) run(name string) string  { return filepath.Join(d.path, identity.RunFile(name)) }
func (d dir) control(name string) string {
	k := identity.Key(name)
	return filepath.Join(d.path, k[len(k)-12:]+".ctl")
}
func (d dir) skipped(name string) string { return filepath.Join(d.path, identity.Key(name)+".skipped") }

func (d dir) trouble(name string) string { return filepath.Join(d.path, identity.Key(name)+".ping") }

// output gives the FIFO and the socket through which a worker's output goes to
// the log. See package logger.
func (d dir) output(name string) (fifo, socket string) {
	stem, k := filepath.Join(d.path, identity.Key(name)), identity.Key(name)
	return stem + ".out", filepath.Join(d.path, k[len(k)-12:]+".clk")
}

// openDir makes the directory if there is none (step 1), and refuses a directory
// that another user could tamper with. It doesn't fall back to another
// directory, because supervisors of two directories wouldn't see each other.
func openDir(path string, allowNFS bool) (dir, error) {
	d, err := findDir(path)
	if err != nil {
		return dir{}, err
	}
	if err := checkDir(d.path, allowNFS); errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(d.path); err != nil {
			return dir{}, fmt.Errorf("cannot make the state directory %s: %w; give another with --dir", d.path,
				reason(err))
		}
		if err := checkDir(d.path, allowNFS); err != nil {
			return dir{}, err
		}
		return findDir(path) // its parents are there now
	} else if err != nil {
		return dir{}, err
	}
	return d, nil
}

// findDir tells where the directory is, or will be.
func findDir(path string) (dir, error) {
	if path == "" {
		path = DefaultDir()
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return dir{}, fmt.Errorf("cannot tell the state directory's full path: %w", err)
	}
	space, err := filepath.EvalSymlinks(filepath.Dir(path))
	if errors.Is(err, fs.ErrNotExist) {
		return dir{path, path}, nil
	}
	if err != nil {
		return dir{}, fmt.Errorf("cannot resolve the state directory %s: %w", path, reason(err))
	}
	return dir{path, filepath.Join(space, filepath.Base(path))}, nil
}

func makeDir(path string) error {
	if err := makeParents(filepath.Dir(path)); err != nil {
		return err
	}
	return mkdir(path, 0o700)
}

func makeParents(path string) error {
	if _, err := os.Stat(path); err == nil || path == filepath.Dir(path) {
		return nil
	}
	if err := makeParents(filepath.Dir(path)); err != nil {
		return err
	}
	return mkdir(path, 0o755)
}

// mkdir makes a directory that its owner can use under any umask.
func mkdir(path string, mode fs.FileMode) error {
	if err := os.Mkdir(path, mode); err != nil {
		if errors.Is(err, fs.ErrExist) { // a simultaneous tick was first
			return nil
		}
		return err
	}
	st, err := os.Lstat(path)
	if err != nil || st.Mode().Perm()&0o700 == 0o700 {
		return err
	}
	return os.Chmod(path, st.Mode().Perm()|0o700)
}

// checkDir looks at the directory itself, not through a link. An error that
// is fs.ErrNotExist means that there is none.
func checkDir(path string, allowNFS bool) error {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return fmt.Errorf("cannot look at the state directory %s: %w; give another with --dir", path, err)
	}
	mode := uint32(st.Mode)
	switch {
	case mode&unix.S_IFMT == unix.S_IFLNK:
		return fmt.Errorf("the state directory %s is a symbolic link: refused; give the directory itself with --dir",
			path)
	case mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("the state directory %s is not a directory: remove it, or give another with --dir", path)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("the state directory %s belongs to uid %d, not to uid %d: refused; give a directory of your "+
			"own with --dir",
			path, st.Uid, os.Geteuid())
	case mode&0o022 != 0:
		return fmt.Errorf("the state directory %s may be written by others (mode %04o): refused; chmod 700 it, or "+
			"give another with --dir",
			path, mode&0o7777)
	}
	if allowNFS {
		return nil
	}
	kind, err := statedir.OnNetwork(path)
	if err != nil {
		return fmt.Errorf("cannot tell the file system of the state directory %s: %w", path, err)
	}
	if kind != "" {
		return fmt.Errorf("the state directory %s lies on %s, where a lock may be lost without notice: refused; give "+
			"a local one with --dir, or insist with --allow-nfs",
			path, kind)
	}
	return nil
}

// reason strips the operation and path that the message names already.
func reason(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
