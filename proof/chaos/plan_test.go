//go:build linux

package main

import (
	"reflect"
	"testing"
	"time"
)

// TestPlanIsRepeatable checks that the same seed gives the same faults.
func TestPlanIsRepeatable(t *testing.T) {
	differ := 0
	for n := range 500 {
		a, b := planOf(5, n, time.Millisecond, 0.5, ""), planOf(5, n, time.Millisecond, 0.5, "")
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("tick %d: %+v and %+v", n, a, b)
		}
		if !reflect.DeepEqual(a, planOf(6, n, time.Millisecond, 0.5, "")) {
			differ++
		}
	}
	if differ == 0 {
		t.Error("another seed gave the same plans")
	}
}

// TestPlanNeverCombines checks that no plan has the combination that can't be
// survived, and that everything else is in some plan.
func TestPlanNeverCombines(t *testing.T) {
	seen := map[kind]bool{}
	bursts, hidden := 0, 0
	epochs := map[epoch]bool{}
	for seed := range uint64(40) {
		for n := range 4 * epochLength {
			p, e := planOf(seed, n, 60*time.Millisecond, 0.5, ""), epochOf(seed, n)
			epochs[e] = true
			if p.burst > 1 {
				bursts++
			}
			for _, v := range p.workers {
				if (v.background || v.follow) != v.follow || v.follow && (v.daemon != "" || v.children > 0) {
					t.Fatalf("seed %d tick %d: under follow, what a worker leaves is the instance: %+v", seed, n, v)
				}
				if v.closeFrom && v.wipe {
					hidden++
					if e == plain || e == followed {
						t.Fatalf("seed %d tick %d: a worker that hides in both ways among all faults", seed, n)
					}
				}
			}
			for _, a := range p.actions {
				seen[a.kind] = true
				if e == noKills && a.kind.kills() || e == noWipes && a.kind.forgets() {
					t.Fatalf("seed %d tick %d: %s in %q", seed, n, a, e)
				}
			}
		}
	}
	if len(seen) != int(kinds) || bursts == 0 || hidden == 0 || len(epochs) != 4 {
		t.Errorf("%d of %d kinds of faults, %d bursts, %d hidden workers, %d epochs", len(seen), kinds, bursts, hidden,
			len(epochs))
	}
}
