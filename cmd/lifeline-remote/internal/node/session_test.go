package node

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/engine"
)

func TestSessionHoldsAndGivesBack(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.granted()
		r.say(starting("g1"), started("g1"))
		r.sleep(time.Minute)
		if n := len(r.took("renewed")); n < 15 || n > 25 {
			t.Errorf("renewed %d times in a minute", n)
		}
		if r.kills != 0 || !r.f.held {
			t.Fatal("it isn't kept")
		}
		r.say(ended("g1", 5000, 0), "release")
		r.sleep(10 * time.Millisecond)
		if r.f.held || len(r.took("released")) != 1 || r.kills != 0 {
			t.Fatal("it isn't given back")
		}
	})
}

// TestSessionDeadlineBeforeTheRequest checks that the deadline counts from before the
// request, so that a late answer leaves less time.
func TestSessionDeadlineBeforeTheRequest(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.f.after = 2 * time.Second
		r.say("want")
		r.sleep(10 * time.Second)
		got := r.took("granted")
		if len(got) != 1 {
			t.Fatalf("granted %d times: %v", len(got), r.said)
		}
		if d := got[0].Deadline; d > r.f.expires {
			t.Fatalf("told the deadline %s, the engine has %s", d, r.f.expires)
		}
	})
}

// waysToBeAway are the ways in which an engine is away: it refuses calls, or hangs.
var waysToBeAway = map[string]func(*fake){
	"refuses": func(f *fake) { f.err = errors.New("connection refused") },
	"hangs":   func(f *fake) { f.delay = time.Hour },
}

// TestSessionEngineAway checks that the worker is killed before the lease ends, while
// the engine is away.
func TestSessionEngineAway(t *testing.T) {
	for name, away := range waysToBeAway {
		t.Run(name, func(t *testing.T) {
			rigged(t, cluster.Hello{}, func(r *rig) {
				r.granted()
				r.say(starting("g1"))
				r.sleep(time.Second)
				expires := r.f.expires
				away(r.f)
				for r.kills == 0 {
					r.sleep(10 * time.Millisecond)
					if r.now() >= expires {
						t.Fatalf("at %s nothing was killed", r.now())
					}
				}
				if early := expires - r.now(); early > time.Second {
					t.Errorf("killed %s early", early)
				}
				if len(r.took("lost")) != 1 {
					t.Error("lifeline doesn't hear of it")
				}
				r.f.calls = nil
				r.say(ended("g1", 1, 137), "release", "want")
				r.sleep(time.Minute)
				if n := len(r.f.calls); n == 0 || n > 60 {
					t.Errorf("in a minute without the engine it was asked %d times", n)
				}
				r.f.err, r.f.delay = nil, 0
				r.sleep(15 * time.Second)
				if len(r.took("granted")) != 1 {
					t.Error("the engine is back, and nothing is granted")
				}
			})
		})
	}
}

// TestSessionGivesBackToAnEngineAway has the engine away at the release, after which
// lifeline wants the lease again. Before, the node never stood by again, and tried
// refused connections without a pause.
func TestSessionGivesBackToAnEngineAway(t *testing.T) {
	for name, away := range waysToBeAway {
		t.Run(name, func(t *testing.T) {
			rigged(t, cluster.Hello{}, func(r *rig) {
				r.granted()
				r.say(starting("g1"))
				r.sleep(time.Second)
				away(r.f)
				r.f.calls = nil
				r.say(ended("g1", 1, 0), "release", "want")
				r.sleep(20 * time.Second) // the deadline is in between
				if n := len(r.f.calls); n == 0 || n > 60 {
					t.Errorf("in 20 s without the engine it was asked %d times", n)
				}
				r.f.err, r.f.delay = nil, 0
				r.sleep(25 * time.Second)
				if len(r.took("granted")) != 1 {
					t.Errorf("the engine is back, and nothing is granted: %q", r.f.calls)
				}
			})
		})
	}
}

// TestSessionLost checks that the worker is killed at once when the engine says that
// the session has ended.
func TestSessionLost(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.granted()
		r.say(starting("g1"))
		r.f.member = false
		r.sleep(4 * time.Second)
		if r.kills != 1 || len(r.took("lost")) != 1 {
			t.Fatal("a lease that is gone is kept")
		}
		r.sleep(time.Minute) // only after lifeline says that every process has ended
		if r.f.member {
			t.Fatal("it stands by while something may live")
		}
	})
}

// TestSessionLongWords checks that an engine's error that is longer than a line is cut.
// lifeline would take it for nonsense, and end its worker.
func TestSessionLongWords(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.granted()
		r.f.err = errors.New(strings.Repeat("\xc0 all endpoints are away ", 1000))
		r.sleep(20 * time.Second)
		said := r.took("say")
		if len(said) != 1 || len(said[0].Line()) > 4000 {
			t.Errorf("said: %v", said)
		}
	})
}

func TestSessionLifelineDies(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.granted()
		r.say(starting("g1"), started("g1"))
		r.conn.Close()
		r.sleep(100 * time.Millisecond)
		if r.kills != 1 || r.f.held || r.f.member {
			t.Fatalf("killed %d times; the lease is kept: %t", r.kills, r.f.held)
		}
	})
}

