//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"lifeline/proof/build"
	"lifeline/proof/engine"
	"lifeline/proof/need"
)

var made settings

func TestMain(m *testing.M) {
	os.Exit(build.Around("cluster", func(p build.Programs) int {
		made = with(p)
		made.ttl = time.Second
		return m.Run()
	}))
}

// settingsFor returns the settings of a test, or a reason to leave it out.
func settingsFor(t *testing.T, name string) settings {
	t.Helper()
	need.Time(t, "real engines and real time")
	s := made
	subject, ok := subjectOf(name)
	if !ok {
		t.Fatalf("no guard of the name %q", name)
	}
	need.NoError(t, subject.lacks())
	if subject.fence && s.missing != nil {
		t.Fatal(s.missing)
	}
	if name == "etcdctl" {
		_, err := engine.Find("LIFELINE_ETCDCTL", "etcdctl")
		need.NoError(t, err)
	}
	s.subject, s.dir = subject, filepath.Join(t.TempDir(), name)
	return s
}

func strike(t *testing.T, name string, seed uint64, rounds int) (attack, *outcome) {
	t.Helper()
	c := attack{settings: settingsFor(t, name), seed: seed, rounds: rounds}
	r, err := run(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("LIFELINE_SEED=%d\n%s%s", seed, tableHead, row(c, r))
	if r.Faults == 0 || len(r.Runs) < 2 {
		t.Errorf("%d faults and %d starts: nothing was attacked", r.Faults, len(r.Runs))
	}
	return c, r
}

// TestAttack runs the short form of the command, with the same plan every time. Two
// instances are always a failure. Times aren't judged, because the machine may be slow.
func TestAttack(t *testing.T) {
	for _, name := range []string{"lifeline-etcd", "lifeline-postgres"} {
		t.Run(name, func(t *testing.T) {
			c, r := strike(t, name, need.Number(t, "LIFELINE_SEED", 7), int(need.Number(t, "LIFELINE_ROUNDS", 8)))
			if bad := verdict(c, r); bad != "" {
				text, _ := os.ReadFile(filepath.Join(c.dir, "log"))
				t.Errorf("%s\nthe log:\n%s", bad, text[max(0, len(text)-20000):])
			}
		})
	}
}

// TestControl attacks etcd's own lock command in the same way. It must fail,
// or the attack proves nothing.
func TestControl(t *testing.T) {
	if _, r := strike(t, "etcdctl", 7, 10); len(r.Overlaps) == 0 {
		t.Error("the naive control survived, so this attack proves nothing")
	}
}

// TestPlan checks that the same seed gives the same faults, and that every kind of
// fault comes.
func TestPlan(t *testing.T) {
	seen, differ := map[kind]bool{}, 0
	for seed := range uint64(20) {
		for n := range 100 {
			a := planOf(seed, n, time.Second)
			if !reflect.DeepEqual(a, planOf(seed, n, time.Second)) {
				t.Fatalf("seed %d, round %d: two plans", seed, n)
			}
			if !reflect.DeepEqual(a, planOf(seed+1, n, time.Second)) {
				differ++
			}
			for _, x := range a {
				seen[x.kind] = true
			}
		}
	}
	if len(seen) != int(kinds) || differ == 0 {
		t.Errorf("%d of %d kinds of faults, %d plans differ", len(seen), kinds, differ)
	}
}

// TestSlots checks that with three slots at most three of six nodes run a worker.
func TestSlots(t *testing.T) {
	c := attack{settings: settingsFor(t, "lifeline-etcd"), seed: need.Number(t, "LIFELINE_SEED", 7),
		rounds: int(need.Number(t, "LIFELINE_ROUNDS", 5))}
	c.slots, c.nodes = 3, 6
	r, err := run(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("\n%s%s", tableHead, row(c, r))
	if bad := verdict(c, r); bad != "" {
		t.Error(bad)
	}
	if len(r.Runs) < 3 || r.Faults == 0 {
		t.Errorf("%d starts, %d faults: nothing was attacked", len(r.Runs), r.Faults)
	}
}

// TestOutage takes the engine away. The worker must end in time, all nodes must wait,
// and one instance must run after the engine is back.
func TestOutage(t *testing.T) {
	for _, name := range []string{"lifeline-etcd", "lifeline-postgres"} {
		for _, silent := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/silent=%t", name, silent), func(t *testing.T) {
				s := settingsFor(t, name)
				s.nodes = 3
				o, err := engineAway(s, 4*time.Second, silent)
				if err != nil {
					t.Fatal(err)
				}
				t.Logf("%+v", *o)
				if bad := o.bad(s); bad != "" {
					t.Error(bad)
				}
			})
		}
	}
}

// TestFailover checks that each way to lose the holder brings another instance, and
// never two at once. Times are printed, not judged.
func TestFailover(t *testing.T) {
	for _, name := range []string{"lifeline-etcd", "lifeline-postgres"} {
		t.Run(name, func(t *testing.T) {
			s := settingsFor(t, name)
			s.nodes = 3
			list, c, err := failover(s, 1)
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range list {
				t.Logf("%s: %s from the fault, %s without an instance", x.way, x.total, x.gap)
				if x.both > 0 || len(x.total) != 1 {
					t.Errorf("%s: %d times two at once, %d measured", x.way, x.both, len(x.total))
				}
			}
			if len(c.Overlaps) > 0 || len(c.Fences) > 0 {
				t.Errorf("overlaps %v, fences that fell %v", c.Overlaps, c.Fences)
			}
		})
	}
}

// TestTicks runs scheduled jobs on nodes whose clocks differ by more than a TTL and
// many periods.
func TestTicks(t *testing.T) {
	for _, again := range []bool{false, true} {
		t.Run(fmt.Sprintf("again=%t", again), func(t *testing.T) {
			d := drill{settings: settingsFor(t, "lifeline-etcd"), seed: need.Number(t, "LIFELINE_SEED", 7), ticks: 12,
				apart: 10 * time.Second, kills: true, again: again}
			d.nodes = 4
			r, err := d.run()
			if err != nil {
				t.Fatal(err)
			}
			t.Log(r.row(d))
			if bad := r.bad(d); bad != "" {
				t.Error(bad)
			}
		})
	}
}

// TestBack makes the engine lose state in each way, with and without scheduled runs.
func TestBack(t *testing.T) {
	for _, name := range []string{"lifeline-etcd", "lifeline-postgres"} {
		for i, l := range lapses {
			if s, _ := subjectOf(name); l.engine != "" && l.engine != s.engine {
				continue
			}
			for _, ticks := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s/%d/%t", name[len("lifeline-"):], i, ticks), func(t *testing.T) {
					s := settingsFor(t, name)
					if l.name == clockSet {
						need.NoError(t, engine.MissingFaketime())
					}
					r, err := back(s, l, int(need.Number(t, "LIFELINE_ROUNDS", 2)),
						need.Number(t, "LIFELINE_SEED", 5), ticks)
					if err != nil {
						t.Fatal(err)
					}
					t.Log(r.row(s, l))
					if bad := r.bad(); bad != "" {
						t.Error(bad)
					}
					if len(r.Runs) == 0 {
						t.Error("nothing ran")
					}
				})
			}
		}
	}
}
