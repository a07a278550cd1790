package supervisor

import (
	"errors"
	"os"
	"path/filepath"

	"lifeline/internal/guard"
)

// A unix socket's file has a second name beside the first one, a hard link. A
// removed file can't be linked back (linkat(2)), and a new socket at its path
// would be one that the worker doesn't have: clients would wait there for ever.

// spare is that second name.
func (o *openSocket) spare() string {
	return filepath.Join(filepath.Dir(o.Address), "."+filepath.Base(o.Address)+".lifeline")
}

// hasFile reports whether clients find the socket by a path.
func (o *openSocket) hasFile() bool { return o.Network == "unix" && o.Address[0] != '@' }

// made notes the socket's file, and gives it its second name. A file system
// without hard links costs only the way back.
func (o *openSocket) made() {
	o.file, _ = os.Lstat(o.Address)
	if st, err := os.Lstat(o.spare()); err == nil && st.Mode().Type() == os.ModeSocket {
		_ = os.Remove(o.spare()) // of a lifeline that was killed
	}
	_ = os.Link(o.Address, o.spare())
}

// lost reports that the socket's file isn't in its place any more, so that
// clients can't find it.
func (o *openSocket) lost() bool {
	if !o.hasFile() {
		return false
	}
	now, err := os.Lstat(o.Address)
	return errors.Is(err, os.ErrNotExist) || err == nil && (o.file == nil || !os.SameFile(o.file, now))
}

// putBack gives the file its path again. What another program has put there
// stays.
func (o *openSocket) putBack() error {
	st, err := os.Lstat(o.spare())
	if err == nil && !os.SameFile(o.file, st) {
		err = os.ErrNotExist
	}
	if err != nil {
		return err
	}
	return os.Link(o.spare(), o.Address)
}

// forget takes away both names, where they are still ours.
func (o *openSocket) forget() {
	if !o.hasFile() || o.file == nil {
		return
	}
	for _, path := range []string{o.Address, o.spare()} {
		if now, err := os.Lstat(path); err == nil && os.SameFile(o.file, now) {
			_ = os.Remove(path)
		}
	}
}

// watch has removed ring when a socket's file may have gone.
func (s *sockets) watch() {
	s.unwatch()
	var files []string
	for i := range s.list {
		if o := &s.list[i]; o.hasFile() {
			files = append(files, o.Address)
		}
	}
	if files != nil {
		s.removed, s.stopWatch = guard.Watch(files...)
	}
}

func (s *sockets) unwatch() {
	if s.stopWatch != nil {
		s.stopWatch()
	}
	s.removed, s.stopWatch = nil, nil
}

// putBack puts back the files that have gone. One that can't be put back is told
// of once: a new generation gets a new socket.
func (s *sockets) putBack(warn func(string, ...any)) {
	for i := range s.list {
		o := &s.list[i]
		switch {
		case !o.lost():
			o.missed = false
		case o.putBack() == nil:
			warn("the socket file %s was removed; it is back", o.Address)
		case !o.missed:
			o.missed = true
			warn("the socket file %s was removed and cannot be put back; lifeline reload or restart makes a new one", o.Address)
		}
	}
}
