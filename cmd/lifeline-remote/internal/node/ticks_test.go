package node

import (
	"testing"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/engine"
)

// runTicks answers ticks; takes returns how long the n-th tick runs.
func (r *rig) runTicks(until time.Duration, takes func(n int) time.Duration) (labels []string) {
	for r.now() < until {
		r.sleep(100 * time.Millisecond)
		for _, m := range r.took("tick") {
			label := m.Label
			labels = append(labels, label)
			r.say(starting("g"))
			r.sleep(takes(len(labels)))
			r.say(ended("g", 1, 0), done(label, 0))
		}
	}
	return labels
}

func TestSessionTicks(t *testing.T) {
	rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC * * * * *"}, func(r *rig) {
		r.granted()
		// A run takes longer than two periods: the missed ticks run after it.
		labels := r.runTicks(20*time.Minute, func(n int) time.Duration {
			if n == 3 {
				return 150 * time.Second
			}
			return 0
		})
		if len(labels) < 18 || len(labels) > 20 {
			t.Fatalf("%d ticks in 20 minutes: %q", len(labels), labels)
		}
		for i := 1; i < len(labels); i++ {
			a, _ := time.Parse(time.RFC3339, labels[i-1])
			b, _ := time.Parse(time.RFC3339, labels[i])
			if b.Sub(a) != time.Minute {
				t.Fatalf("%s follows %s", labels[i], labels[i-1])
			}
		}
		if r.f.mark.Skipped != 0 || !r.f.mark.Claimed.Equal(r.f.mark.Done) {
			t.Fatalf("the mark is %+v", r.f.mark)
		}
	})
}

// TestSessionTickClaimAnswerLost checks that a claim whose answer is lost still runs
// once.
func TestSessionTickClaimAnswerLost(t *testing.T) {
	rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC * * * * *"}, func(r *rig) {
		r.granted()
		r.runTicks(90*time.Second, func(int) time.Duration { return 0 })
		first := r.f.mark.Claimed
		r.sleep(time.Until(first.Add(time.Minute)) - time.Second)
		r.took("tick")
		r.f.after = 3 * time.Second // longer than a call may take
		r.sleep(3500 * time.Millisecond)
		if !r.f.mark.Claimed.After(first) {
			t.Fatal("the test is wrong: no claim came through")
		}
		r.f.after = 0
		labels := r.runTicks(r.now()+50*time.Second, func(int) time.Duration { return 0 })
		if want := first.Add(time.Minute).Format(time.RFC3339); len(labels) != 1 || labels[0] != want ||
			r.f.mark.Skipped != 0 {
			t.Fatalf("ran %q, not %s alone; the mark is %+v", labels, want, r.f.mark)
		}
	})
}

// TestSessionTickUnfinished checks that the run of a claimant that died is counted as
// skipped, or repeated with --at-least-once.
func TestSessionTickUnfinished(t *testing.T) {
	for _, again := range []bool{false, true} {
		rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC 0 * * * *", AtLeastOnce: again}, func(r *rig) {
			hour := time.Now().UTC().Truncate(time.Hour)
			r.f.mark = engine.Mark{Claimed: hour, Done: hour.Add(-time.Hour)}
			r.granted()
			labels := r.runTicks(time.Minute, func(int) time.Duration { return 0 })
			want, skipped := 0, int64(1)
			if again {
				want, skipped = 1, 0
			}
			if len(labels) != want || r.f.mark.Skipped != skipped || !r.f.mark.Done.Equal(hour) {
				t.Errorf("--at-least-once %t: ran %q, the mark is %+v", again, labels, r.f.mark)
			}
		})
	}
}

// TestSessionTickNotBegun checks that a tick stays due when the lease is given back
// between claim and start.
func TestSessionTickNotBegun(t *testing.T) {
	rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC * * * * *"}, func(r *rig) {
		r.granted()
		r.runTicks(90*time.Second, func(int) time.Duration { return 0 })
		before := r.f.mark
		for len(r.took("tick")) == 0 {
			r.sleep(100 * time.Millisecond)
		}
		r.say("release")
		r.sleep(time.Second)
		before.Serial = r.f.mark.Serial // which alone rises
		if !r.f.mark.Equal(before) || r.f.held {
			t.Fatalf("the mark is %+v, not %+v", r.f.mark, before)
		}
	})
}

// TestSessionTicksAfterALongTime checks that only the latest of the old ticks is run
// after a long time without a holder.
func TestSessionTicksAfterALongTime(t *testing.T) {
	rigged(t, cluster.Hello{Tick: "CRON_TZ=UTC 0 * * * *"}, func(r *rig) {
		hour := time.Now().UTC().Truncate(time.Hour)
		r.sleep(30 * time.Minute)
		old := hour.Add(-100 * time.Hour)
		r.f.mark = engine.Mark{Claimed: old, Done: old}
		r.granted()
		labels := r.runTicks(r.now()+time.Minute, func(int) time.Duration { return 0 })
		if len(labels) != 1 || labels[0] != hour.Format(time.RFC3339) {
			t.Fatalf("it runs %q, not %s alone", labels, hour)
		}
	})
}

func TestSessionBadSchedule(t *testing.T) {
	rigged(t, cluster.Hello{Tick: "every now and then"}, func(r *rig) {
		r.sleep(time.Second)
		if got := r.took("refused"); len(got) != 1 || got[0].Code != 64 {
			t.Fatalf("it says %v", got)
		}
	})
}
