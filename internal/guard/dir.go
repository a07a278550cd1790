package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// DefaultDir is the state directory of the calling user. It depends on the
// effective uid and its home in the password file alone: cron sets no XDG
// variable, and what HOME says may differ between cron and a login, which
// would make two namespaces of one.
func DefaultDir() string {
	uid := os.Geteuid()
	if uid == 0 {
		if runtime.GOOS == "linux" {
			return "/run/lifeline"
		}
		return "/var/run/lifeline"
	}
	if home := homeOf(uid); home != "" && homeFits(home, uid) {
		// A home may be shared by several machines; names are per machine.
		return filepath.Join(home, ".local/state/lifeline", machineID())
	}
	return "/var/tmp/lifeline-" + strconv.Itoa(uid)
}

// passwd is uid's line in the password file, nil if there is none: users that
// only a directory service knows have none, and get a directory in /var/tmp.
func passwd(uid int) []string {
	text, err := os.ReadFile("/etc/passwd")
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), ":")
		if len(f) >= 6 && f[2] == strconv.Itoa(uid) {
			return f
		}
	}
	return nil
}

// UserName is uid's in the password file, "" if it isn't there.
func UserName(uid int) string {
	if f := passwd(uid); f != nil {
		return f[0]
	}
	return ""
}

func homeOf(uid int) string {
	if f := passwd(uid); f != nil {
		return f[5]
	}
	return ""
}

func homeFits(home string, uid int) bool {
	var st unix.Stat_t
	if !filepath.IsAbs(home) || unix.Stat(home, &st) != nil {
		return false
	}
	network, err := onNetwork(home)
	return st.Mode&unix.S_IFMT == unix.S_IFDIR && int(st.Uid) == uid && err == nil && network == ""
}

func machineID() string {
	if id, err := os.ReadFile("/etc/machine-id"); err == nil && len(strings.TrimSpace(string(id))) >= 8 {
		return strings.TrimSpace(string(id))
	}
	if host, err := os.Hostname(); err == nil && host != "" {
		return host
	}
	return "machine"
}

// dir is an opened, checked state directory.
type dir struct {
	path string
	// space is the path with its links resolved: two ways to write one
	// directory are one namespace.
	space string
}

func (d dir) lock(name string) string { return filepath.Join(d.path, key(name)+".lock") }
func (d dir) run(name string) string  { return filepath.Join(d.path, key(name)+".run") }
func (d dir) control(name string) string {
	k := key(name)
	return filepath.Join(d.path, k[len(k)-12:]+".ctl")
}
func (d dir) paused(name string) string { return filepath.Join(d.path, key(name)+".paused") }
func (d dir) journal(name string) (state, history string) {
	stem := filepath.Join(d.path, key(name))
	return stem + ".state", stem + ".history"
}

func (d dir) skipped(name string) string { return filepath.Join(d.path, key(name)+".skipped") }

// output gives the FIFO and the socket of a worker whose output is written
// down, and the link that leads to the log; see package clerk.
func (d dir) output(name string) (fifo, socket, log string) {
	stem, k := filepath.Join(d.path, key(name)), key(name)
	return stem + ".out", filepath.Join(d.path, k[len(k)-12:]+".clk"), stem + ".log"
}

// openDir is step 1: it makes the directory if there is none, and refuses one
// that anybody else could tamper with. There is no fallback: a guard that
// looks in another place when it doesn't like the first one guards nothing.
func openDir(path string, allowNFS bool) (dir, error) {
	if path == "" {
		path = DefaultDir()
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return dir{}, fmt.Errorf("cannot tell the state directory's full path: %w", err)
	}
	if err := checkDir(path, allowNFS); errors.Is(err, fs.ErrNotExist) {
		if err := makeDir(path); err != nil {
			return dir{}, fmt.Errorf("cannot make the state directory %s: %w; give another with --dir", path, reason(err))
		}
		if err := checkDir(path, allowNFS); err != nil {
			return dir{}, err
		}
	} else if err != nil {
		return dir{}, err
	}
	space, err := filepath.EvalSymlinks(filepath.Dir(path))
	if err != nil {
		return dir{}, fmt.Errorf("cannot resolve the state directory %s: %w", path, reason(err))
	}
	return dir{path: path, space: filepath.Join(space, filepath.Base(path))}, nil
}

func makeDir(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		if errors.Is(err, fs.ErrExist) { // a tick beside us was first
			return nil
		}
		return err
	}
	// Whatever the umask took away.
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if errors.Is(err, unix.EACCES) { // a umask of 0700 on our own directory
		return os.Chmod(path, 0o700)
	}
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Fchmod(fd, 0o700)
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
		return fmt.Errorf("the state directory %s is a symbolic link: refused; give the directory itself with --dir", path)
	case mode&unix.S_IFMT != unix.S_IFDIR:
		return fmt.Errorf("the state directory %s is not a directory: remove it, or give another with --dir", path)
	case int(st.Uid) != os.Geteuid():
		return fmt.Errorf("the state directory %s belongs to uid %d, not to uid %d: refused; give a directory of your own with --dir", path, st.Uid, os.Geteuid())
	case mode&0o022 != 0:
		return fmt.Errorf("the state directory %s may be written by others (mode %04o): refused; chmod 700 it, or give another with --dir", path, mode&0o7777)
	}
	if allowNFS {
		return nil
	}
	kind, err := onNetwork(path)
	if err != nil {
		return fmt.Errorf("cannot tell the file system of the state directory %s: %w", path, err)
	}
	if kind != "" {
		return fmt.Errorf("the state directory %s lies on %s, where a lock may be lost without notice: refused; give a local one with --dir, or insist with --allow-nfs", path, kind)
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
