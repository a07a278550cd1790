package etcd

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lifeline/lifeline/cluster/engine"
	"lifeline/lifeline/cluster/engine/enginetest"
)

// TestLate: a request that was given up may still be carried out. A place
// that came of it belongs to nobody, and mustn't be lost to the others.
func TestLate(t *testing.T) {
	address := enginetest.Etcd(t)
	e, err := Open(t.Context(), address, "late")
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	if _, err := e.Join(t.Context(), engine.Member{Name: "late", Node: "a", TTL: 5 * time.Second, Slots: 3}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Acquire(t.Context()); err != nil {
		t.Fatal(err)
	}
	second, strangers := e.key("place", "00001"), e.key("place", "00002")
	if _, err := e.c.Put(t.Context(), second, "{}", clientv3.WithLease(e.lease)); err != nil {
		t.Fatal(err)
	}
	if _, err := e.c.Put(t.Context(), strangers, "{}"); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Renew(t.Context()); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]int64{e.place: 1, second: 0, strangers: 1} {
		if got, err := e.c.Get(t.Context(), key); err != nil || got.Count != want {
			t.Errorf("%s: %d of it (%v), want %d", key, got.Count, err, want)
		}
	}
	// And one whose answer alone was lost is taken up.
	e.place, e.fence = "", 0
	if grant, err := e.Acquire(t.Context()); err != nil || e.place != e.key("place", "00000") || grant.Fence == 0 {
		t.Errorf("asked again: %q, %+v, %v", e.place, grant, err)
	}
}
