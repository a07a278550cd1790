package enginetest

import (
	"context"
	"sync"
	"time"

	"lifeline/internal/cluster/engine"
)

// serial serializes the calls of an engine, as lifeline-remote does.
type serial struct {
	engine.Engine
	mu sync.Mutex
}

func (s *serial) lock() func() { s.mu.Lock(); return s.mu.Unlock }

func (s *serial) Join(ctx context.Context, m engine.Member) (time.Duration, error) {
	defer s.lock()()
	return s.Engine.Join(ctx, m)
}

func (s *serial) Renew(ctx context.Context) (time.Duration, error) {
	defer s.lock()()
	return s.Engine.Renew(ctx)
}

func (s *serial) Acquire(ctx context.Context, above uint64) (engine.Grant, error) {
	defer s.lock()()
	return s.Engine.Acquire(ctx, above)
}

func (s *serial) Release(ctx context.Context) error {
	defer s.lock()()
	return s.Engine.Release(ctx)
}

func (s *serial) Leave(ctx context.Context) error {
	defer s.lock()()
	return s.Engine.Leave(ctx)
}

func (s *serial) Look(ctx context.Context, name string) (engine.View, error) {
	defer s.lock()()
	return s.Engine.Look(ctx, name)
}

func (s *serial) Raise(ctx context.Context, name string, f engine.Floor) error {
	defer s.lock()()
	return s.Engine.Raise(ctx, name, f)
}

func (s *serial) Forget(ctx context.Context, name string) error {
	defer s.lock()()
	return s.Engine.Forget(ctx, name)
}

func (s *serial) Tell(ctx context.Context, ahead time.Duration) error {
	defer s.lock()()
	return s.Engine.Tell(ctx, ahead)
}

func (s *serial) Share(ctx context.Context, text []byte) error {
	defer s.lock()()
	return s.Engine.Share(ctx, text)
}

func (s *serial) Wish(ctx context.Context, name, node string, lasts time.Duration) error {
	defer s.lock()()
	return s.Engine.Wish(ctx, name, node, lasts)
}

func (s *serial) Mark(ctx context.Context, name string) (engine.Mark, error) {
	defer s.lock()()
	return s.Engine.Mark(ctx, name)
}

func (s *serial) Claim(ctx context.Context, from, to engine.Mark, run *engine.Run) error {
	defer s.lock()()
	return s.Engine.Claim(ctx, from, to, run)
}
