package guard

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"lifeline/internal/identity"
)

// Journal returns the paths of the files in which to write down what happens; see
// package journal.
func (h *Hold) Journal() (state, history string) {
	stem := filepath.Join(h.guard.writeDir(h.dir, h.Name), identity.Key(h.Name))
	return stem + stateFile, stem + historyFile
}

// Output returns the FIFO and the socket through which the worker's output reaches
// the log; see package logger.
func (h *Hold) Output() (fifo, socket string) {
	return h.dir.output(h.Name)
}

// FailedOutput returns the path at which the logger keeps the end of what the last
// failed run printed; see package journal.
func (h *Hold) FailedOutput() string {
	return filepath.Join(h.guard.writeDir(h.dir, h.Name), identity.Key(h.Name)+failedFile)
}

// SetLog notes the path of the worker's log; "" for none.
func (h *Hold) SetLog(path string) error {
	link := filepath.Join(h.guard.writeDir(h.dir, h.Name), identity.Key(h.Name)+logLink)
	if now, err := os.Readlink(link); err == nil && now == path {
		return nil
	}
	if err := os.Remove(link); path == "" || err != nil && !errors.Is(err, fs.ErrNotExist) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	return os.Symlink(path, link)
}

// Control returns the path of the socket where the supervisor takes commands. The
// path is short, because a socket's address has about a hundred bytes (unix(7)).
func (h *Hold) Control() string { return h.dir.control(h.Name) }

// Restored receives a value after files of the name were put back. The socket of
// Control may have gone with these files.
func (h *Hold) Restored() <-chan struct{} { return h.restored }
