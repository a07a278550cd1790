package output

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Log is where lines go, and how large it may grow.
type Log struct {
	Path    string // absolute
	MaxSize int64  // bytes; 0 for no rotation
	Keep    int    // the number of old files, FILE.1 the newest

	Compress bool        // old files but for FILE.1
	Mode     fs.FileMode // of the file; 0 for 0640 where it is made, and as it is else
}

// Resolve follows a link to the file that is to be written, which may not be there
// yet: that file is rotated, and the link stays.
func Resolve(path string) string {
	for range 40 { // path_resolution(7)
		to, err := os.Readlink(path)
		if err != nil {
			break
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(filepath.Dir(path), to)
		}
		path = to
	}
	return path
}

// isDescriptor reports that a path is, or leads to, a name for what a process has
// open itself, such as /dev/stdout (proc_pid_fd(5)).
func isDescriptor(path string) bool {
	for range 40 { // as Resolve
		dir := filepath.Dir(path)
		if dir == "/dev/fd" || strings.HasPrefix(path, "/dev/std") || strings.HasPrefix(dir, "/proc/") &&
			filepath.Base(dir) == "fd" {
			return true
		}
		to, err := os.Readlink(path)
		if err != nil {
			return false
		}
		if !filepath.IsAbs(to) {
			to = filepath.Join(dir, to)
		}
		path = to
	}
	return false
}

// Check opens the log once, before anything is started, so that a wrong path
// is told at once and not when there is something to log. A full disk is no
// reason: it may have room when there is.
func (l Log) Check() error {
	if isDescriptor(l.Path) {
		return fmt.Errorf("cannot log to %s, which is another file in the log process; leave out --log: what the command "+
			"prints "+
			"goes there without it", l.Path)
	}
	f, err := l.openFile()
	if _, missing := exec.LookPath("gzip"); err == nil && l.Compress && missing != nil {
		f.Close()
		return fmt.Errorf("cannot compress logs: there is no gzip on PATH; install it, or leave out --log-compress")
	}
	switch {
	case err == nil:
		return f.Close()
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("cannot open the log %s: its directory doesn't exist; make it, or give another with --log", l.Path)
	}
	return fmt.Errorf("cannot open the log %s: %w; give another with --log", l.Path, reason(err))
}

var errKind = errors.New("it is neither a regular file nor a device such as /dev/null")

func (l Log) openFile() (*os.File, error) {
	mode := l.Mode
	if mode == 0 {
		mode = 0o640
	}
	// O_NONBLOCK: a FIFO would wait for its reader.
	f, err := os.OpenFile(l.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK|unix.O_NOCTTY, mode)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() && st.Mode()&fs.ModeCharDevice == 0 {
		f.Close()
		return nil, errors.Join(err, errKind)
	} else if l.Mode != 0 && st.Mode().IsRegular() && st.Mode().Perm() != l.Mode {
		_ = f.Chmod(l.Mode) // whatever the umask took away, and where it was there before
	}
	return f, nil
}

// How long until what went wrong is tried again, and how often a look is taken
// at whether another program (logrotate) has moved the file away.
const again = time.Second

// LogFile is an open log. Its methods may be called from several goroutines.
type LogFile struct {
	Log
	report func(text string)

	mu      sync.Mutex
	f       *os.File // nil while it can't be opened
	real    string   // its path, without links
	packing bool     // old files are being compressed
	rotated bool     // and there are more of them
	work    sync.WaitGroup
	size    int64
	regular bool
	midline bool // what was written last didn't end a line
	looked  time.Time
	hold    time.Time // no rotation before this: the last one failed
	stuck   bool      // the same failure has been reported
	trouble error     // nothing can be written: why
	since   time.Time
	retry   time.Time
	lost    int64 // bytes, in this trouble
}

// OpenLog opens the log, or keeps trying to. report gets a line for a person
// when it can't be written, and when it can again.
func OpenLog(l Log, report func(text string)) *LogFile {
	f := &LogFile{Log: l, report: report}
	f.open()
	return f
}

func (l *LogFile) open() bool {
	f, err := l.openFile()
	if err != nil {
		l.fail(err)
		return false
	}
	l.take(f)
	return true
}

func (l *LogFile) take(f *os.File) {
	if l.f != nil {
		_ = l.f.Close()
	}
	l.f, l.size, l.looked, l.midline, l.real = f, 0, time.Now(), false, Resolve(l.Path)
	if st, err := f.Stat(); err == nil {
		l.size, l.regular = st.Size(), st.Mode().IsRegular()
	}
	if l.size > 0 && l.regular {
		l.midline = !endsLine(l.Path, l.size)
	}
}

func endsLine(path string, size int64) bool {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return true
	}
	defer f.Close()
	var last [1]byte
	_, err = f.ReadAt(last[:], size-1)
	return err != nil || last[0] == '\n'
}

// Write appends p. It waits for the disk, and for nothing else.
func (l *LogFile) Write(p []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if l.trouble != nil && (now.Before(l.retry) || !l.recover()) {
		l.lost += int64(len(p))
		return
	}
	if now.Sub(l.looked) >= again {
		l.look(now)
	}
	for len(p) > 0 {
		n := l.room(p)
		if n == 0 && !l.rotate(now) {
			n = len(p) // on in the old file, until it can be rotated
		}
		if done := l.put(p[:n]); done < n {
			l.lost += int64(len(p) - done)
			return
		}
		p = p[n:]
	}
}

