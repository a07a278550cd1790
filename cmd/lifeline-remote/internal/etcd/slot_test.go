package etcd

import (
	"errors"
	"testing"
	"time"

	"lifeline/internal/cluster/engine"
	"lifeline/internal/cluster/enginetest"
)

func join(t *testing.T, address, name, node string, ttl time.Duration) *Etcd {
	t.Helper()
	e, err := Open(t.Context(), address, "", name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	if _, err := e.Join(t.Context(), engine.Member{Name: name, Node: node, TTL: ttl, Slots: 1}); err != nil {
		t.Fatal(err)
	}
	return e
}

func taken(t *testing.T, e *Etcd) time.Duration {
	t.Helper()
	var taken *engine.Taken
	if g, err := e.Acquire(t.Context(), 0); !errors.As(err, &taken) {
		t.Fatalf("%s gets %+v, %v", e.m.Node, g, err)
	}
	return taken.After
}

// TestLeaseRevoked ends a lease before its time, as a stopped former leader of etcd does.
// The holder keeps the name, and no other node gets it.
func TestLeaseRevoked(t *testing.T) {
	address := enginetest.Etcd(t)
	const ttl = 2 * time.Second
	a, b := join(t, address, "revoked", "a", ttl), join(t, address, "revoked", "b", ttl)
	grant, err := a.Acquire(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.c.Revoke(t.Context(), a.lease); err != nil {
		t.Fatal(err)
	}
	if after := taken(t, b); after < ttl/2 || after > ttl {
		t.Errorf("b is to ask again after %s", after)
	}
	if _, err := a.Renew(t.Context()); err != nil {
		t.Fatalf("a renewal without the lease: %v", err)
	}
	states, err := b.Look(t.Context(), "revoked")
	if err != nil || len(states.States) != 1 || len(states.States[0].Members) != 2 ||
		states.States[0].Members[0].Fence != grant.Fence || states.States[0].Members[0].Node != "a" {
		t.Errorf("it stands like this: %+v, %v", states, err)
	}
	taken(t, b)
}

// TestSlept checks that a node that was suspended, and so has seen no renewals, doesn't
// take the slot.
func TestSlept(t *testing.T) {
	address := enginetest.Etcd(t)
	a, b := join(t, address, "slept", "a", time.Minute), join(t, address, "slept", "b", time.Minute)
	if _, err := a.Acquire(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	b.stop()
	b.over.Wait() // it hears nothing
	got, err := b.c.Get(t.Context(), a.slot)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := got.Kvs[0]
	b.seen = map[string]observation{a.slot: {old.ModRevision, time.Now().Add(-time.Hour)}}
	if b.left(old) > 0 {
		t.Fatal("an hour isn't long enough")
	}
	if b.abandoned(t.Context(), old) {
		t.Error("what was renewed is taken for abandoned")
	}
	if after := taken(t, b); after < 50*time.Second {
		t.Errorf("b is to ask again after %s", after)
	}
	if _, err := a.Renew(t.Context()); err != nil {
		t.Errorf("the holder has lost it: %v", err)
	}
}

// TestLate checks a request that was given up and is carried out later. Its slot has no
// holder, and other nodes must get it.
func TestLate(t *testing.T) {
	address := enginetest.Etcd(t)
	e := join(t, address, "late", "a", 5*time.Second)
	e.m.Slots = 3
	if _, err := e.Acquire(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	second, strangers := e.key("place", "00001"), e.key("place", "00002")
	if _, err := e.c.Put(t.Context(), second, e.holder); err != nil {
		t.Fatal(err)
	}
	if _, err := e.c.Put(t.Context(), strangers, "{}"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int64{e.slot: 1, second: 0, strangers: 1} {
		if got, err := e.c.Get(t.Context(), key); err != nil || got.Count != want {
			t.Errorf("%s: %d of it (%v), want %d", key, got.Count, err, want)
		}
	}
	// A slot whose request only lost its answer is taken up and written again, because
	// other nodes measure its TTL since the first write.
	before, err := e.c.Get(t.Context(), e.slot)
	if err != nil {
		t.Fatal(err)
	}
	e.slot, e.made = "", 0
	if grant, err := e.Acquire(t.Context(), 0); err != nil || e.slot != e.key("place", "00000") || grant.Fence == 0 {
		t.Errorf("asked again: %q, %+v, %v", e.slot, grant, err)
	}
	if after, err := e.c.Get(t.Context(), e.slot); err != nil || after.Kvs[0].ModRevision <= before.Kvs[0].ModRevision {
		t.Errorf("it wasn't written again (%v)", err)
	}
}

// TestWentBack checks that a slot written at a lower revision has a living holder. An
// etcd that has gone back uses revisions a second time.
func TestWentBack(t *testing.T) {
	address := enginetest.Etcd(t)
	a, b := join(t, address, "back", "a", time.Minute), join(t, address, "back", "b", time.Minute)
	if _, err := a.Acquire(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	b.stop()
	b.over.Wait() // it hears nothing
	got, err := b.c.Get(t.Context(), a.slot)
	if err != nil {
		t.Fatal(err)
	}
	b.seen = map[string]observation{a.slot: {got.Kvs[0].ModRevision + 1000, time.Now().Add(-time.Hour)}}
	if left := b.left(got.Kvs[0]); left < 50*time.Second {
		t.Errorf("a slot at a lower revision is free in %s", left)
	}
	// A slot that another session made at the same revision isn't this session's.
	a.holder = `{"id":"another"}`
	if _, err := a.Renew(t.Context()); !errors.Is(err, engine.ErrLost) {
		t.Errorf("another one's slot is renewed: %v", err)
	}
	if err := a.Release(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, err := b.c.Get(t.Context(), a.key("place", "00000")); err != nil || got.Count != 1 {
		t.Errorf("another one's slot is released: %v", err)
	}
	if _, err := b.Look(t.Context(), "back"); err != nil {
		t.Fatal(err)
	}
	b.revision += 1000
	if g, err := b.Acquire(t.Context(), 0); !errors.As(err, new(*engine.Taken)) {
		t.Errorf("of an etcd that has gone back it takes %+v, %v", g, err)
	}
}
