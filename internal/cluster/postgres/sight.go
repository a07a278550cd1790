package postgres

import "time"

// sights are what was seen of the sessions' beats, by this machine's clock
// alone. Beats are only looked at now and then; when the last one was before a
// look is told by the database's clock, as far as that was not set in between.
type sights struct {
	seen  map[string]sight
	last  glance
	early time.Time     // no beat that is new at this look came before
	slack time.Duration // what the database's clock may be wrong by
	now   time.Time
}

// sight is one session's latest beat, and not before when it may have come.
type sight struct {
	beat   int64
	at     time.Time
	ttl    time.Duration
	placed bool // it has a place
	here   bool // it was there at the last look
}

// glance is a look, and the database's clock during it.
type glance struct{ sent, got, clock time.Time }

// drift is how much a database's clock may be corrected while it isn't set.
const drift = 50 * time.Millisecond

// look begins one. The database's clock isn't believed where more or less time
// has passed by it than here since the look before.
func (s *sights) look(sent, got, clock time.Time) {
	if s.seen == nil {
		s.seen = map[string]sight{}
	}
	for id, one := range s.seen {
		if !one.here {
			delete(s.seen, id)
			continue
		}
		one.here = false
		s.seen[id] = one
	}
	l := s.last
	s.early, s.now, s.slack = got, got, 0
	if !l.sent.IsZero() {
		passed := clock.Sub(l.clock)
		if passed >= sent.Sub(l.got)-drift && passed <= got.Sub(l.sent)+drift {
			s.early, s.slack = l.sent, got.Sub(sent)+l.got.Sub(l.sent)+drift
		}
	}
	s.last = glance{sent, got, clock}
}

// left is how much longer a session may hold its place, whose last beat came so
// long ago by the database's clock.
func (s *sights) left(id string, placed bool, beat int64, ttl, age time.Duration) time.Duration {
	one, known := s.seen[id]
	if !known || one.beat != beat {
		one.at = s.now
		if known { // else it may have been there for any time
			if at := s.now.Add(s.slack - max(age, 0)); at.Before(s.now) && !at.Before(s.early) {
				one.at = at
			}
		}
	}
	one.beat, one.ttl, one.placed, one.here = beat, ttl, placed, true
	s.seen[id] = one
	return ttl - time.Since(one.at)
}

// dead are the other sessions that are there, and whose time is over.
func (s *sights) dead(own string) (ids []string, beats []int64) {
	ids, beats = []string{}, []int64{}
	for id, one := range s.seen {
		if id != own && one.here && time.Since(one.at) >= one.ttl {
			ids, beats = append(ids, id), append(beats, one.beat)
		}
	}
	return ids, beats
}

// after is when the first of those with a place may be dead.
func (s *sights) after(own string) (soonest time.Duration) {
	for id, one := range s.seen {
		if left := one.ttl - time.Since(one.at); id != own && one.here && one.placed && (soonest == 0 || left < soonest) {
			soonest = max(left, time.Millisecond)
		}
	}
	return soonest
}
