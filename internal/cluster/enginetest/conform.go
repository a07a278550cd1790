package enginetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"lifeline/internal/cluster/engine"
)

// Suite is one engine under test.
type Suite struct {
	Open func(ctx context.Context, name string) (engine.Engine, error)
	TTL  time.Duration // short, and granted unchanged by the engine
	// Slack is how much later than its TTL a session may end.
	Slack time.Duration
}

// drain empties the bell.
func (c client) drain() {
	select {
	case <-c.Changes():
	default:
	}
}

// Run runs the suite.
func (s Suite) Run(t *testing.T) {
	t.Run("one holder", s.oneHolder)
	t.Run("fences rise", s.fences)
	t.Run("a session ends by itself", s.expiry)
	t.Run("what has ended isn't renewed", s.lost)
	t.Run("changes are heard", s.changes)
	t.Run("slots", s.slots)
	t.Run("many at once", s.race)
	t.Run("a slot of an earlier state", s.oldSlot)
	t.Run("look", s.look)
	t.Run("forget", s.forget)
	t.Run("drain", s.drain)
	t.Run("tell", s.tell)
	t.Run("runs", s.runs)
	t.Run("share", s.share)
	t.Run("wish", s.wish)
	t.Run("ticks", s.ticks)
	t.Run("ticks need the slot", s.ticksSlot)
	t.Run("what was forgotten is given back", s.raise)
	t.Run("what came later stays", s.later)
	t.Run("nodes agree", s.agree)
	t.Run("clock", s.clock)
}

func (s Suite) oneHolder(t *testing.T) {
	name := fresh(t)
	a, b := s.join(t, name, "a", 1), s.join(t, name, "b", 1)
	a.acquire()
	b.taken()
	b.must(b.Release(t.Context())) // b has nothing to give back
	b.taken()
	a.must(a.Release(t.Context()))
	b.acquire()
	a.taken()
}

func (s Suite) fences(t *testing.T) {
	name := fresh(t)
	a, b := s.join(t, name, "a", 1), s.join(t, name, "b", 1)
	last := uint64(0)
	for i := range 10 {
		c := []client{a, b}[i%2]
		f := c.acquire()
		if f <= last {
			t.Fatalf("the fence %d comes after %d", f, last)
		}
		if again := c.acquire(); again < f {
			t.Fatalf("asked again, the fence is %d, not %d", again, f)
		}
		last = f
		if st := s.state(c, name); st.Fence != f { // a higher one would hide that the engine has gone back
			t.Fatalf("the fence in the engine is %d after %d was granted", st.Fence, f)
		}
		if i%3 == 2 { // fences also rise over the end of a session
			c.must(c.Leave(t.Context()))
			_, err := c.Join(t.Context(), engine.Member{Name: name, Node: "x", TTL: s.TTL, Slots: 1})
			c.must(err)
		} else {
			c.must(c.Release(t.Context()))
		}
		_, _ = a.Renew(t.Context())
		_, _ = b.Renew(t.Context())
	}
}

// oldSlot checks a session that finds itself with a slot of a time to which the engine has
// gone back. It gives that slot back, because its fence is too low.
func (s Suite) oldSlot(t *testing.T) {
	a := s.join(t, fresh(t), "a", 1)
	above := a.acquire() + 1000
	for range 2 {
		g, err := a.Acquire(t.Context(), above)
		if errors.As(err, new(*engine.Taken)) {
			continue
		}
		a.must(err)
		if g.Fence <= above {
			t.Fatalf("the fence is %d, not above %d", g.Fence, above)
		}
		_, err = a.Renew(t.Context())
		a.must(err)
		return
	}
	t.Fatal("it is taken twice")
}

func (s Suite) expiry(t *testing.T) {
	name := fresh(t)
	a, b := s.join(t, name, "a", 1), s.join(t, name, "b", 1)
	b.keep(s.TTL)
	renewed := time.Now() // before the request: the engine counts from its receipt
	_, err := a.Renew(t.Context())
	a.must(err)
	a.acquire()
	for {
		_, err := b.Acquire(t.Context(), 0)
		after := time.Since(renewed)
		if err == nil {
			if after < s.TTL {
				t.Fatalf("it was granted %s after a renewal for %s", after, s.TTL)
			}
			return
		}
		if after > s.TTL+s.Slack {
			t.Fatalf("it isn't granted %s after the last renewal for %s: %v", after, s.TTL, err)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (s Suite) lost(t *testing.T) {
	name := fresh(t)
	a := s.join(t, name, "a", 1)
	a.acquire()
	b := s.join(t, name, "b", 1)
	b.keep(s.TTL)
	s.inherit(t, b)
	if _, err := a.Renew(t.Context()); !errors.Is(err, engine.ErrLost) {
		t.Fatalf("a renewal of what has ended says %v", err)
	}
	if _, err := a.Acquire(t.Context(), 0); !errors.Is(err, engine.ErrLost) && !errors.As(err, new(*engine.Taken)) {
		t.Fatalf("acquiring in a session that has ended says %v", err)
	}
	if err := a.Release(t.Context()); err != nil && !errors.Is(err, engine.ErrLost) {
		t.Fatal(err)
	}
	if _, err := b.Renew(t.Context()); err != nil {
		t.Fatalf("the release of what was lost has taken it from another: %v", err)
	}
	_, err := a.Join(t.Context(), engine.Member{Name: name, Node: "a", TTL: s.TTL, Slots: 1})
	a.must(err)
	a.taken()
}

func (s Suite) changes(t *testing.T) {
	name := fresh(t)
	a, b := s.join(t, name, "a", 1), s.join(t, name, "b", 1)
	a.acquire()
	for i := 0; ; i++ { // until the listener is there
		b.drain()
		a.must(a.Release(t.Context()))
		select {
		case <-b.Changes():
		case <-time.After(time.Second):
			if i < 10 {
				a.acquire()
				continue
			}
			t.Fatal("a release isn't heard")
		}
		break
	}
	a.acquire()
	time.Sleep(50 * time.Millisecond)
	b.drain()
	a.must(a.Leave(t.Context()))
	b.rings(5 * time.Second)
}

func (s Suite) slots(t *testing.T) {
	name := fresh(t)
	var all []client
	for i := range 5 {
		all = append(all, s.join(t, name, fmt.Sprint("n", i), 3))
	}
	fences := map[uint64]bool{}
	for _, c := range all[:3] {
		fences[c.acquire()] = true
	}
	if len(fences) != 3 {
		t.Fatalf("three slots have the fences %v", fences)
	}
	all[3].taken()
	all[1].must(all[1].Release(t.Context()))
	all[3].acquire()
	all[1].taken()
	all[4].taken()
}

// race checks that there are at most as many holders as slots when all sessions ask at
// once.
func (s Suite) race(t *testing.T) {
	const slots, candidates, rounds = 2, 8, 5
	name := fresh(t)
	var all []client
	for i := range candidates {
		all = append(all, s.join(t, name, fmt.Sprint("n", i), slots))
	}
	for range rounds {
		var mu sync.Mutex
		var won []client
		var wg sync.WaitGroup
		for _, c := range all {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if _, err := c.Renew(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := c.Acquire(t.Context(), 0); err == nil {
					mu.Lock()
					won = append(won, c)
					mu.Unlock()
				}
			}()
		}
		wg.Wait()
		if len(won) > slots || len(won) == 0 {
			t.Fatalf("%d of %d slots were granted", len(won), slots)
		}
		for _, c := range won {
			c.must(c.Release(t.Context()))
		}
	}
}
