package guard

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"lifeline/internal/identity"
)

// Journal is where to write down what happens; see package journal.
func (h *Hold) Journal() (state, history string) {
	stem := filepath.Join(h.guard.written(h.dir, h.Name), identity.Key(h.Name))
	return stem + stateFile, stem + historyFile
}

// Output is where the worker's output goes through, where it is written down;
// see package logger.
func (h *Hold) Output() (fifo, socket string) {
	return h.dir.output(h.Name)
}

// FailedOutput is where the logger keeps the end of what the last failed run
// printed; see package journal.
func (h *Hold) FailedOutput() string {
	return filepath.Join(h.guard.written(h.dir, h.Name), identity.Key(h.Name)+failedFile)
}

// SetLog notes where the worker's output is written down; "" for nowhere.
func (h *Hold) SetLog(path string) error {
	link := filepath.Join(h.guard.written(h.dir, h.Name), identity.Key(h.Name)+logLink)
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

// Control is the path of the socket where commands for the supervisor come in.
// Its name is short, because the address of a socket is limited to about a
// hundred bytes.
func (h *Hold) Control() string { return h.dir.control(h.Name) }

// Restored tells when files of the name had to be put back: the socket of
// Control may have gone with them.
func (h *Hold) Restored() <-chan struct{} { return h.restored }
