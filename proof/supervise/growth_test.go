//go:build linux

package main

import (
	"testing"

	"lifeline/proof/need"
)

// TestGrowth checks that respawns leave no descriptor, zombie or memory behind.
func TestGrowth(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	b := ready(t)
	for _, options := range [][]string{nil, {"--watchdog", "1m"}, {"--listen", "unix://" + b.dir + "/web.sock"}} {
		sizes := must[[]size](t)(b.respawns([]int{30, 300}, options...))
		early, late := sizes[0], sizes[1]
		t.Logf("%v: %+v, then %+v", options, early, late)
		if late.fds != early.fds {
			t.Errorf("%v: %d descriptors after 30 respawns, %d after 300", options, early.fds, late.fds)
		}
		if early.zombies+late.zombies != 0 {
			t.Errorf("%v: %d zombies after 30 respawns, %d after 300", options, early.zombies, late.zombies)
		}
		// The runtime keeps a thread for each call that has ever blocked beside others.
		// The same work needs at most ten more.
		if late.threads > early.threads+10 {
			t.Errorf("%v: %d threads after 30 respawns, %d after 300", options, early.threads, late.threads)
		}
		// The runtime collects the heap from 4 MB on.
		if late.rss > early.rss+8<<20 {
			t.Errorf("%v: %s after 30 respawns, %s after 300", options, mb(early.rss), mb(late.rss))
		}
	}
}

// TestExecStaysAlone checks that under --exec no supervisor stays.
func TestExecStaysAlone(t *testing.T) {
	b := ready(t)
	dir, times, err := b.room()
	if err != nil {
		t.Fatal(err)
	}
	s := must[*subject](t)(start("lifeline", dir, times, nil, b.argv(dir, []string{"--exec"}, b.first)))
	t.Cleanup(s.end)
	began(t, s)
	if s.worker.PID != s.cmd.Process.Pid {
		t.Errorf("the worker is pid %d beside lifeline's %d", s.worker.PID, s.cmd.Process.Pid)
	}
}
