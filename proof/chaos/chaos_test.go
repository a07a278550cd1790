//go:build linux

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"lifeline/proof/build"
	"lifeline/proof/check"
	"lifeline/proof/need"
)

var programs build.Programs

func TestMain(m *testing.M) {
	ownMounts()
	os.Exit(build.Around("chaos", func(p build.Programs) int {
		programs = p
		return m.Run()
	}))
}

func attack(t *testing.T, name string, seed uint64, ticks int) (config, *result) {
	t.Helper()
	s, ok := subjectOf(name)
	if !ok {
		t.Fatalf("no guard of the name %q", name)
	}
	c := config{subject: s, programs: programs, dir: filepath.Join(t.TempDir(), name), seed: seed,
		rounds: ticks, tick: 60 * time.Millisecond, share: 0.3, calm: 20}
	r, err := run(c)
	if err != nil {
		t.Fatal(err)
	}
	return c, r
}

// TestChaos runs the short form of the command, with the same plan every time.
// LIFELINE_SEED takes another plan, and make chaos runs any number of plans. Two
// instances are always a failure. Times aren't judged, because the machine may be slow.
func TestChaos(t *testing.T) {
	seed := need.Number(t, "LIFELINE_SEED", 7)
	ticks := int(need.Number(t, "LIFELINE_TICKS", 250))
	c, r := attack(t, "lifeline", seed, ticks)
	t.Logf("LIFELINE_SEED=%d\n%s%s", seed, tableHead, row(c, r))
	if bad := verdict(r); bad != "" {
		t.Errorf("%s\nLIFELINE_SEED=%d; the log:\n%s", bad, seed, lastLines(c))
	}
	if r.Faults == 0 || len(r.Lives) < 2 {
		t.Errorf("%d faults and %d starts: nothing was attacked", r.Faults, len(r.Lives))
	}
}

// seedTicks is how long each of the seeds is attacked.
const seedTicks = 20

// TestSeeds plays forty other plans, each for a short time and several at once, so
// that they also compete for the machine. LIFELINE_SEEDS sets their number.
func TestSeeds(t *testing.T) {
	seeds := need.Number(t, "LIFELINE_SEEDS", 40)
	if testing.Short() {
		seeds = min(seeds, 10)
	}
	var mu sync.Mutex
	var all check.Report
	ticks := 0
	t.Run("all", func(t *testing.T) {
		for seed := uint64(1); seed <= seeds; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				s, _ := subjectOf("lifeline")
				c := config{subject: s, programs: programs, dir: filepath.Join(t.TempDir(), "run"), seed: seed,
					rounds: seedTicks, tick: 60 * time.Millisecond, share: 0.5, calm: 10}
				r, err := run(c)
				if err != nil {
					t.Fatal(err)
				}
				if bad := verdict(r); bad != "" {
					t.Errorf("%s\nseed %d, %d ticks; the log:\n%s", bad, seed, seedTicks, lastLines(c))
				}
				mu.Lock()
				defer mu.Unlock()
				ticks += r.ticks
				all.Lives, all.Gaps = append(all.Lives, r.Lives...), append(all.Gaps, r.Gaps...)
				all.Faults, all.Overlaps = all.Faults+r.Faults, all.Overlaps+r.Overlaps
			})
		}
	})
	t.Logf("%d seeds, %d ticks: %s", seeds, ticks, &all)
}

// TestControl attacks a plain flock in the same way. It must fail, or the
// attack proves nothing.
func TestControl(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	c, r := attack(t, "flock", 1, 150)
	t.Logf("\n%s%s", tableHead, row(c, r))
	if r.Overlaps == 0 {
		t.Error("the naive control survived, so this attack proves nothing")
	}
}

// lastLines returns the end of the log without the ticks.
func lastLines(c config) []byte {
	text, _ := os.ReadFile(filepath.Join(c.dir, "log"))
	lines := slices.DeleteFunc(bytes.SplitAfter(text, []byte("\n")), func(l []byte) bool {
		return bytes.HasPrefix(l, []byte("tick"))
	})
	return bytes.Join(lines[max(0, len(lines)-400):], nil)
}
