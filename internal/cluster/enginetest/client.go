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

type client struct {
	engine.Engine
	t    *testing.T
	name string
}

var names = struct {
	sync.Mutex
	n int
}{}

// JoinAlone joins the name job at an engine that nothing else uses, and wants to see
// that name only.
func JoinAlone(t *testing.T, e engine.Engine) {
	t.Helper()
	if _, err := e.Join(t.Context(),
		engine.Member{Name: "job", Node: "a", TTL: time.Minute, Slots: 1}); err != nil {
		t.Fatal(err)
	}
	if view, err := e.Look(t.Context(), ""); err != nil || len(view.States) != 1 {
		t.Errorf("other names are seen too: %+v, %v", view, err)
	}
}

// fresh returns a name that no test has used.
func fresh(t *testing.T) string {
	names.Lock()
	defer names.Unlock()
	names.n++
	return fmt.Sprintf("conform-%d-%d", time.Now().UnixNano(), names.n)
}

func (s Suite) open(t *testing.T, name string) client {
	t.Helper()
	e, err := s.Open(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	return client{&serial{Engine: e}, t, name}
}

func (s Suite) join(t *testing.T, name, node string, slots int) client {
	t.Helper()
	c := s.open(t, name)
	ttl, err := c.Join(t.Context(), engine.Member{Name: name, Node: node, TTL: s.TTL, Slots: slots})
	if err != nil {
		t.Fatal(err)
	}
	if ttl != s.TTL {
		t.Fatalf("the TTL granted is %s, not %s", ttl, s.TTL)
	}
	return c
}

// keep renews until the test is over, or stop is called.
func (c client) keep(ttl time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_, _ = c.Renew(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(ttl / 4):
			}
		}
	}()
	stop = sync.OnceFunc(func() { cancel(); <-done })
	c.t.Cleanup(stop)
	return stop
}

func (c client) acquire() uint64 {
	c.t.Helper()
	g, err := c.Acquire(c.t.Context(), 0)
	if err != nil {
		c.t.Fatalf("it should have been granted: %v", err)
	}
	if g.Fence == 0 {
		c.t.Fatal("the fence is 0")
	}
	return g.Fence
}

func (c client) taken() *engine.Taken {
	c.t.Helper()
	_, err := c.Acquire(c.t.Context(), 0)
	var taken *engine.Taken
	if !errors.As(err, &taken) {
		c.t.Fatalf("it should have been taken: %v", err)
	}
	return taken
}

func (c client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

func (c client) rings(within time.Duration) {
	c.t.Helper()
	select {
	case <-c.Changes():
	case <-time.After(within):
		c.t.Fatal("nothing was heard of a change")
	}
}
