package output

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// packed is the ending of a compressed file's name.
const packed = ".gz"

// endings are the endings that an old file's name may have.
var endings = []string{"", packed}

// runGzip runs gzip(1) from one file to another. Package compress/gzip would be
// initialised in every tick.
func runGzip(from, to *os.File, options ...string) error {
	cmd := exec.Command("gzip", append(options, "-c")...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = from, to, nil
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("gzip: %w", err)
	}
	return nil
}

// compress packs the old files except FILE.1, which another writer of this log may still
// have open.
func (l *LogFile) compress(path string) {
	for n := 2; n <= l.Keep; n++ {
		if err := l.pack(path, n); err != nil {
			l.report(fmt.Sprintf("cannot compress %s.%d: %v; it stays as it is", path, n, reason(err)))
			return
		}
	}
}

// pack compresses FILE.n into a temporary file, and then replaces FILE.n by it. A rotation
// meanwhile may have moved FILE.n to FILE.n+1, so pack looks for the file again.
func (l *LogFile) pack(path string, n int) error {
	old, err := os.Open(fmt.Sprintf("%s.%d", path, n))
	if err != nil {
		return nil // no such file
	}
	defer old.Close()
	st, err := old.Stat()
	if err != nil || !st.Mode().IsRegular() {
		return err
	}
	temp := filepath.Join(filepath.Dir(path), "."+filepath.Base(path)+packed)
	to, err := os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer to.Close()
	if unix.Flock(int(to.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		return nil // another process that writes this log is compressing
	}
	defer os.Remove(temp) // after a success temp has been renamed
	if err := to.Truncate(0); err != nil {
		return err
	}
	_ = to.Chmod(st.Mode().Perm())
	if owner, ok := st.Sys().(*syscall.Stat_t); ok {
		_ = to.Chown(int(owner.Uid), int(owner.Gid))
	}
	if err := runGzip(old, to); err != nil {
		return err
	}
	_ = os.Chtimes(temp, st.ModTime(), st.ModTime())
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f == nil || unix.Flock(int(l.f.Fd()), unix.LOCK_EX) != nil { // no rotation now
		return nil
	}
	defer func() { _ = unix.Flock(int(l.f.Fd()), unix.LOCK_UN) }()
	for n := n; n <= l.Keep; n++ {
		name := fmt.Sprintf("%s.%d", path, n)
		if at, err := os.Lstat(name); err == nil && os.SameFile(at, st) {
			if err := os.Rename(temp, name+packed); err != nil {
				return err
			}
			return os.Remove(name)
		}
	}
	return nil // a rotation has removed the file
}

// unpack returns the text of a compressed file, as an unnamed file.
func unpack(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := os.CreateTemp("", "lifeline-logs-*")
	if err != nil {
		return nil, err
	}
	_ = os.Remove(text.Name())
	if err := runGzip(f, text, "-d"); err != nil {
		text.Close()
		return nil, err
	}
	return text, nil
}
