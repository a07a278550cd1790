// Package engine is what lifeline-remote needs of a coordination service, and
// no more. The deadlines, the killing, the retries and their jitter are
// lifeline-remote's own, once for all engines.
//
//	e, err := etcd.Open(ctx, url)         // *Refused: it will never work like this
//	ttl, err := e.Join(ctx, Member{…})     // a session: stand by
//	grant, err := e.Acquire(ctx)           // *Taken: not now
//	ttl, err = e.Renew(ctx)                // ErrLost: the session, and with it the place
//	err = e.Release(ctx)                   // gives the place back and stays a member
//	err = e.Leave(ctx)
package engine

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Engine is one connection to a cluster, for one name on one node. Its methods
// are called one at a time, but for Close.
type Engine interface {
	// Join begins a session, which lasts for the TTL that was granted, counted
	// from before the call, and from then on by Renew. Whoever was in a session
	// before is in a new one.
	Join(ctx context.Context, m Member) (ttl time.Duration, err error)
	// Renew lengthens the session. ErrLost: there is none any more.
	Renew(ctx context.Context) (ttl time.Duration, err error)
	// Acquire takes a place of the name for the session: one in m.Slots.
	// Asking again for what one has gives the same or a higher fence.
	Acquire(ctx context.Context) (Grant, error)
	// Release gives the place back and keeps the session.
	Release(ctx context.Context) error
	// Leave ends the session at once.
	Leave(ctx context.Context) error
	// Look tells how a name stands; "" for all names.
	Look(ctx context.Context, name string) ([]State, error)
	// Wish asks that a node get the name, for so long; "" takes a wish back.
	Wish(ctx context.Context, name, node string, lasts time.Duration) error
	// Claim moves the mark of the name's ticks from one to another, if it is
	// still what it was, and the session still has a place. ErrClaimed: it isn't.
	Claim(ctx context.Context, from, to Mark) error
	// Mark reads it.
	Mark(ctx context.Context, name string) (Mark, error)
	// Changes has a value when something about the name may have changed.
	Changes() <-chan struct{}
	Close()
}

// Member is who stands by.
type Member struct {
	Name, Node string
	TTL        time.Duration
	Slots      int
}

// Grant is a place that was given.
type Grant struct {
	Fence uint64
}

// State is one name.
type State struct {
	Name    string
	Members []Status
	Wish    string // the node that is to have it; "" for none
	Mark    Mark
}

// Status is one member.
type Status struct {
	ID    string // of the session
	Node  string
	Since time.Time // when it came, or when it was granted its place
	Slot  int       // -1 for one that stands by
	Fence uint64
	Mine  bool // this session
	TTL   time.Duration
}

// Mark is how far the ticks of a name have been run.
type Mark struct {
	Claimed time.Time // the latest that was begun; zero: none ever
	Done    time.Time // the latest that ended
	Skipped int64     // those that were begun, never ended, and not run again
}

// Equal compares by instant.
func (m Mark) Equal(o Mark) bool {
	return m.Claimed.Equal(o.Claimed) && m.Done.Equal(o.Done) && m.Skipped == o.Skipped
}

// ErrLost: the session has ended, and whatever it held is another's.
var ErrLost = errors.New("the lease has ended")

// ErrClaimed: somebody else has moved the mark.
var ErrClaimed = errors.New("the tick is another node's")

// Taken: there is no place free. After is when it is worth asking again if
// nothing is heard before, 0 where the engine can't tell.
type Taken struct{ After time.Duration }

func (*Taken) Error() string { return "taken" }

// Refused is what doesn't get better by itself: lifeline ends with Code and
// says Text.
type Refused struct {
	Code int
	Text string
}

func (r *Refused) Error() string { return r.Text }

// Refuse makes a Refused with lifeline's code for "it failed, and nothing was
// started".
func Refuse(format string, args ...any) error { return &Refused{125, fmt.Sprintf(format, args...)} }

// Misused is a refusal for what the command line says.
func Misused(format string, args ...any) error { return &Refused{64, fmt.Sprintf(format, args...)} }
