package enginetest

import (
	"testing"

	"lifeline/internal/cluster/engine"
)

// share checks that every node reads what a node shares, that it outlives the session,
// and that the next session replaces it. It makes no name exist, and Forget removes it.
func (s Suite) share(t *testing.T) {
	name := fresh(t)
	other := s.open(t, "")
	shared := func() (list []engine.Shared) {
		t.Helper()
		all, err := other.Shared(t.Context())
		other.must(err)
		for _, one := range all {
			if one.Name == name {
				list = append(list, one)
			}
		}
		return list
	}
	a := s.join(t, name, "a", 1)
	a.must(a.Share(t.Context(), []byte(`{"at":1}`)))
	a.must(a.Share(t.Context(), []byte(`{"at":"é漢"}`)))
	if list := shared(); len(list) != 1 || list[0].Node != "a" || string(list[0].Text) != `{"at":"é漢"}` {
		t.Fatalf("shared is %q", list)
	}
	if view, err := other.Look(t.Context(), name); err != nil || len(view.States) != 1 ||
		len(view.States[0].Members) != 1 {
		t.Errorf("beside what is shared it stands as %+v, %v", view, err)
	}
	b := s.join(t, name, "b", 1)
	b.must(b.Share(t.Context(), make([]byte, engine.MaxShared)))
	a.must(a.Leave(t.Context()))
	if list := shared(); len(list) != 2 || list[0].Node != "a" || list[1].Node != "b" ||
		len(list[1].Text) != engine.MaxShared {
		t.Fatalf("after the session of a, %d are shared", len(list))
	}
	again := s.join(t, name, "a", 1)
	again.must(again.Share(t.Context(), []byte(`{"at":2}`)))
	if list := shared(); len(list) != 2 || string(list[0].Text) != `{"at":2}` {
		t.Fatalf("the next session shares %q", list)
	}
	again.must(again.Leave(t.Context()))
	b.must(b.Leave(t.Context()))
	other.must(other.Forget(t.Context(), name))
	if list := shared(); len(list) > 0 {
		t.Errorf("forgotten, it is still shared: %q", list)
	}
}
