package node

import (
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/engine"
)

// told counts the "say" messages with the text.
func (r *rig) told(text string) (n int) {
	for _, m := range r.took("say") {
		if strings.Contains(m.Text, text) {
			n++
		}
	}
	return n
}

// TestSessionEngineGoesBack checks the wait after an engine has gone back. The engine
// may have forgotten a holder, and that node may run until its deadline.
func TestSessionEngineGoesBack(t *testing.T) {
	for what, back := range map[string]func(*fake){
		"other data":     func(f *fake) { f.epoch, f.history = "i.1", "i" },
		"lower revision": func(f *fake) { f.revision = 90 },
		"lower fence":    func(f *fake) { f.fence = 2 },
	} {
		t.Run(what, func(t *testing.T) {
			rigged(t, cluster.Hello{}, func(r *rig) {
				r.f.revision, r.f.fence = 100, 7
				r.f.others = []engine.Status{{ID: "b", Node: "b", Slot: 0, Fence: 7, TTL: 10 * time.Second}}
				r.say("want")
				r.sleep(20 * time.Second)
				back(r.f)
				r.f.others = nil // forgotten
				r.sleep(9 * time.Second)
				if got := r.took("granted"); len(got) > 0 {
					t.Fatalf("within a TTL it says %v", got)
				}
				if n := r.told("has gone back in time"); n != 1 {
					t.Errorf("it is said %d times", n)
				}
				r.sleep(12 * time.Second)
				if got := r.took("granted"); len(got) != 1 || got[0].Fence != 8 {
					t.Errorf("after the TTL it says %v", got)
				}
			})
		})
	}
}

// TestSessionEngineStartsAgain checks that a standby waits for a TTL after an election,
// or a restart without losses, and reports nothing. The holder goes on.
func TestSessionEngineStartsAgain(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.granted()
		r.f.epoch = "h.2"
		r.sleep(time.Minute)
		if r.kills > 0 || r.told("gone back") > 0 || !r.f.held {
			t.Error("the holder has lost it")
		}
		if r.kept.Epoch != "h.2" || r.kept.Fence != 1 {
			t.Errorf("written down is %+v", r.kept)
		}
		r.say("release")
		r.sleep(time.Second)
		r.f.epoch = "h.3"
		r.say("want")
		r.sleep(9 * time.Second)
		if got := r.took("granted"); len(got) > 0 {
			t.Errorf("right after an election it says %v", got)
		}
	})
}

// TestSessionTicksGoBack checks that a mark that the engine has forgotten is raised
// before a tick is run.
func TestSessionTicksGoBack(t *testing.T) {
	rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC * * * * *"}, func(r *rig) {
		r.granted()
		before := r.f.mark
		first := r.runTicks(5*time.Minute, func(n int) time.Duration {
			if n == 2 {
				before = r.f.mark
			}
			return 0
		})
		r.f.mark = before // back by three ticks
		second := r.runTicks(r.now()+3*time.Minute, func(int) time.Duration { return 0 })
		all := append(first, second...)
		for i := 1; i < len(all); i++ {
			if all[i] <= all[i-1] {
				t.Fatalf("%s is run after %s", all[i], all[i-1])
			}
		}
		if len(second) < 2 || r.f.mark.Skipped != 0 {
			t.Errorf("then it runs %q, and the mark is %+v", second, r.f.mark)
		}
	})
}

// TestSessionTickEndIsWrittenLater ends a run while the engine is away, until the lease
// is lost. The run's end is written when the engine is back.
func TestSessionTickEndIsWrittenLater(t *testing.T) {
	rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC 0 * * * *"}, func(r *rig) {
		hour := time.Now().UTC().Truncate(time.Hour)
		r.f.mark = engine.Mark{Claimed: hour.Add(-time.Hour), Done: hour.Add(-time.Hour), Serial: 3}
		r.granted()
		for len(r.took("tick")) == 0 {
			r.sleep(100 * time.Millisecond)
		}
		r.say(starting("g"))
		r.f.err = errAway
		r.sleep(time.Second)
		r.say(ended("g", 1, 0), done(hour.Format(time.RFC3339), 0))
		r.sleep(20 * time.Second)
		if len(r.took("lost")) != 1 {
			t.Fatal("the test is wrong: the lease wasn't lost")
		}
		r.f.others = []engine.Status{{ID: "b", Node: "b", Slot: 0, Fence: 9, TTL: 10 * time.Second}}
		r.f.err, r.f.held = nil, false
		r.say("want")
		r.sleep(20 * time.Second)
		if !r.f.mark.Done.Equal(hour) || r.f.mark.Skipped != 0 {
			t.Errorf("the mark is %+v", r.f.mark)
		}
	})
}

// TestSessionTickReturned checks that a claimed tick that lifeline can't run stays due, also
// when lifeline has tried to start the command. Before, the tick was written as done.
func TestSessionTickReturned(t *testing.T) {
	for n := range 4 {
		lost, tried := n&1 != 0, n&2 != 0
		rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC * * * * *"}, func(r *rig) {
			r.granted()
			var label string
			for label == "" {
				r.sleep(100 * time.Millisecond)
				if got := r.took("tick"); len(got) > 0 {
					label = got[0].Label
				}
			}
			if lost {
				r.f.err = errAway
			}
			if tried {
				end := ended("g", 0, 125)
				end.Unbegun = true
				r.say(starting("g"), started("g"), end)
			}
			r.say(done(label, 125))
			if lost {
				r.sleep(20 * time.Second)
				r.f.err, r.f.held = nil, false
				r.say("want")
			}
			if labels := r.runTicks(r.now()+50*time.Second, func(int) time.Duration { return 0 }); len(labels) == 0 ||
				labels[0] != label {
				t.Errorf("lost %t, tried %t: %s isn't run again, but %q", lost, tried, label, labels)
			}
		})
	}
}

