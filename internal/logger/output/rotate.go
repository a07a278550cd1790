package output

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// rotate puts a new file in place. The new file is made first, so a full disk changes
// nothing. The lock on the old file excludes other processes that rotate the same log;
// a process without the lock writes on, and tries again later.
func (l *LogFile) rotate(now time.Time) bool {
	f := l.f
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		l.hold, l.looked = now.Add(10*time.Millisecond), time.Time{}
		return false
	}
	defer func() { _ = unix.Flock(int(f.Fd()), unix.LOCK_UN) }()
	if !l.inPlace() {
		l.look(now)
		return l.inPlace()
	}
	if l.size == 0 {
		return false
	}
	fresh, err := l.shift()
	if err != nil {
		l.hold = now.Add(again)
		if !l.stuck {
			l.stuck = true
			l.report(fmt.Sprintf("cannot rotate the log %s: %v; it grows on", l.Path, reason(err)))
		}
		return false
	}
	l.take(fresh) // closes the old file, which releases its lock
	l.stuck = false
	if l.rotated = l.Compress; l.Compress && !l.packing {
		l.packing = true
		l.work.Go(l.compressAll) // beside, so the command doesn't wait
	}
	return true
}

// shift renames FILE to FILE.1, FILE.1 to FILE.2, and so on.
func (l *LogFile) shift() (*os.File, error) {
	path := l.real
	temp := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.new-%d", filepath.Base(path), os.Getpid()))
	_ = os.Remove(temp)
	st, err := l.f.Stat()
	if err != nil {
		return nil, err
	}
	fresh, err := os.OpenFile(temp, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, st.Mode().Perm())
	if err != nil {
		return nil, err
	}
	_ = fresh.Chmod(st.Mode().Perm()) // undoes the umask
	old := func(n int) string { return fmt.Sprintf("%s.%d", path, n) }
	remove := func(n int) (found bool) {
		for _, ending := range endings {
			found = os.Remove(old(n)+ending) == nil || found
		}
		return found
	}
	for n := l.Keep + 1; remove(n); n++ { // left from a larger Keep
	}
	last := 1 // the first free number, or Keep, whose file is removed
	for last < l.Keep && isThere(old(last)) {
		last++
	}
	if at, err := os.Lstat(old(1)); err == nil && os.SameFile(at, st) {
		last = 0 // a logger was killed in the middle of a shift
	} else {
		remove(last)
	}
	for n := last - 1; n >= 1 && err == nil; n-- {
		for _, ending := range endings {
			if moved := os.Rename(old(n)+ending, old(n+1)+ending); moved != nil && !errors.Is(moved, fs.ErrNotExist) {
				err = moved
			}
		}
	}
	if err == nil && last > 0 && l.Keep > 0 {
		// A link keeps a file at the path all the time. Otherwise another writer of this
		// log could make a file there, which the rename below would remove.
		if os.Link(path, old(1)) != nil { // not on every file system
			err = os.Rename(path, old(1))
		}
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		fresh.Close()
		_ = os.Remove(temp)
		return nil, err
	}
	return fresh, nil
}

// isThere reports whether an old file exists, compressed or not.
func isThere(name string) bool {
	for _, ending := range endings {
		if _, err := os.Lstat(name + ending); err == nil {
			return true
		}
	}
	return false
}

// compressAll compresses old files until none is left to compress.
func (l *LogFile) compressAll() {
	for {
		l.mu.Lock()
		path, more := l.real, l.rotated
		l.rotated, l.packing = false, more
		l.mu.Unlock()
		if !more {
			return
		}
		l.compress(path)
	}
}
