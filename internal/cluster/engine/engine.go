// Package engine is the little that lifeline-remote needs of a coordination
// service. The deadlines, the killing, the retries and their jitter are
// lifeline-remote's own, once for all engines.
//
//	e, err := etcd.Open(ctx, url)         // *Refused: it will never work like this
//	ttl, err := e.Join(ctx, Member{…})     // a session: stand by
//	grant, err := e.Acquire(ctx)           // *Taken: not now
//	ttl, err = e.Renew(ctx)                // ErrLost: the session, and with it the slot
//	err = e.Release(ctx)                   // gives the slot back and stays a member
//	err = e.Leave(ctx)
package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Engine is one connection to a cluster, for one name on one node. Its methods
// are called one at a time, except Close.
type Engine interface {
	// Join begins a session, which lasts for the TTL that was granted, counted
	// from before the call, and from then on by Renew. A session that was held
	// before is replaced by the new one.
	Join(ctx context.Context, m Member) (ttl time.Duration, err error)
	// Renew lengthens the session. ErrLost: there is none any more.
	Renew(ctx context.Context) (ttl time.Duration, err error)
	// Acquire takes a slot of the name for the session: one in m.Slots. The
	// fence is higher than above. A session that asks again for its slot gets
	// the same or a higher fence. The error is Taken where the engine isn't the
	// one that Look has seen last.
	Acquire(ctx context.Context, above uint64) (Grant, error)
	// Release gives the slot back and keeps the session.
	Release(ctx context.Context) error
	// Leave ends the session at once.
	Leave(ctx context.Context) error
	// Look tells how a name stands; "" for all names.
	Look(ctx context.Context, name string) (View, error)
	// Raise gives back what an engine that went back in time has forgotten: it
	// raises fence and mark to floor where they are lower.
	Raise(ctx context.Context, name string, floor Floor) error
	// Clock is the time of day at the engine. Where the engine doesn't tell it, a
	// session writes down this node's, wall, and compares it with the other nodes'.
	// It is called every ClockEvery, then.
	Clock(ctx context.Context, wall func() time.Time) (Clock, error)
	// Drain keeps a node from taking a lease for the duration, which is Always or
	// Never, too. Look tells who is drained.
	Drain(ctx context.Context, node string, lasts time.Duration) error
	// Tell writes down how much this node's clock is ahead of the engine's, beside
	// the session.
	Tell(ctx context.Context, ahead time.Duration) error
	// Forget removes all of a name, except what keeps its fences rising. It
	// refuses while a node stands by for the name or holds it, and waits until
	// that is certain.
	Forget(ctx context.Context, name string) error
	// Wish asks that a node get the name, and stands for the duration; "" takes
	// a wish back.
	Wish(ctx context.Context, name, node string, lasts time.Duration) error
	// Claim moves the mark of the name's ticks from one to another. It requires
	// that the mark is still from, and that the session still has a slot.
	// Otherwise it returns ErrClaimed. With a run it writes that down, too, where
	// it can.
	Claim(ctx context.Context, from, to Mark, run *Run) error
	// Runs are the latest scheduled runs of a name, the latest one first.
	Runs(ctx context.Context, name string) ([]Run, error)
	// Share writes how the name stands on this node, beside the session. It
	// outlives the session.
	Share(ctx context.Context, text []byte) error
	// Shared are what all nodes have shared, by name and node.
	Shared(ctx context.Context) ([]Shared, error)
	// Mark reads the mark.
	Mark(ctx context.Context, name string) (Mark, error)
	// Reconnect is called after a failure and before the next call. The
	// connection may be stale, or the address, a secret or a certificate may have
	// been replaced in its file.
	Reconnect(ctx context.Context) error
	// Test writes without changing anything: nil where leases can be given.
	Test(ctx context.Context) error
	// Reason finds out why a call had no answer in time; nil where that can't be
	// told. It may be called beside another call.
	Reason(ctx context.Context) error
	// Changes has a value when something about the name may have changed.
	Changes() <-chan struct{}
	Close()
}

// ClockEvery is the pause between two looks at the clocks.
const ClockEvery = 10 * time.Second

// Clock is what a node's clock is compared with.
type Clock struct {
	At    time.Time // zero where it can't be told now
	Of    string    // whose it is, with the apostrophe
	Alone bool      // there is nothing to compare with
}

// Engines is the clock of an engine.
func Engines(at time.Time) Clock { return Clock{At: at, Of: "the engine's"} }

// Durations of a drain that have no end, and that end it.
const (
	Always time.Duration = 0
	Never  time.Duration = -1
)

// Member is a node that stands by.
type Member struct {
	Name, Node string
	TTL        time.Duration
	Slots      int
	Options    string // what all nodes must agree on
	Force      bool   // the options of all nodes are changed to these
}