// TestSessionWaitsForAnEnd checks that a node that finds another node's run without an
// end waits a TTL for it.
func TestSessionWaitsForAnEnd(t *testing.T) {
	rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC 0 * * * *"}, func(r *rig) {
		hour := time.Now().UTC().Truncate(time.Hour)
		r.f.mark = engine.Mark{Claimed: hour, Done: hour.Add(-time.Hour), Serial: 3}
		r.granted()
		r.sleep(5 * time.Second)
		r.f.mark.Done, r.f.mark.Serial = hour, 4 // written by the node that ran it
		r.sleep(time.Minute)
		if r.f.mark.Skipped != 0 || r.told("never finished") > 0 {
			t.Errorf("it is counted as lost: %+v", r.f.mark)
		}
	})
}

// TestSessionClockIsWrong checks that a node with a wrong clock runs no tick, and hands
// over.
func TestSessionClockIsWrong(t *testing.T) {
	for _, ahead := range []time.Duration{-10 * 365 * 24 * time.Hour, 10 * 365 * 24 * time.Hour} {
		rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC * * * * *", MaxClockSkew: time.Minute}, func(r *rig) {
			r.f.clock = -ahead // the engine's
			r.say("want")
			r.sleep(3 * time.Minute)
			if got := append(r.took("granted"), r.took("tick")...); len(got) > 0 || r.told("clock") != 1 {
				t.Errorf("with a clock that is wrong by %s: %v", ahead, got)
			}
			r.f.clock = 0
			r.runTicks(r.now()+time.Minute, func(int) time.Duration { return 0 })
			if len(r.took("granted")) != 1 || r.told("agrees") != 1 {
				t.Error("with the clock set right it isn't granted")
			}
			r.f.clock = -ahead
			r.runTicks(r.now()+30*time.Second, func(int) time.Duration { return 0 })
			if len(r.took("yield")) != 1 {
				t.Error("the holder doesn't hand over")
			}
		})
	}
}

// TestSessionClockAlone checks that two nodes whose clocks differ both wait. After one
// has left, the other node goes on.
func TestSessionClockAlone(t *testing.T) {
	rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC * * * * *", MaxClockSkew: time.Minute}, func(r *rig) {
		r.f.clock = 2 * time.Minute
		r.say("want")
		r.sleep(time.Minute)
		if got := r.took("granted"); len(got) > 0 {
			t.Fatalf("with another clock it is granted: %v", got)
		}
		r.f.alone = true
		r.sleep(time.Minute)
		if got := r.took("granted"); len(got) != 1 {
			t.Errorf("with nothing to compare with it isn't granted: %v", got)
		}
	})
}

// TestSessionMarkOfTheFuture checks that a mark of the future is reported once, with
// the remedy. After an operator has set it back, the ticks go on.
func TestSessionMarkOfTheFuture(t *testing.T) {
	rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC * * * * *", MaxClockSkew: time.Minute}, func(r *rig) {
		future := time.Now().UTC().Truncate(time.Minute).Add(87600 * time.Hour)
		r.f.mark = engine.Mark{Claimed: future, Done: future, Serial: 9}
		r.granted()
		r.sleep(3 * time.Minute)
		if n := r.told("reset web"); n != 1 {
			t.Errorf("told of %d times", n)
		}
		now := time.Now().UTC().Truncate(time.Second)
		if err := r.f.Raise(t.Context(), "web", engine.Floor{Mark: engine.Mark{Claimed: now, Done: now,
			Serial: 10}}); err != nil {
			t.Fatal(err)
		}
		if labels := r.runTicks(r.now()+3*time.Minute, func(int) time.Duration { return 0 }); len(labels) < 2 {
			t.Errorf("set back, it runs %q", labels)
		}
	})
}

// TestSessionSecondNode checks that of two nodes with the same node name the second is
// refused.
func TestSessionSecondNode(t *testing.T) {
	for order, refused := range map[uint64]int{1: 1, 3: 0} {
		rigged(t, cluster.Hello{}, func(r *rig) {
			r.f.order = 2
			r.f.others = []engine.Status{{ID: "b", Node: "a", Slot: -1, Order: order},
				{ID: "c", Node: "c", Slot: 0, TTL: 10 * time.Second}}
			r.say("want")
			r.sleep(20 * time.Second)
			if got := r.took("refused"); len(got) > 0 {
				t.Fatalf("a session that was killed a moment ago is taken for a node: %v", got)
			}
			r.sleep(20 * time.Second)
			if got := r.took("refused"); len(got) != refused || refused > 0 &&
				!strings.Contains(got[0].Text, "--node") {
				t.Errorf("with one that came as number %d before or after number 2: %v", order, got)
			}
		})
	}
}

// TestMemoryFile checks that what a node knows of the engine survives lifeline-remote.
func TestMemoryFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "web.cluster")
	keep, end := writer(path)
	want := memory{Floor: engine.Floor{Fence: 1 << 60, Mark: engine.Mark{Claimed: time.Unix(1e9, 0).UTC(), Serial: 7}},
		Epoch: "e", History: "h", Revision: 8}
	for n := range uint64(100) {
		keep(memory{Revision: n})
	}
	keep(want)
	end()
	if got := readMemory(path); got != want {
		t.Errorf("it reads %+v", got)
	}
	if got := readMemory(path + "x"); got != (memory{}) {
		t.Errorf("without a file it reads %+v", got)
	}
	synctest.Test(t, func(*testing.T) { keep, end := writer(""); keep(want); end() })
}
