package guard

import (
	"context"
	"fmt"

	"lifeline/internal/crash"
	"lifeline/procscan"
)

// findOrphan looks for a worker of the name in the process table.
func (g Guard) findOrphan(d dir, name, generation string) (procscan.Process, bool) {
	t, err := marked(name, d.space)
	if err != nil {
		g.warn("%v: the locks decide alone", err)
	}
	for _, p := range t.Processes {
		if primary(p) && trusted(p, generation, nil) {
			return p, true
		}
	}
	return procscan.Process{}, false
}

// watcher is the living supervisor of a worker that was started by sup: that
// one, or another one that adopted the worker. Either has lost K.lock to an rm,
// or we wouldn't have it. Zero for none.
func watcher(d dir, name string, sup procscan.ID) procscan.ID {
	self := procscan.Self()
	if sup != self && !sup.Zero() && sup.Alive() {
		return sup
	}
	for _, id := range procscan.LockHolders(dir{path: d.space}.lock(name)) { // the kernel knows it by that path
		if id != self {
			return id
		}
	}
	return procscan.ID{}
}

// orphaned applies the policy to a worker without a supervisor. It is the
// instance: nothing is ever started beside it.
func (g Guard) orphaned(ctx context.Context, hold *Hold, rec record, orphan procscan.ID) error {
	if g.EndTree == nil {
		return &HeldError{Name: hold.Name, Holder: Holder{Worker: orphan, Generation: rec.generation}}
	}
	if g.Orphans == Terminate || g.Replace {
		g.warn("ending pid %d, whose supervisor was killed", orphan.PID)
		if err := g.EndTree(ctx, orphan, rec.generation); err != nil {
			return fmt.Errorf("cannot end pid %d, whose supervisor was killed: %w", orphan.PID, err)
		}
		return nil
	}
	crash.Point("adopt")
	hold.Orphan = orphan
	hold.SetWorker(rec.generation, orphan)
	return g.endOthers(ctx, hold, orphan, rec.generation)
}

// endOthers ends workers of the name beside the orphan: what a supervisor that
// was killed during a reload has left behind.
func (g Guard) endOthers(ctx context.Context, hold *Hold, orphan procscan.ID, generation string) error {
	t, err := marked(hold.Name, hold.dir.space)
	if err != nil {
		return nil // what can't be seen can't be ended
	}
	for _, p := range t.Processes {
		isWorker := primary(p) || p.Env[EnvStub] != ""
		if sup, ok := supervisor(p); !isWorker || p.ID == orphan || !ok || sup.Alive() || !trusted(p, generation, nil) {
			continue
		}
		g.warn("ending pid %d, the other generation of a reload whose supervisor was killed", p.PID)
		if err := g.EndTree(ctx, p.ID, p.Env[EnvID]); err != nil {
			return fmt.Errorf("cannot end pid %d, the other generation of a reload: %w", p.PID, err)
		}
	}
	return nil
}

// leftBehind applies the policy to descendants of a worker that has ended
// without its supervisor.
func (g Guard) leftBehind(ctx context.Context, hold *Hold, generation string) error {
	if g.EndTree == nil || g.Leftovers == KeepLeftovers || generation == "" {
		return nil
	}
	if g.Leftovers == FollowLeftovers {
		left, _ := procscan.Marked(EnvID, generation)
		hold.Follow = len(left.Processes) > 0
		return nil
	}
	if err := g.EndTree(ctx, procscan.ID{}, generation); err != nil {
		return fmt.Errorf("cannot end what the last worker left behind: %w", err)
	}
	return nil
}