// TestSessionLifelineTalksNonsense checks that the lease ends by itself when lifeline
// is silent or talks nonsense, because such a lifeline may still start a worker.
func TestSessionLifelineTalksNonsense(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.granted()
		r.say(starting("g1"))
		r.write("open sesame\n")
		r.sleep(100 * time.Millisecond)
		if r.kills != 1 {
			t.Fatal("nothing was killed")
		}
		if !r.f.held || !r.f.member {
			t.Fatal("the lease was given back")
		}
	})
}

// TestSessionByeWithAWorker has lifeline say bye while a reported worker lives.
func TestSessionByeWithAWorker(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.granted()
		r.say(starting("g1"), "bye")
		r.sleep(100 * time.Millisecond)
		if r.kills != 1 || r.f.held {
			t.Fatalf("killed %d times, held: %t", r.kills, r.f.held)
		}
	})
}

// TestSessionGrantedTooLate checks that a grant that comes too late to start a worker
// is given back.
func TestSessionGrantedTooLate(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.f.ttl = 2 * time.Second // less than margin and grace need
		r.say("want")
		r.sleep(5 * time.Second)
		if got := r.took("granted"); len(got) != 0 {
			t.Fatalf("granted: %v", got)
		}
	})
}

func TestSessionTaken(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.f.others = []engine.Status{{ID: "o", Node: "b", Slot: 0, TTL: 3 * time.Second}}
		r.say("want")
		r.sleep(2 * time.Second)
		if len(r.took("granted")) != 0 || slices.Contains(r.f.calls, "acquire") {
			t.Fatal("it asks for what it sees to be taken")
		}
		r.f.others = nil
		r.f.changed <- struct{}{}
		r.sleep(10 * time.Millisecond)
		if len(r.took("granted")) != 1 {
			t.Fatal("it is free, and not taken")
		}
	})
}

func TestSessionRefused(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.f.err = engine.Refuse("no such table")
		r.say("want")
		r.sleep(time.Second)
		if got := r.took("refused"); len(got) != 1 || got[0].Code != 125 || got[0].Text != "no such table" {
			t.Fatalf("it says %v", got)
		}
	})
}

func TestSessionMove(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.granted()
		r.f.others = []engine.Status{{ID: "o", Node: "b", Slot: -1}}
		r.f.wish = "b"
		r.f.changed <- struct{}{}
		r.sleep(10 * time.Millisecond)
		if got := r.took("yield"); len(got) != 1 {
			t.Fatalf("it isn't handed over: %v", got)
		}
		r.say("release", "want")
		r.sleep(2 * time.Second) // b is still starting, say
		if len(r.took("granted")) != 0 {
			t.Fatal("it takes what b is to have")
		}
		r.f.others = nil // b has gone
		r.sleep(2 * time.Second)
		if len(r.took("granted")) != 1 {
			t.Fatal("no node has it")
		}
	})
}

func TestSessionPrefer(t *testing.T) {
	rigged(t, cluster.Hello{Prefer: "b"}, func(r *rig) {
		r.granted()
		r.f.others = []engine.Status{{ID: "o", Node: "b", Slot: -1}}
		r.sleep(10 * time.Second)
		if len(r.took("yield")) != 0 {
			t.Error("handed over to a node that has only just come")
		}
		r.sleep(30 * time.Second) // two TTL, and a look before and after of up to 7.5 s
		if len(r.took("yield")) != 1 || r.f.wish != "b" {
			t.Error("it isn't handed over to the preferred node")
		}
	})
}

func TestSessionFailAfter(t *testing.T) {
	fail := func(r *rig, n int) {
		for i := range n {
			g := fmt.Sprint("g", i)
			r.say(starting(g), ended(g, 1000, 1))
			r.sleep(time.Second)
		}
	}
	rigged(t, cluster.Hello{FailAfter: 3}, func(r *rig) {
		r.granted()
		fail(r, 5)
		if len(r.took("yield")) != 0 {
			t.Fatal("handed over, and no other node is there")
		}
		r.f.others = []engine.Status{{ID: "o", Node: "b", Slot: -1}}
		r.sleep(10 * time.Second)
		if len(r.took("yield")) != 1 {
			t.Fatal("not handed over")
		}
		r.say("release", "want")
		r.f.others[0].Slot = 0
		r.sleep(time.Second)
		if r.f.member {
			t.Fatal("it doesn't sit out")
		}
		r.sleep(2 * time.Minute)
		if !r.f.member {
			t.Fatal("it never comes back")
		}
	})
	rigged(t, cluster.Hello{FailAfter: 3}, func(r *rig) {
		r.f.others = []engine.Status{{ID: "o", Node: "b", Slot: -1}}
		r.granted()
		fail(r, 2)
		r.say(starting("h"), ended("h", time.Minute, 1)) // it was up: the count starts again at zero
		fail(r, 2)
		r.sleep(10 * time.Second)
		if len(r.took("yield")) != 0 {
			t.Fatal("handed over though it didn't fail three times in a row")
		}
	})
}

