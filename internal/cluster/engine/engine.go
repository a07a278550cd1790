// Package engine defines what lifeline-remote needs of a coordination service.
// lifeline-remote itself does the deadlines, the kills and the retries for all engines.
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
	// Join begins a session, which replaces the engine's last session. It lasts for the
	// granted TTL, counted from before the call of Join or of the last Renew.
	Join(ctx context.Context, m Member) (ttl time.Duration, err error)
	// Renew lengthens the session. ErrLost: the session has ended.
	Renew(ctx context.Context) (ttl time.Duration, err error)
	// Acquire takes one of m.Slots slots for the session. The fence is higher than
	// above. A session that asks again for its slot gets the same or a higher fence.
	// The error is Taken if every slot is taken, or if the engine has another history
	// or epoch than at the last Look.
	Acquire(ctx context.Context, above uint64) (Grant, error)
	// Release gives the slot back and keeps the session.
	Release(ctx context.Context) error
	// Leave ends the session at once.
	Leave(ctx context.Context) error
	// Look returns the state of a name; "" for all names.
	Look(ctx context.Context, name string) (View, error)
	// Raise raises fence and mark to floor where they are lower, because the engine has
	// gone back in time. See Mark.Over for the mark.
	Raise(ctx context.Context, name string, floor Floor) error
	// Clock returns the time of day at the engine. In an engine without a clock, the
	// session writes this node's time, wall, and compares it with the other nodes'. Such
	// an engine needs a call every ClockEvery.
	Clock(ctx context.Context, wall func() time.Time) (Clock, error)
	// Drain keeps a node from taking leases for the duration, or Always; Never ends the
	// drain. Look returns the drained nodes.
	Drain(ctx context.Context, node string, lasts time.Duration) error
	// Tell writes how far this node's clock is ahead of the engine's, beside the session.
	Tell(ctx context.Context, ahead time.Duration) error
	// Forget removes a name, except what keeps its fences rising. It refuses while a
	// node stands by for the name or holds it, and waits until that is certain.
	Forget(ctx context.Context, name string) error
	// Wish asks for the duration that a node get the name; "" takes the wish back.
	Wish(ctx context.Context, name, node string, lasts time.Duration) error
	// Claim moves the mark of the name's ticks. ErrClaimed: the mark isn't from any
	// more. ErrLost: the session has no slot. Claim also writes a run that isn't nil,
	// if it can.
	Claim(ctx context.Context, from, to Mark, run *Run) error
	// Runs returns the latest scheduled runs of a name, the latest run first.
	Runs(ctx context.Context, name string) ([]Run, error)
	// Share writes this node's status of the name, which outlives the session.
	Share(ctx context.Context, text []byte) error
	// Shared returns the statuses that all nodes have shared.
	Shared(ctx context.Context) ([]Shared, error)
	// Mark returns the mark of a name's ticks.
	Mark(ctx context.Context, name string) (Mark, error)
	// Reconnect is called after a failure and before the next call. The
	// connection may be stale, or the address, a secret or a certificate may have
	// been replaced in its file.
	Reconnect(ctx context.Context) error
	// Test writes without changing anything: nil where leases can be given.
	Test(ctx context.Context) error
	// Reason returns why a call had no answer in time; nil if that is unknown. It may be
	// called during another call.
	Reason(ctx context.Context) error
	// Changes has a value when something about the name may have changed.
	Changes() <-chan struct{}
	Close()
}

// ClockEvery is the pause between two comparisons of the clocks.
const ClockEvery = 10 * time.Second

// Clock is the clock that a node's clock is compared with.
type Clock struct {
	At    time.Time // zero if the time is unknown
	Of    string    // the owner with an apostrophe: "the engine's"
	Alone bool      // no other clock is there to compare with
}

// Engines returns the clock of an engine.
func Engines(at time.Time) Clock { return Clock{At: at, Of: "the engine's"} }

// Durations of a drain: Always has no end, Never ends the drain.
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
	Force      bool   // change the options of all nodes to these
}

// View is what Look returns, as of one moment.
type View struct {
	States []State
	// Drained are the nodes that take no lease.
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

// Floor is the lower bound of a name's fence and mark, also after the engine has gone
// back in time.
type Floor struct {
	Fence uint64 `json:"fence"`
	Mark  Mark   `json:"mark"`
}

// Above reports whether the engine's state is below the floor.
func (f Floor) Above(s State) bool { return f.Fence > s.Fence || f.Mark.Serial > s.Mark.Serial }

// Learn raises the floor to a state, and reports whether it has risen.
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
	Wish    string // the node that a wish names; "" for none
	Mark    Mark
	Fence   uint64 // of the latest grant, or what it was raised to; the next grant has a higher one
}