// room is how much of p goes into this file: whole lines, where that is
// possible. 0 asks for a rotation.
func (l *LogFile) room(p []byte) int {
	if l.MaxSize <= 0 || !l.regular || time.Now().Before(l.hold) {
		return len(p)
	}
	room := l.MaxSize - l.size
	if int64(len(p)) <= room {
		return len(p)
	}
	if room <= 0 {
		return 0
	}
	if n := bytes.LastIndexByte(p[:room], '\n') + 1; n > 0 {
		return n
	}
	if !l.midline && l.size > 0 {
		return 0 // the line begins in the next file
	}
	return int(room) // a line that no file is large enough for
}

// put writes, and notes what went wrong.
func (l *LogFile) put(p []byte) (done int) {
	for done < len(p) {
		n, err := l.f.Write(p[done:])
		done += max(n, 0)
		if err != nil {
			l.fail(err)
			break
		}
	}
	l.size += int64(done)
	if done > 0 {
		l.midline = p[done-1] != '\n'
	}
	return done
}

// fail notes that nothing can be written for now. The first time it is told.
func (l *LogFile) fail(err error) {
	l.retry = time.Now().Add(again)
	if l.trouble == nil {
		l.since = time.Now()
		l.report(fmt.Sprintf("cannot write the log %s: %v; the command goes on, and what it prints is lost until that is "+
			"mended", l.Path, reason(err)))
	}
	l.trouble = err
}

// recover tries whether the log can be written again; the first thing in it is
// a note of what is missing.
func (l *LogFile) recover() bool {
	if l.f == nil || !l.inPlace() {
		if !l.open() {
			return false
		}
	}
	note := ""
	if l.midline {
		note = "\n"
	}
	if l.lost > 0 {
		note += fmt.Sprintf("lifeline: %d bytes are missing here, since %s: %v\n", l.lost, l.since.Format(time.DateTime),
			reason(l.trouble))
	}
	before, mid := l.size, l.midline
	if l.put([]byte(note)) < len(note) {
		_ = l.f.Truncate(before) // half a note again and again would fill what there is
		l.size, l.midline = before, mid
		return false
	}
	l.report(fmt.Sprintf("the log %s can be written again; %d bytes are missing in it", l.Path, l.lost))
	l.trouble, l.lost = nil, 0
	return true
}

// look follows a log that another program has moved away or removed.
func (l *LogFile) look(now time.Time) {
	l.looked = now
	if !l.regular {
		return
	}
	if l.inPlace() {
		if st, err := l.f.Stat(); err == nil {
			l.size = st.Size() // others may write it, or have cut it
		}
		return
	}
	if f, err := l.openFile(); err == nil {
		l.take(f)
	}
}

// inPlace reports whether the path still names the file that is open.
func (l *LogFile) inPlace() bool {
	mine, err := l.f.Stat()
	if err != nil {
		return false
	}
	at, err := os.Stat(l.Path)
	return err == nil && os.SameFile(mine, at)
}

// rotate puts a new file in place. The new one is made first: when there is no
// room for it, everything stays as it is. Others may write and rotate the same
// log: the lock is on the file that is to be moved. Who doesn't get it writes
// on, and comes back to it.
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
	l.take(fresh) // closes the old one, and with it its lock
	l.stuck = false
	if l.rotated = l.Compress; l.Compress && !l.packing {
		l.packing = true
		l.work.Go(l.compressAll) // the command isn't held up for it
	}
	return true
}

// shift renames FILE to FILE.1, that to FILE.2, and so on.
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
	_ = fresh.Chmod(st.Mode().Perm()) // whatever the umask took away
	old := func(n int) string { return fmt.Sprintf("%s.%d", path, n) }
	remove := func(n int) (found bool) {
		for _, ending := range endings {
			found = os.Remove(old(n)+ending) == nil || found
		}
		return found
	}
	for n := l.Keep + 1; remove(n); n++ { // of a time when more were kept
	}
	last := 1 // the first number that is free, or falls off the end
	for last < l.Keep && isThere(old(last)) {
		last++
	}
	if at, err := os.Lstat(old(1)); err == nil && os.SameFile(at, st) {
		last = 0 // a logger was killed in the middle of this
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
		// By a link: the path must never be without a file. Who else writes this
		// log would make one there, and what that gets is lost with it.
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

// isThere reports whether an old file is, compressed or not.
func isThere(name string) bool {
	for _, ending := range endings {
		if _, err := os.Lstat(name + ending); err == nil {
			return true
		}
	}
	return false
}

// compressAll compresses old files until there are no more of them.
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

// Close closes the log, when old files are compressed.
func (l *LogFile) Close() {
	l.work.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		_ = l.f.Close()
	}
}

// Trouble is why nothing can be written at the moment, nil for nothing.
func (l *LogFile) Trouble() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trouble
}

// reason strips the operation and path that the message names already.
func reason(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return path.Err
	case errors.As(err, &link):
		return fmt.Errorf("cannot rename %s: %w", link.Old, link.Err)
	}
	return err
}
