package guard

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
)

// These are what a supervisor asks of the hold.

// NewGeneration makes the id of another worker.
func (h *Hold) NewGeneration() string { return newGeneration() }

// Environ is the environment of a generation's stub, marker first: a marker at
// the front is seen even when only a part of the block can be read.
func (h *Hold) Environ(generation string, rest []string) []string {
	self := procscan.Self()
	return append([]string{
		EnvName + "=" + h.Name, EnvSpace + "=" + h.dir.space, EnvID + "=" + generation, EnvStub + "=1",
		fmt.Sprintf("%s=%d:%d", EnvSupervisor, self.PID, self.Start),
	}, rest...)
}

// Journal is where to write down what happens; see package journal.
func (h *Hold) Journal() (state, history string) { return h.dir.journal(h.Name) }

// Output is where the worker's output goes through, where it is written down;
// see package clerk.
func (h *Hold) Output() (fifo, socket string) {
	fifo, socket, _ = h.dir.output(h.Name)
	return fifo, socket
}

// SetLog notes where the worker's output is written down, for those who want
// to read it; "" for nowhere.
func (h *Hold) SetLog(path string) error {
	_, _, link := h.dir.output(h.Name)
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

// Leftovers takes a stub's remark: generations of the name whose worker and
// supervisor have both ended, and of which something is left. They are given
// back where the policy is to end them.
func (h *Hold) Leftovers(remark string) []string {
	if h.guard.Leftovers == KeepLeftovers || h.guard.Leftovers == FollowLeftovers {
		return nil
	}
	return strings.Fields(remark)
}

// RunFD is the descriptor of K.run, for the worker to inherit; 0 for none.
func (h *Hold) RunFD() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil {
		return 0
	}
	return int(h.run.Fd())
}

// Note tells the stub what to do; sure, that there is nothing to do, so that no
// stub is needed. The first one writes itself into the record and looks around.
// A later one need not look, or exist, while both files have been locked by this
// very process, and in their place, since the first did: whoever else wants to
// start must lock them first; whether that is still so the child itself looks,
// once it is seen ([Hold.Place]). That is what makes a respawn cheap. One that
// starts beside a worker, in a reload, leaves the record alone: the name stays
// with the other until it has proved itself.
func (h *Hold) Note(first, beside bool) (note string, sure bool) {
	switch {
	case beside:
		return noteBeside, false
	case without.scan:
		return noteTrust, false
	case first && h.fresh:
		return noteSearch + " " + h.Previous, false
	case first || !h.Intact() || !h.holds():
		return noteScan + " " + h.Previous, false
	}
	_, dev, ino := h.Place() // K.run is one of those that are in their place
	if !h.Intact() {         // it has just been put back, so this is another one
		return noteScan + " " + h.Previous, false
	}
	return fmt.Sprintf("%s %d:%d", noteVouch, dev, ino), true
}

// Place is K.run's path and the file that it has to name for [Hold.Note]'s sure
// to be true; asked for before Note is. While that is so, whoever takes K.lock
// finds the worker in the record.
func (h *Hold) Place() (path string, dev, ino uint64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil {
		return "", 0, 0
	}
	path = h.dir.run(h.Name)
	if st, err := h.run.Stat(); err == nil {
		sys := st.Sys().(*syscall.Stat_t)
		dev, ino = uint64(sys.Dev), sys.Ino
	}
	return path, dev, ino
}

// holds: K.run is locked by this process, so that nobody else writes the record.
func (h *Hold) holds() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.held
}

// Draft is the record of a worker that is about to be, which writes it itself
// before it begins: text, into file, which the caller closes. The ten digits of
// its pid, a space, and the twenty of its start time are at worker, the eight of
// the checksum of all before them at sum. nil: there is nothing to write into.
func (h *Hold) Draft(generation string) (file *os.File, text []byte, worker, sum int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.rec == nil || !h.held {
		return nil, nil, 0, 0
	}
	// One of its own: the files may be put back meanwhile, and their numbers go
	// to others.
	fd, err := unix.FcntlInt(h.rec.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, nil, 0, 0
	}
	rec := h.record()
	rec.generation = generation
	text, worker, sum = rec.draft(strings.Repeat("0", 10), strings.Repeat("0", 20))
	return os.NewFile(uintptr(fd), "record"), text, worker, sum
}

// Inherited is what lives already: see [Hold.Orphan] and [Hold.Follow].
func (h *Hold) Inherited() (worker procscan.ID, generation string, follow bool) {
	return h.Orphan, h.Previous, h.Follow
}

// Yielded takes a stub's word that it stepped back. adopt is an orphan to
// watch over, of the generation given; otherwise the error is a *[HeldError].
func (h *Hold) Yielded(text string) (adopt procscan.ID, generation string, err error) {
	y, ok := ParseYield(text)
	if !ok {
		return procscan.ID{}, "", fmt.Errorf("cannot understand the starting process: %q", text)
	}
	held := &HeldError{Name: h.Name, Holder: Holder{Worker: y.To, Generation: y.Generation}}
	if !y.Orphan {
		h.SetWorker("", procscan.ID{})
		return procscan.ID{}, "", held
	}
	h.SetWorker(y.Generation, y.To) // whoever comes next finds it in the record
	if h.guard.Orphans == Terminate {
		return procscan.ID{}, "", held
	}
	return y.To, y.Generation, nil
}

// Control is the path of the socket where commands for the supervisor come in.
// Its name is short, because the address of a socket is limited to about a
// hundred bytes.
func (h *Hold) Control() string { return h.dir.control(h.Name) }

// Restored tells when files of the name had to be put back: the socket of
// Control may have gone with them.
func (h *Hold) Restored() <-chan struct{} { return h.restored }
