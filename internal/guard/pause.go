package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/identity"
	"lifeline/internal/statedir"
)

// Pause keeps name down until the given time, or until Resume when the time is
// zero. Ticks exit without starting anything.
func (g Guard) Pause(name string, until time.Time) error {
	d, err := g.forName(name)
	if err != nil {
		return err
	}
	text := "forever\n"
	if !until.IsZero() {
		text = until.UTC().Format(time.RFC3339Nano) + "\n"
	}
	m := g.memory(d)
	if m.path != m.old {
		if err := g.openMemory(); err != nil {
			return fmt.Errorf("cannot pause: %w", err)
		}
	}
	path := filepath.Join(m.path, identity.Key(name)+pausedFile)
	fresh, err := os.CreateTemp(m.path, "."+filepath.Base(path)+"-*")
	if err != nil {
		return fmt.Errorf("cannot pause: cannot write in %s: %w", m.path, reason(err))
	}
	_, err = fresh.WriteString(text)
	if err = errors.Join(err, statedir.Share(fresh), fresh.Close()); err == nil {
		err = os.Rename(fresh.Name(), path)
	}
	if err != nil {
		_ = os.Remove(fresh.Name())
		return fmt.Errorf("cannot pause: cannot write %s: %w", path, reason(err))
	}
	return nil
}

// Resume ends a pause; was is false when there was none.
func (g Guard) Resume(name string) (was bool, err error) {
	d, err := g.forName(name)
	if err != nil {
		return false, err
	}
	path := g.memory(d).file(name, pausedFile)
	_, was, _ = pausedUntil(path)
	if err := removeAll(path); err != nil {
		return was, fmt.Errorf("cannot resume: %w", err)
	}
	return was, nil
}

// PausedUntil tells whether name is paused, and until when. The time is zero for a
// pause until Resume.
func (g Guard) PausedUntil(name string) (until time.Time, paused bool, err error) {
	d, err := g.forName(name)
	if err != nil {
		return time.Time{}, false, err
	}
	return pausedUntil(g.memory(d).file(name, pausedFile))
}

// PausedSince returns when the pause of name began or was last changed; zero
// without a pause.
func (g Guard) PausedSince(name string) time.Time {
	d, err := g.forName(name)
	if err != nil {
		return time.Time{}
	}
	info, err := os.Lstat(g.memory(d).file(name, pausedFile))
	if err != nil {
		return time.Time{}
	}
	return info.ModTime()
}

func (g Guard) forName(name string) (dir, error) {
	if err := CheckName(name); err != nil {
		return dir{}, err
	}
	return openDir(g.Dir, g.AllowNFS)
}

// pausedUntil reads a pause file. A file that can't be parsed pauses, because
// an operator asked for a pause. A file whose time has passed has no effect. A
// file that can't be read is an error, because as a pause it would keep the name
// down silently.
func pausedUntil(path string) (until time.Time, paused bool, err error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, false, nil
	}
	if err != nil {
		return time.Time{}, false, fmt.Errorf("cannot tell whether it is paused: cannot open %s: %w", path, reason(err))
	}
	defer f.Close()
	buf := make([]byte, 64)
	n, _ := f.Read(buf)
	until, err = time.Parse(time.RFC3339Nano, strings.TrimSpace(string(buf[:n])))
	if err != nil {
		return time.Time{}, true, nil
	}
	return until, time.Now().Before(until), nil
}
