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

// Log says where lines go, and how large their file may grow.
type Log struct {
	Path    string // absolute
	MaxSize int64  // bytes; 0 for no rotation
	Keep    int    // the number of old files, FILE.1 the newest

	Compress bool        // compresses old files except FILE.1
	Mode     fs.FileMode // of the file; 0 means 0640 for a new file, and keeps an old file's mode
}

// Resolve follows the links from path to the file itself, which may not exist yet. The
// file is rotated, and the links stay.
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

// isDescriptor reports whether path is, or leads to, a process's own descriptor, such as
// /dev/stdout (proc_pid_fd(5)).
func isDescriptor(path string) bool {
	for range 40 { // as in Resolve
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

// Check opens the log once before the start, so that a wrong path is reported at once. A
// full disk is no error, because it may have room later.
func (l Log) Check() error {
	if isDescriptor(l.Path) {
		return fmt.Errorf("cannot log to %s, which is another file in the log process; leave out --log: what the "+
			"command prints goes there without it", l.Path)
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
		return fmt.Errorf("cannot open the log %s: its directory doesn't exist; make it, or give another with --log",
			l.Path)
	}
	return fmt.Errorf("cannot open the log %s: %w; give another with --log", l.Path, reason(err))
}

var errKind = errors.New("it is neither a regular file nor a device such as /dev/null")

func (l Log) openFile() (*os.File, error) {
	mode := l.Mode
	if mode == 0 {
		mode = 0o640
	}
	// Without O_NONBLOCK the open of a FIFO would wait for its reader.
	f, err := os.OpenFile(l.Path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|unix.O_NONBLOCK|unix.O_NOCTTY, mode)
	if err != nil {
		return nil, err
	}
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() && st.Mode()&fs.ModeCharDevice == 0 {
		f.Close()
		return nil, errors.Join(err, errKind)
	} else if l.Mode != 0 && st.Mode().IsRegular() && st.Mode().Perm() != l.Mode {
		_ = f.Chmod(l.Mode) // undoes the umask, and changes an old file's mode
	}
	return f, nil
}

// again is the pause after a failure, and the time between two checks whether another
// program (logrotate) has moved the file away.
const again = time.Second

// LogFile is an open log. Its methods may be called from several goroutines.
type LogFile struct {
	Log
	report func(text string)

	mu      sync.Mutex
	f       *os.File // nil while it can't be opened
	real    string   // its path, without links
	packing bool     // old files are being compressed
	rotated bool     // a rotation has left more old files to compress
	work    sync.WaitGroup
	size    int64
	regular bool
	midline bool // the last write ended within a line
	looked  time.Time
	hold    time.Time // no rotation before this time, because the last rotation failed
	stuck   bool      // a failed rotation has been reported
	trouble error     // why no write succeeds; nil while writes succeed
	since   time.Time
	retry   time.Time
	lost    int64 // bytes lost in this trouble
}

// OpenLog opens the log; after a failure it tries again at later writes. It calls report
// with a line for a person when the log can't be written, and when it can again.
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

// Write appends p. It waits for the disk alone.
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
			n = len(p) // the old file grows until it can be rotated
		}
		if done := l.put(p[:n]); done < n {
			l.lost += int64(len(p) - done)
			return
		}
		p = p[n:]
	}
}

// room returns how many bytes of p go into this file: whole lines, where possible. 0 asks
// for a rotation.
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
	return int(room) // a line longer than a file
}

// put writes p and notes an error. It returns how many bytes were written.
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

// fail notes that writes fail for now. It reports the first failure.
func (l *LogFile) fail(err error) {
	l.retry = time.Now().Add(again)
	if l.trouble == nil {
		l.since = time.Now()
		l.report(fmt.Sprintf("cannot write the log %s: %v; the command goes on, and what it prints is lost until "+
			"that is mended", l.Path, reason(err)))
	}
	l.trouble = err
}

// recover tries to write the log again, beginning with a note of what is missing.
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
		note += fmt.Sprintf("lifeline: %d bytes are missing here, since %s: %v\n", l.lost,
			l.since.Format(time.DateTime), reason(l.trouble))
	}
	before, mid := l.size, l.midline
	if l.put([]byte(note)) < len(note) {
		_ = l.f.Truncate(before) // repeated halves of the note would fill the disk
		l.size, l.midline = before, mid
		return false
	}
	l.report(fmt.Sprintf("the log %s can be written again; %d bytes are missing in it", l.Path, l.lost))
	l.trouble, l.lost = nil, 0
	return true
}

// look opens the log again when another program has moved or removed its file.
func (l *LogFile) look(now time.Time) {
	l.looked = now
	if !l.regular {
		return
	}
	if l.inPlace() {
		if st, err := l.f.Stat(); err == nil {
			l.size = st.Size() // other programs may write the file, or have cut it
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

// Close waits until old files are compressed, and closes the log.
func (l *LogFile) Close() {
	l.work.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.f != nil {
		_ = l.f.Close()
	}
}

// Trouble returns why writes fail at the moment; nil when they don't.
func (l *LogFile) Trouble() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.trouble
}

// reason strips the operation and the path, which the message already names.
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
