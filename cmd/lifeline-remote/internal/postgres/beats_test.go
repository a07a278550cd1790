package postgres

import (
	"testing"
	"testing/synctest"
	"time"

	"lifeline/proof/await"
)

// TestBeats checks that the database's clock says when a beat came, unless the clock
// was set.
func TestBeats(t *testing.T) {
	const ttl = 10 * time.Second
	for what, c := range map[string]struct {
		set  time.Duration // between the looks
		age  time.Duration // of the beat, as the database tells it
		want time.Duration // left, at least; and at most a little more
	}{
		"as it is":         {0, time.Second, ttl - time.Second},
		"set forward":      {time.Minute, 61 * time.Second, ttl},
		"set back":         {-time.Minute, -59 * time.Second, ttl},
		"before the look":  {0, 5 * time.Second, ttl},
		"after the answer": {0, -5 * time.Second, ttl},
	} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var s observations
				s.look(time.Now(), time.Now(), time.Now())
				if left := s.left("a", true, 1, ttl, time.Hour); left != ttl {
					t.Fatalf("seen for the first time, it has %s", left)
				}
				await.Pass(3 * time.Second)
				s.look(time.Now(), time.Now(), time.Now().Add(c.set))
				if left := s.left("a", true, 2, ttl, c.age); left < c.want || left > c.want+2*drift {
					t.Errorf("it has %s, not %s", left, c.want)
				}
				await.Pass(ttl + 2*drift)
				if ids, beats := s.dead("b"); len(ids) != 1 || beats[0] != 2 {
					t.Errorf("dead are %v", ids)
				}
				if ids, _ := s.dead("a"); len(ids) != 0 {
					t.Errorf("dead are %v, of which one is the session itself", ids)
				}
			})
		})
	}
}
