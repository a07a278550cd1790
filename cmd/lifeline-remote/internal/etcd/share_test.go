package etcd

import (
	"testing"
	"time"

	"lifeline/internal/cluster/enginetest"
)

// TestSharingLeavesOneLease checks that a node's next session uses the lease of its
// last, so that week-long leases don't pile up.
func TestSharingLeavesOneLease(t *testing.T) {
	address := enginetest.Etcd(t)
	e := join(t, address, "web", "a", time.Minute)
	if err := e.Share(t.Context(), []byte("{}")); err != nil {
		t.Fatal(err)
	}
	first := e.sharing
	if err := e.Leave(t.Context()); err != nil {
		t.Fatal(err)
	}
	e = join(t, address, "web", "a", time.Minute)
	if err := e.Share(t.Context(), []byte("{}")); err != nil || e.sharing != first {
		t.Errorf("the lease is %x, not %x: %v", e.sharing, first, err)
	}
	e.revoke(first) // the key goes with it, as after a week
	if err := e.Share(t.Context(), []byte("{}")); err != nil || e.sharing == first {
		t.Errorf("after the lease's end: %x, %v", e.sharing, err)
	}
	if list, err := e.Shared(t.Context()); err != nil || len(list) != 1 {
		t.Errorf("then %d are shared, %v", len(list), err)
	}
}
