package enginetest

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeline/internal/cluster/engine"
)

func (s Suite) state(c client, name string) engine.State {
	c.t.Helper()
	view, err := c.Look(c.t.Context(), name)
	c.must(err)
	states := view.States
	if len(states) != 1 || states[0].Name != name {
		c.t.Fatalf("looking for %s gives %+v", name, states)
	}
	return states[0]
}

// drain checks Drain for a time and without end.
func (s Suite) drain(t *testing.T) {
	node := fresh(t)
	a, other := s.join(t, fresh(t), "a", 1), s.open(t, "")
	is := func(c client) bool {
		view, err := c.Look(t.Context(), "")
		c.must(err)
		return slices.Contains(view.Drained, node)
	}
	if is(a) {
		t.Fatal("it is drained from the beginning")
	}
	other.must(other.Drain(t.Context(), node, engine.Always))
	if view, err := a.Look(t.Context(), a.name); err != nil || !slices.Contains(view.Drained, node) || !is(other) {
		t.Fatalf("it isn't drained: %v, %v", view, err)
	}
	other.must(other.Drain(t.Context(), node, engine.Never))
	if is(a) {
		t.Fatal("it is still drained")
	}
	other.must(other.Drain(t.Context(), node, time.Second))
	for is(a) {
		if t.Context().Err() != nil {
			t.Fatal("it stays drained")
		}
	}
}

// tell checks Tell with and without a session.
func (s Suite) tell(t *testing.T) {
	name := fresh(t)
	a, other := s.join(t, name, "a", 1), s.open(t, "")
	a.acquire()
	if m := s.state(other, name).Members[0]; m.Ahead != nil {
		t.Errorf("it is ahead by %s before it has told", m.Ahead)
	}
	for _, ahead := range []time.Duration{-90 * time.Second, time.Hour} {
		a.must(a.Tell(t.Context(), ahead))
		if m := s.state(other, name).Members[0]; m.Ahead == nil || *m.Ahead != ahead {
			t.Errorf("told is %s, seen %v", ahead, m.Ahead)
		}
	}
	a.must(a.Leave(t.Context()))
	if err := a.Tell(t.Context(), 0); !errors.Is(err, engine.ErrLost) {
		t.Errorf("without a session: %v", err)
	}
}

// forget checks that Forget refuses a living name, removes a dead one, and that its
// fences go on rising.
func (s Suite) forget(t *testing.T) {
	name := fresh(t)
	a := s.join(t, name, "a", 1)
	a.must(a.Raise(t.Context(), name, engine.Floor{Fence: 1 << 40}))
	first := a.acquire()
	other := s.open(t, "")
	keep := a.keep(s.TTL)
	if err := other.Forget(t.Context(), name); err == nil || !strings.Contains(err.Error(), "alive on a") {
		t.Fatalf("it is held, and forgotten: %v", err)
	}
	keep() // the session dies without Leave
	for {
		err := other.Forget(t.Context(), name)
		if err == nil {
			break
		}
		if t.Context().Err() != nil || !strings.Contains(err.Error(), "alive") {
			t.Fatal(err)
		}
	}
	if _, err := a.Renew(t.Context()); !errors.Is(err, engine.ErrLost) {
		t.Errorf("a session of a name that was forgotten is renewed: %v", err)
	}
	b := s.join(t, name, "b", 1)
	if fence := b.acquire(); fence <= first {
		t.Errorf("the fence is %d after %d", fence, first)
	}
}

func (s Suite) look(t *testing.T) {
	name := fresh(t)
	a, b := s.join(t, name, "a", 1), s.join(t, name, "b", 1)
	f := a.acquire()
	before := time.Now().Add(-time.Minute)
	st := s.state(b, name)
	if len(st.Members) != 2 {
		t.Fatalf("there are %+v", st.Members)
	}
	h, w := st.Members[0], st.Members[1]
	if h.Node != "a" || h.Slot != 0 || h.Fence != f || h.Mine || h.Since.Before(before) {
		t.Errorf("the holder looks like %+v", h)
	}
	if w.Node != "b" || w.Slot != -1 || !w.Mine || w.Since.Before(before) || w.ID == h.ID {
		t.Errorf("who stands by looks like %+v", w)
	}
	other := s.open(t, "")
	all, err := other.Look(t.Context(), "")
	other.must(err)
	if !slices.ContainsFunc(all.States, func(st engine.State) bool { return st.Name == name }) {
		t.Errorf("a look at all names lacks %s", name)
	}
	a.must(a.Leave(t.Context()))
	if st := s.state(b, name); len(st.Members) != 1 {
		t.Errorf("after one has left there are %+v", st.Members)
	}
}