// TestSessionReconnects checks that the call after a failed call uses new connections.
func TestSessionReconnects(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.granted()
		r.sleep(5 * time.Second)
		if r.f.reconnects != 0 {
			t.Fatalf("connected again %d times, and nothing had failed", r.f.reconnects)
		}
		r.f.err = errAway
		r.sleep(2 * time.Second)
		r.f.err = nil
		r.sleep(time.Second)
		if n := r.f.reconnects; n < 2 {
			t.Errorf("connected again %d times", n)
		}
		before := r.f.reconnects
		r.sleep(20 * time.Second)
		if r.f.reconnects != before || len(r.took("lost")) != 0 {
			t.Error("it doesn't go on with the new connection")
		}
	})
}

// TestStandbyRefusedLater checks that a refusal while a node stands by is reported. It
// may pass, such as when an operator replaces a password.
func TestStandbyRefusedLater(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.f.others = []engine.Status{{ID: "x", Node: "b", Slot: 0, Fence: 1}}
		r.say("want")
		r.sleep(5 * time.Second)
		r.f.err = engine.Refuse("the password is wrong")
		r.sleep(10 * time.Second)
		if got := r.took("refused"); len(got) != 0 {
			t.Fatalf("it gives up: %v", got)
		}
		if got := r.took("trouble"); len(got) != 1 || !strings.Contains(got[0].Text, "the password is wrong") {
			t.Errorf("it doesn't say why: %v", got)
		}
		r.f.err, r.f.others = nil, nil
		r.sleep(15 * time.Second)
		if len(r.took("granted")) != 1 {
			t.Error("it doesn't go on when the password is right again")
		}
	})
}

// TestSessionReadOnly checks that holder and standby report once that an engine answers
// reads but refuses writes, and once that this has ended.
func TestSessionReadOnly(t *testing.T) {
	full := engine.ReadOnly("no space left")
	want := func(t *testing.T, r *rig, text string, n int) {
		t.Helper()
		if got := r.took("say"); len(got) != n || n > 0 && !strings.Contains(got[0].Text, text) {
			t.Errorf("it says %v", got)
		}
	}
	const refuses, takes = "answers and refuses writes, trying again: no space left", "takes writes again"
	t.Run("holder", func(t *testing.T) {
		rigged(t, cluster.Hello{}, func(r *rig) {
			r.granted()
			r.f.full = full
			r.sleep(6 * time.Second) // two tries, which are after a third of the TTL
			want(t, r, refuses, 1)
			r.sleep(time.Minute)
			want(t, r, "", 0)
			if len(r.took("lost")) != 1 {
				t.Error("it keeps the lease")
			}
			r.say("want")
			r.sleep(time.Minute)
			want(t, r, "", 0)
			r.f.full = nil
			r.sleep(20 * time.Second)
			want(t, r, takes, 1)
		})
	})
	t.Run("standby", func(t *testing.T) {
		rigged(t, cluster.Hello{}, func(r *rig) {
			r.f.others = []engine.Status{{ID: "x", Node: "b", Slot: 0, Fence: 1}}
			r.say("want")
			r.sleep(5 * time.Second)
			r.f.full, r.f.others = full, nil // the holder has lost it
			r.sleep(15 * time.Second)
			want(t, r, refuses, 1)
			r.sleep(time.Minute)
			want(t, r, "", 0)
			r.f.full, r.f.others = nil, []engine.Status{{ID: "x", Node: "b", Slot: 0, Fence: 2}} // and has it again
			r.sleep(10 * time.Second)
			want(t, r, takes, 1)
		})
	})
}

// TestSessionDrained checks that a drained node hands over to another node, and takes
// no lease until the drain ends.
func TestSessionDrained(t *testing.T) {
	rigged(t, cluster.Hello{}, func(r *rig) {
		r.granted()
		r.f.drained = []string{"a", "c"}
		r.f.others = []engine.Status{{ID: "z", Node: "c", Slot: -1}}
		r.sleep(20 * time.Second)
		if got := r.took("yield"); len(got) != 0 {
			t.Fatalf("no node can take it, and it hands over: %v", got)
		}
		r.f.others = append(r.f.others, engine.Status{ID: "x", Node: "b", Slot: -1})
		r.sleep(10 * time.Second)
		if got := r.took("yield"); len(got) != 1 || !strings.Contains(got[0].Text, "lifeline undrain a") {
			t.Fatalf("it should hand over: %v", got)
		}
		r.say("release", "want")
		r.sleep(time.Minute)
		if got := r.took("granted"); len(got) != 0 {
			t.Fatal("a drained node is granted the lease")
		}
		if got := r.took("say"); len(got) != 1 || !strings.Contains(got[0].Text, "this node is drained") {
			t.Errorf("it says %v", got)
		}
		r.f.drained = nil
		r.sleep(10 * time.Second)
		if got := r.took("granted"); len(got) != 1 {
			t.Error("it isn't granted the lease afterwards")
		}
	})
}
