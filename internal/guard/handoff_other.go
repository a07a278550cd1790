//go:build !linux

package guard

import (
	"errors"

	"lifeline/procscan"
)

// Handed is a hold on its way through execve.
type Handed struct {
	Lock, Run  int
	Generation string
	Worker     procscan.ID
	Sure       bool
}

var errNoHandOver = errors.New("a lifeline can't be replaced in place on this system")

// HandOver fails here, because the lock file's descriptor can't be found.
func (h *Hold) HandOver() (Handed, error) { return Handed{}, errNoHandOver }

// TakeBack does nothing, because nothing was handed over.
func (h *Hold) TakeBack(Handed) {}

// TakeUp returns an error.
func (g Guard) TakeUp(string, Handed) (*Hold, error) { return nil, errNoHandOver }
