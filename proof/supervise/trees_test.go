//go:build linux

package main

import (
	"math/rand/v2"
	"testing"
	"time"

	"lifeline/proof/need"
)

// TestTrees ends random trees: LIFELINE_TREES of them, from LIFELINE_SEED.
func TestTrees(t *testing.T) {
	b := ready(t)
	seed := need.Number(t, "LIFELINE_SEED", rand.Uint64())
	r := rand.New(rand.NewPCG(seed, 0))
	for n := range need.Number(t, "LIFELINE_TREES", 20) {
		text, processes := plan(r, 0)
		g, err := b.grow(text, processes)
		if err == nil {
			_, err = b.fell(g)
		}
		if err != nil {
			t.Errorf("LIFELINE_SEED=%d, tree %d, %s: %v", seed, n, text, err)
		}
	}
}

// TestTreeOfKilledWorker checks that lifeline ends the whole tree after its first
// process was killed.
func TestTreeOfKilledWorker(t *testing.T) {
	b := ready(t)
	g, err := b.grow("(sxe()tsd(xte())gd(s()))", 6)
	if err != nil {
		t.Fatal(err)
	}
	root, found := childOf(g.cmd.Process.Pid, b.tree)
	if !found {
		t.Fatal("the worker isn't lifeline's child")
	}
	open(t, root).Signal(9)
	_ = g.cmd.Wait() // lifeline ends with its worker, and not before the tree
	if left := marked(g.marker); left != "" {
		t.Errorf("still there after lifeline's end:\n%s", left)
	}
	g.end()
}

func TestRunaway(t *testing.T) {
	b := ready(t)
	took := must[time.Duration](t)(b.runaway())
	// The tree would end by itself after two minutes.
	if took > 100*time.Second {
		t.Errorf("it took %s", took)
	}
}