// View is what Look sees at one moment.
type View struct {
	States []State
	// Drained are the nodes that are to take no lease.
	Drained []string
	// Epoch changes whenever the engine may have lost state: with each restart
	// as a whole, each promotion, each election.
	Epoch string
	// History is the identity of the engine's data. An engine with another
	// history has forgotten everything.
	History string
	// Revision never falls within the history of one engine.
	Revision uint64
}

// Floor is what never falls for a name, even where the engine has gone back.
type Floor struct {
	Fence uint64 `json:"fence"`
	Mark  Mark   `json:"mark"`
}

// Above reports that an engine with this state has forgotten part of the floor.
func (f Floor) Above(s State) bool { return f.Fence > s.Fence || f.Mark.Serial > s.Mark.Serial }

// Learn raises the floor to what a state shows.
func (f *Floor) Learn(s State) (risen bool) {
	if s.Mark.Serial > f.Mark.Serial || f.Mark.Serial == 0 && !f.Mark.Equal(s.Mark) {
		f.Mark, risen = s.Mark, true
	}
	for _, m := range s.Members {
		if m.Fence > f.Fence {
			f.Fence, risen = m.Fence, true
		}
	}
	return risen
}

// Grant is a slot that was given.
type Grant struct {
	Fence uint64
}

// State is one name.
type State struct {
	Name    string
	Members []Status
	Wish    string // the node that is to have it; "" for none
	Mark    Mark
	Fence   uint64 // the next grant has a higher one
}

// Status is one member.
type Status struct {
	ID    string // of the session
	Order uint64 // of joining: the lower one came first
	Node  string
	Since time.Time // when it came, or when it was granted its slot
	Slot  int       // -1 for one that stands by
	Fence uint64
	Mine  bool // this session
	TTL   time.Duration
	Ahead *time.Duration // its clock, of the engine's, as it has last told; nil where it hasn't
}

// Mark is how far the ticks of a name have been run.
type Mark struct {
	Claimed time.Time // the latest that was begun; zero: none ever
	Done    time.Time // the latest that ended
	Skipped int64     // those that were begun and didn't end, and are left so
	Serial  int64     // rises with every change of the mark, also with one that sets it back
}

// Equal compares by instant.
func (m Mark) Equal(o Mark) bool {
	return m.Claimed.Equal(o.Claimed) && m.Done.Equal(o.Done) && m.Skipped == o.Skipped && m.Serial == o.Serial
}

// KeptRuns is how many runs of a name are kept, at least. A run moves the mark
// twice or more often, and its place is the mark's serial.
const KeptRuns = 100

// Run is a scheduled run, as the engine keeps it for people.
type Run struct {
	Serial int64     `json:"serial"` // of the mark that claimed it
	Label  time.Time `json:"label"`
	Node   string    `json:"node"`
	Fence  uint64    `json:"fence"`
	Began  time.Time `json:"began"`          // by the node's clock
	Ended  time.Time `json:"ended,omitzero"` // zero while it runs, or where its end was never written
	Code   int       `json:"code"`
}

// Place is which of the kept runs it replaces.
func (r Run) Place() int64 { return r.Serial % (2 * KeptRuns) }

// ErrLost says that the session has ended, and that another node may have what
// it held.
var ErrLost = errors.New("the lease has ended")

// ErrClaimed says that another node has moved the mark.
var ErrClaimed = errors.New("the tick is another node's")

// Taken says that every slot is taken. After is when to ask again if no change
// is heard of before; 0 where the engine has no estimate.
type Taken struct{ After time.Duration }

func (*Taken) Error() string { return "taken" }

// Refused is an error that stays until an operator acts: lifeline ends with
// Code and says Text.
type Refused struct {
	Code int
	Text string
	// ReadOnly: the engine answers, and takes no writes of this node.
	ReadOnly bool
}

func (r *Refused) Error() string { return r.Text }

// Refuse makes a Refused with 125, lifeline's code for a failure of its own.
func Refuse(format string, args ...any) error {
	return &Refused{Code: 125, Text: fmt.Sprintf(format, args...)}
}

// ReadOnly is a refusal of writes by an engine that answers.
func ReadOnly(format string, args ...any) error {
	return &Refused{Code: 125, Text: fmt.Sprintf(format, args...), ReadOnly: true}
}

// Misused is a refusal for what the command line says.
func Misused(format string, args ...any) error {
	return &Refused{Code: 64, Text: fmt.Sprintf(format, args...)}
}

// Lives refuses to forget a name.
func Lives(name string, nodes []string) error {
	slices.Sort(nodes)
	return Refuse("%s: cannot forget it: it is alive on %s; run lifeline terminate %s there first", name,
		strings.Join(slices.Compact(nodes), ", "), name)
}

// Disagree refuses options that differ from those of the nodes that were there
// before.
func Disagree(theirs, ours string) error {
	return Misused("the other nodes run it with %s, this one with %s: give the same options on every node, or "+
		"--force-options once to change them for all", theirs, ours)
}
