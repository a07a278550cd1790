package supervisor

import (
	"errors"
	"os"
	"path/filepath"

	"lifeline/internal/guard"
)

// A unix socket's file has a hard link beside it, from which a removed file is put back.
// Without that link the file couldn't be linked again (linkat(2)). On a new socket at the
// path clients would wait for ever, because the worker doesn't have the new socket.

// spare returns the path of the hard link.
func (o *openSocket) spare() string {
	return filepath.Join(filepath.Dir(o.Address), "."+filepath.Base(o.Address)+".lifeline")
}

// hasFile reports whether clients find the socket by a path.
func (o *openSocket) hasFile() bool { return o.Network == "unix" && o.Address[0] != '@' }

// made notes the socket's file and makes the hard link. Without hard links in the file
// system the file can't be put back; all else works.
func (o *openSocket) made() {
	o.file, _ = os.Lstat(o.Address)
	if st, err := os.Lstat(o.spare()); err == nil && st.Mode().Type() == os.ModeSocket {
		_ = os.Remove(o.spare()) // of a lifeline that was killed
	}
	_ = os.Link(o.Address, o.spare())
}

// lost reports whether the socket's file is no longer at its path, where clients look
// for it.
func (o *openSocket) lost() bool {
	if !o.hasFile() {
		return false
	}
	now, err := os.Lstat(o.Address)
	return errors.Is(err, os.ErrNotExist) || err == nil && (o.file == nil || !os.SameFile(o.file, now))
}

// putBack links the file to its path again. A file that another program has put there
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

// forget removes the file and its hard link, unless another file has replaced them.
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

// watch makes the channel removed ring when a socket's file may have gone.
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

// putBack puts back the files that have gone. A file that can't be put back is reported
// once; the next generation gets a new socket.
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
			warn("the socket file %s was removed and cannot be put back; lifeline reload or restart makes a new one",
				o.Address)
		}
	}
}