// Status is one member.
type Status struct {
	ID    string // of the session
	Order uint64 // of joining: the lowest came first
	Node  string
	Since time.Time // when the node joined, or was granted its slot
	Slot  int       // -1 for a standby
	Fence uint64
	Mine  bool // this session
	TTL   time.Duration
	Ahead *time.Duration // the last Tell; nil for none
}

// Mark is how far the ticks of a name have been run.
type Mark struct {
	Claimed time.Time // the latest tick that was begun; zero for none
	Done    time.Time // the latest tick that ended
	Skipped int64     // ticks that were begun, never ended, and won't be repeated
	Serial  int64     // rises with every change of the mark, also when ticks are reset
}

// Equal reports whether the marks are equal, with times compared as instants.
func (m Mark) Equal(o Mark) bool {
	return m.Claimed.Equal(o.Claimed) && m.Done.Equal(o.Done) && m.Skipped == o.Skipped && m.Serial == o.Serial
}

// Over returns the mark after stands, which has a lower serial, was raised to m. Ticks that
// were claimed since the engine went back stay, or they would be run twice. A claim doesn't
// stay that m takes back, and neither does a mark of the future, which an operator resets.
func (m Mark) Over(stands Mark, now time.Time) Mark {
	takenBack := m.Serial == stands.Serial+1 && m.Done.Equal(stands.Done)
	if !stands.Claimed.After(m.Claimed) || takenBack || stands.Claimed.After(now.Add(time.Minute)) {
		return m
	}
	stands.Serial = m.Serial + 1
	return stands
}

// KeptRuns is the least number of runs kept of a name. A run moves the mark at least
// twice, and the mark's serial decides its place.
const KeptRuns = 100

// Run is a scheduled run, which the engine keeps for lifeline runs.
type Run struct {
	Serial int64     `json:"serial"` // of the mark that claimed it
	Label  time.Time `json:"label"`
	Node   string    `json:"node"`
	Fence  uint64    `json:"fence"`
	Began  time.Time `json:"began"`          // by the node's clock
	Ended  time.Time `json:"ended,omitzero"` // zero while it runs, or if its end was not written
	Code   int       `json:"code"`
}

// Place returns the place among the kept runs that r takes.
func (r Run) Place() int64 { return r.Serial % (2 * KeptRuns) }

// ErrLost says that the session or its slot is lost, and that another node may hold the
// slot.
var ErrLost = errors.New("the lease has ended")

// ErrClaimed says that another node has moved the mark.
var ErrClaimed = errors.New("the tick is another node's")

// Taken says that every slot is taken. After is how long to wait for a change before
// asking again; 0 if the engine has no estimate.
type Taken struct{ After time.Duration }

func (*Taken) Error() string { return "taken" }

// Refused is an error that stays until an operator acts: lifeline ends with
// Code and says Text.
type Refused struct {
	Code int
	Text string
	// ReadOnly: the engine answers, but refuses writes of this node.
	ReadOnly bool
}

func (r *Refused) Error() string { return r.Text }

// Refuse returns a Refused with 125, lifeline's code for a failure of its own.
func Refuse(format string, args ...any) error {
	return &Refused{Code: 125, Text: fmt.Sprintf(format, args...)}
}

// ReadOnly returns a Refused for an engine that answers but refuses writes.
func ReadOnly(format string, args ...any) error {
	return &Refused{Code: 125, Text: fmt.Sprintf(format, args...), ReadOnly: true}
}

// Misused returns a Refused because of the command line.
func Misused(format string, args ...any) error {
	return &Refused{Code: 64, Text: fmt.Sprintf(format, args...)}
}

// Lives returns a Refused to forget a name that is alive on nodes.
func Lives(name string, nodes []string) error {
	slices.Sort(nodes)
	return Refuse("%s: cannot forget it: it is alive on %s; run lifeline terminate %s there first", name,
		strings.Join(slices.Compact(nodes), ", "), name)
}

// Disagree returns a Refused for options that differ from those of earlier nodes.
func Disagree(theirs, ours string) error {
	return Misused("the other nodes run it with %s, this one with %s: give the same options on every node, or "+
		"--force-options once to change them for all", theirs, ours)
}