// raise checks that Raise raises a lower fence and mark, and leaves a higher fence and
// mark as they are.
func (s Suite) raise(t *testing.T) {
	name := fresh(t)
	a, b := s.join(t, name, "a", 1), s.join(t, name, "b", 1)
	first := a.acquire()
	at := time.Unix(1e9, 0).UTC()
	floor := engine.Floor{Fence: first + 1000000, Mark: engine.Mark{Claimed: at, Done: at, Skipped: 2, Serial: 7}}
	if !floor.Above(s.state(b, name)) {
		t.Fatalf("%+v isn't above %+v", floor, s.state(b, name))
	}
	b.must(b.Raise(t.Context(), name, floor))
	st := s.state(b, name)
	if floor.Above(st) || !st.Mark.Equal(floor.Mark) || st.Members[0].Fence != first {
		t.Fatalf("after raising it to %+v: %+v", floor, st)
	}
	b.must(b.Raise(t.Context(), name, engine.Floor{Fence: 1, Mark: engine.Mark{Serial: 6}}))
	if now := s.state(b, name); !now.Mark.Equal(floor.Mark) {
		t.Fatalf("something lower has come through: %+v", now)
	}
	_, err := a.Renew(t.Context())
	a.must(err) // the holder isn't touched
	a.must(a.Release(t.Context()))
	if f := b.acquire(); f <= floor.Fence {
		t.Fatalf("the next fence is %d, not above %d", f, floor.Fence)
	}
	b.must(b.Release(t.Context()))
	_, err = a.Renew(t.Context())
	a.must(err)
	above := floor.Fence + 1000000
	g, err := a.Acquire(t.Context(), above) // a fence that only this node knows
	a.must(err)
	if g.Fence <= above {
		t.Fatalf("the fence is %d, not above %d", g.Fence, above)
	}
	v, err := a.Look(t.Context(), name)
	a.must(err)
	w, err := b.Look(t.Context(), name)
	b.must(err)
	if v.Epoch == "" || v.Epoch != w.Epoch || v.History == "" || v.History != w.History || v.Revision > w.Revision {
		t.Errorf("seen at the same time: %+v and %+v", v, w)
	}
}

// later checks a node that was away while the engine went back, and so remembers more
// changes of the mark than the engine has now, but an earlier tick. A later tick stays,
// except one of the future, which an operator's reset has taken back.
func (s Suite) later(t *testing.T) {
	name := fresh(t)
	a := s.join(t, name, "a", 1)
	at := time.Unix(1e9, 0).UTC()
	hour := func(n int) time.Time { return at.Add(time.Duration(n) * time.Hour) }
	for _, one := range []struct {
		name          string
		changes       int64
		claimed, done time.Time
		stays         time.Time // claimed then
	}{
		{"the first", 7, at, at, at},
		{"a later tick", 7, hour(1), hour(1), hour(1)},
		{"an earlier tick", 7, at, at, hour(1)},
		{"a claim", 1, hour(2), hour(1), hour(2)},
		{"the claim taken back", 1, hour(1), hour(1), hour(1)},
		{"a tick of the future", 7, at.AddDate(1000, 0, 0), at, at.AddDate(1000, 0, 0)},
		{"a reset", 7, at, at, at},
	} {
		serial := s.state(a, name).Mark.Serial + one.changes
		a.must(a.Raise(t.Context(), name, engine.Floor{Mark: engine.Mark{Claimed: one.claimed, Done: one.done,
			Serial: serial}}))
		m := s.state(a, name).Mark
		if !m.Claimed.Equal(one.stays) || m.Serial < serial {
			t.Errorf("%s: the mark is %+v after %s with the serial %d", one.name, m, one.claimed, serial)
		}
	}
}

// agree checks that differing options are refused with both values while another node
// lives.
func (s Suite) agree(t *testing.T) {
	name := fresh(t)
	join := func(c client, options string, force bool) error {
		_, err := c.Join(t.Context(), engine.Member{Name: name, Node: "x", TTL: s.TTL, Slots: 1, Options: options,
			Force: force})
		return err
	}
	a, b := s.open(t, name), s.open(t, name)
	a.must(join(a, "--slots 1", false))
	a.acquire()
	var refused *engine.Refused
	if err := join(b, "--slots 2", false); !errors.As(err, &refused) || refused.Code != 64 ||
		!strings.Contains(refused.Text, "--slots 1") || !strings.Contains(refused.Text, "--slots 2") {
		t.Fatalf("other options: %v", err)
	}
	b.must(join(b, "--slots 1", false))
	b.must(b.Leave(t.Context()))
	b.must(join(b, "--slots 2", true))
	a.must(a.Release(t.Context()))
	if _, err := a.Acquire(t.Context(), 0); !errors.Is(err, engine.ErrLost) {
		t.Fatalf("with options that were changed: %v", err)
	}
	b.acquire()
	a.must(a.Leave(t.Context()))
	b.must(b.Leave(t.Context()))
	a.must(join(a, "--slots 3", false)) // no node with other options is left
	a.acquire()
}

// clock checks the engine's clock, which is this machine's here.
func (s Suite) clock(t *testing.T) {
	c, err := s.open(t, fresh(t)).Clock(t.Context(), time.Now)
	if err != nil || time.Since(c.At).Abs() > 10*time.Second {
		t.Errorf("its clock says %+v, %v", c, err)
	}
}

// inherit waits until another's lease has ended and b has the slot.
func (s Suite) inherit(t *testing.T, b client) {
	t.Helper()
	for deadline := time.Now().Add(s.TTL + s.Slack); ; time.Sleep(10 * time.Millisecond) {
		if _, err := b.Acquire(t.Context(), 0); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the other one never got it")
		}
	}
}
