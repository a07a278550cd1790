package node

import (
	"context"
	"errors"
	"slices"
	"time"

	"lifeline/internal/cluster/engine"
)

// errAway is the error of calls while an engine is away.
var errAway = errors.New("connection refused")

// fake is an engine in memory, for the tested session and others that the test invents.
type fake struct {
	now     func() time.Duration
	err     error         // the error of every call, while it is set
	full    error         // the error of writes, while it is set; a standby renews without a write, as in etcd
	delay   time.Duration // before a call is carried out
	after   time.Duration // after a call, before its answer
	member  bool
	expires time.Duration
	ttl     time.Duration
	held    bool
	fence   uint64
	others  []engine.Status
	wish    string
	mark    engine.Mark
	calls   []string
	changed chan struct{}

	reason error

	drained []string
	runs    []engine.Run

	shared   []string
	unshared error // of Share

	reconnects int
	epoch      string
	history    string
	order      uint64
	revision   uint64
	clock      time.Duration // by how much the engine's clock is ahead
	alone      bool          // the engine has no clock
}

func (f *fake) call(ctx context.Context, what string) error {
	f.calls = append(f.calls, what)
	if f.full != nil && (what == "join" || what == "acquire" || what == "renew" && f.held) {
		return f.full
	}
	return f.sleep(ctx, f.delay)
}

func (f *fake) sleep(ctx context.Context, d time.Duration) error {
	err := f.err // read now, because the test may change it later
	if d > 0 {
		select {
		case <-time.After(d):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return err
}

func (f *fake) alive() bool { return f.member && f.now() < f.expires }

func (f *fake) Join(ctx context.Context, m engine.Member) (time.Duration, error) {
	if err := f.call(ctx, "join"); err != nil {
		return 0, err
	}
	f.member, f.held, f.expires = true, false, f.now()+f.ttl
	return f.ttl, f.sleep(ctx, f.after)
}

func (f *fake) Renew(ctx context.Context) (time.Duration, error) {
	if err := f.call(ctx, "renew"); err != nil {
		return 0, err
	}
	if !f.alive() {
		return 0, engine.ErrLost
	}
	f.expires = f.now() + f.ttl
	return f.ttl, f.sleep(ctx, f.after)
}

func (f *fake) Acquire(ctx context.Context, above uint64) (engine.Grant, error) {
	if err := f.call(ctx, "acquire"); err != nil {
		return engine.Grant{}, err
	}
	switch {
	case !f.alive():
		return engine.Grant{}, engine.ErrLost
	case slices.ContainsFunc(f.others, func(s engine.Status) bool { return s.Slot >= 0 }):
		return engine.Grant{}, &engine.Taken{}
	case !f.held:
		f.fence = max(f.fence, above) + 1
	}
	f.held = true
	return engine.Grant{Fence: f.fence}, f.sleep(ctx, f.after)
}

func (f *fake) Release(ctx context.Context) error {
	if err := f.call(ctx, "release"); err != nil {
		return err
	}
	f.held = false
	return nil
}

func (f *fake) Leave(ctx context.Context) error {
	if err := f.call(ctx, "leave"); err != nil {
		return err
	}
	f.held, f.member = false, false
	return nil
}

func (f *fake) Look(ctx context.Context, name string) (engine.View, error) {
	if err := f.call(ctx, "look"); err != nil {
		return engine.View{}, err
	}
	s := engine.State{Name: name, Members: slices.Clone(f.others), Wish: f.wish, Mark: f.mark, Fence: f.fence}
	if f.alive() {
		m := engine.Status{ID: "me", Node: "a", Slot: -1, Mine: true, Order: f.order}
		if f.held {
			m.Slot, m.Fence = 0, f.fence
		}
		s.Members = append(s.Members, m)
	}
	return engine.View{States: []engine.State{s}, Epoch: f.epoch, History: f.history, Revision: f.revision,
		Drained: f.drained}, nil
}

func (f *fake) Raise(ctx context.Context, _ string, floor engine.Floor) error {
	if err := f.call(ctx, "raise"); err != nil {
		return err
	}
	f.fence = max(f.fence, floor.Fence)
	if floor.Mark.Serial > f.mark.Serial {
		f.mark = floor.Mark.Over(f.mark, time.Now())
	}
	return nil
}

func (f *fake) Clock(ctx context.Context, wall func() time.Time) (engine.Clock, error) {
	if f.alone {
		return engine.Clock{Alone: true}, f.err
	}
	return engine.Engines(time.Now().Add(f.clock)), f.err
}

func (f *fake) Runs(context.Context, string) ([]engine.Run, error) { return f.runs, nil }

func (f *fake) Drain(context.Context, string, time.Duration) error { return nil }

func (f *fake) Tell(context.Context, time.Duration) error { return nil }

func (f *fake) Share(ctx context.Context, text []byte) error {
	if f.unshared != nil {
		return f.unshared
	}
	f.shared = append(f.shared, string(text))
	return f.call(ctx, "share")
}

func (f *fake) Shared(context.Context) ([]engine.Shared, error) { return nil, nil }

func (f *fake) Forget(context.Context, string) error { return nil }

func (f *fake) Wish(ctx context.Context, _, node string, _ time.Duration) error {
	f.wish = node
	return f.call(ctx, "wish "+node)
}

func (f *fake) Claim(ctx context.Context, from, to engine.Mark, run *engine.Run) error {
	if err := f.call(ctx, "claim"); err != nil {
		return err
	}
	switch {
	case !f.alive() || !f.held:
		return engine.ErrLost
	case !f.mark.Equal(from):
		return engine.ErrClaimed
	}
	f.mark = to
	if run != nil {
		f.runs = append(f.runs, *run)
	}
	return f.sleep(ctx, f.after)
}

func (f *fake) Mark(ctx context.Context, _ string) (engine.Mark, error) {
	return f.mark, f.call(ctx, "mark")
}

func (f *fake) Reconnect(context.Context) error {
	f.reconnects++
	return nil
}

func (f *fake) Test(context.Context) error { return f.err }

func (f *fake) Reason(context.Context) error { return f.reason }

func (f *fake) Changes() <-chan struct{} { return f.changed }

func (f *fake) Close() {}
