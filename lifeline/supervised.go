package lifeline

import (
	"fmt"

	"lifeline/procscan"
)

// These are what a supervisor asks of the hold.

// Environ is the environment of the stub, marker first: a marker at the front
// is seen even when only a part of the block can be read.
func (h *Hold) Environ(rest []string) []string {
	self := procscan.Self()
	return append([]string{
		EnvName + "=" + h.Name, EnvSpace + "=" + h.dir.space, EnvID + "=" + h.Generation(), EnvStub + "=1",
		fmt.Sprintf("%s=%d:%d", EnvSupervisor, self.PID, self.Start),
	}, rest...)
}

// Marker is the variable that everything of the present generation carries.
func (h *Hold) Marker() (name, value string) { return EnvID, h.Generation() }

// RunFD is the descriptor of K.run, for the worker to inherit; 0 for none.
func (h *Hold) RunFD() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.run == nil {
		return 0
	}
	return int(h.run.Fd())
}

// Note tells the stub whether to look around. The first one must. A later one
// need not while both files have been locked by this very process, and in
// their place, since the first did: whoever else wants to start must lock them
// first. That is what makes a respawn cheap.
func (h *Hold) Note(first bool) string {
	switch {
	case without.scan:
		return noteVouch
	case first || !h.Intact():
		return noteScan + " " + h.Previous
	}
	return noteVouch
}

// Inherited is what lives already: see [Hold.Orphan] and [Hold.Follow].
func (h *Hold) Inherited() (worker procscan.ID, follow bool) { return h.Orphan, h.Follow }

// Yielded takes a stub's word that it stepped back. adopt is an orphan to
// watch over; otherwise the error is a *[HeldError].
func (h *Hold) Yielded(text string) (adopt procscan.ID, err error) {
	y, ok := ParseYield(text)
	if !ok {
		return procscan.ID{}, fmt.Errorf("cannot understand the starting process: %q", text)
	}
	if !y.Orphan {
		h.SetWorker(procscan.ID{})
		return procscan.ID{}, &HeldError{Name: h.Name, Holder: Holder{Worker: y.To, Generation: y.Generation}}
	}
	h.mu.Lock()
	if y.Generation != "" {
		h.generation = y.Generation
	}
	h.mu.Unlock()
	h.SetWorker(y.To) // whoever comes next finds it in the record
	if h.guard.Orphans == Terminate {
		return procscan.ID{}, &HeldError{Name: h.Name, Holder: Holder{Worker: y.To, Generation: y.Generation}}
	}
	return y.To, nil
}

// Control is the path of the socket where commands for the supervisor come in.
// Its name is short, because the address of a socket is limited to about a
// hundred bytes.
func (h *Hold) Control() string { return h.dir.control(h.Name) }
