package enginetest

import (
	"errors"
	"testing"
	"time"

	"lifeline/internal/cluster/engine"
)

// runs checks that runs are kept with their ends, and that the oldest runs are dropped.
func (s Suite) runs(t *testing.T) {
	name := fresh(t)
	a, other := s.join(t, name, "a", 1), s.open(t, "")
	fence := a.acquire()
	a.keep(s.TTL)
	mark, at := engine.Mark{}, time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)
	move := func(to engine.Mark, run engine.Run) {
		to.Serial = mark.Serial + 1
		a.must(a.Claim(t.Context(), mark, to, &run))
		mark = to
	}
	const all = engine.KeptRuns + 5
	for n := range all {
		label := at.Add(time.Duration(n) * time.Minute)
		run := engine.Run{Serial: mark.Serial + 1, Label: label, Node: "a", Fence: fence, Began: label.Add(time.Second)}
		move(engine.Mark{Claimed: label, Done: mark.Done}, run)
		if n < all-1 {
			run.Ended, run.Code = label.Add(3*time.Second), n
			move(engine.Mark{Claimed: label, Done: label}, run)
		}
	}
	list, err := other.Runs(t.Context(), name)
	if err != nil || len(list) < engine.KeptRuns || len(list) > 2*engine.KeptRuns {
		t.Fatalf("%d runs are kept: %v", len(list), err)
	}
	last, before := list[0], list[1]
	if label := at.Add((all - 1) * time.Minute); !last.Label.Equal(label) || !last.Ended.IsZero() || last.Node != "a" ||
		last.Fence != fence || !last.Began.Equal(label.Add(time.Second)) {
		t.Errorf("the latest is %+v", last)
	}
	if before.Code != all-2 || before.Ended.Sub(before.Label) != 3*time.Second {
		t.Errorf("the one before is %+v", before)
	}
	if view, err := other.Look(t.Context(), name); err != nil || len(view.States) != 1 ||
		len(view.States[0].Members) != 1 {
		t.Errorf("beside the runs it stands as %+v, %v", view, err)
	}
}

func (s Suite) wish(t *testing.T) {
	name := fresh(t)
	a := s.join(t, name, "a", 1)
	a.must(a.Wish(t.Context(), name, "b", 10*time.Second))
	if st := s.state(a, name); st.Wish != "b" {
		t.Fatalf("the wish is %q", st.Wish)
	}
	a.must(a.Wish(t.Context(), name, "", 0))
	if st := s.state(a, name); st.Wish != "" {
		t.Fatalf("taken back, the wish is %q", st.Wish)
	}
	a.keep(s.TTL)
	a.must(a.Wish(t.Context(), name, "c", 2*time.Second))
	for deadline := time.Now().Add(10 * time.Second); s.state(s.open(t, ""), name).Wish != ""; {
		if time.Now().After(deadline) {
			t.Fatal("the wish never ends")
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (s Suite) ticks(t *testing.T) {
	name := fresh(t)
	a := s.join(t, name, "a", 1)
	a.acquire()
	mark, err := a.Mark(t.Context(), name)
	a.must(err)
	if !mark.Equal(engine.Mark{}) {
		t.Fatalf("before any tick the mark is %+v", mark)
	}
	one := time.Date(2026, 3, 29, 1, 0, 0, 0, time.UTC)
	first := engine.Mark{Claimed: one}
	a.must(a.Claim(t.Context(), mark, first, nil))
	if err := a.Claim(t.Context(), mark, first, nil); !errors.Is(err, engine.ErrClaimed) {
		t.Fatalf("claimed twice: %v", err)
	}
	second := engine.Mark{Claimed: one, Done: one, Skipped: 2}
	a.must(a.Claim(t.Context(), first, second, nil))
	if err := a.Claim(t.Context(), first, second, nil); !errors.Is(err, engine.ErrClaimed) {
		t.Fatalf("from a mark that is gone: %v", err)
	}
	a.must(a.Claim(t.Context(), second, second, nil)) // "still mine"
	mark, err = a.Mark(t.Context(), name)
	a.must(err)
	if !mark.Equal(second) {
		t.Fatalf("the mark is %+v, not %+v", mark, second)
	}
	if st := s.state(a, name); !st.Mark.Equal(second) {
		t.Fatalf("look gives the mark %+v", st.Mark)
	}
}

// ticksSlot checks that a session that has lost its slot can't move the mark.
func (s Suite) ticksSlot(t *testing.T) {
	name := fresh(t)
	a, b := s.join(t, name, "a", 1), s.join(t, name, "b", 1)
	first := engine.Mark{Claimed: time.Unix(1e9, 0).UTC()}
	if err := b.Claim(t.Context(), engine.Mark{}, first, nil); !errors.Is(err, engine.ErrLost) {
		t.Fatalf("without a slot: %v", err)
	}
	a.acquire()
	b.keep(s.TTL)
	s.inherit(t, b)
	if err := a.Claim(t.Context(), engine.Mark{}, first, nil); !errors.Is(err, engine.ErrLost) {
		t.Fatalf("with a slot that was lost: %v", err)
	}
	b.must(b.Claim(t.Context(), engine.Mark{}, first, nil))
}
