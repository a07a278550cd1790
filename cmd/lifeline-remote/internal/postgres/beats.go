package postgres

import "time"

// observations is what was seen of the sessions' beats, by this machine's clock
// alone. Beats are looked at now and then. The database's clock tells how long before
// a look the last beat was, unless that clock was set in between.
type observations struct {
	seen     map[string]observation
	last     reading
	earliest time.Time     // every beat that is new at this look came later
	slack    time.Duration // what the database's clock may be wrong by
	now      time.Time
}

// observation is one session's latest beat, and the earliest time it may have come.
type observation struct {
	beat   int64
	at     time.Time
	ttl    time.Duration
	placed bool // it has a slot
	here   bool // it was there at the last look
}

// reading is a look, and the database's clock during it.
type reading struct{ sent, got, clock time.Time }

// drift is how much a database's clock may be corrected while it isn't set.
const drift = 50 * time.Millisecond

// look begins a reading. The database's clock counts only if as much time has
// passed by it as by this machine's clock since the last reading.
func (s *observations) look(sent, got, clock time.Time) {
	if s.seen == nil {
		s.seen = map[string]observation{}
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
	s.earliest, s.now, s.slack = got, got, 0
	if !l.sent.IsZero() {
		passed := clock.Sub(l.clock)
		if passed >= sent.Sub(l.got)-drift && passed <= got.Sub(l.sent)+drift {
			s.earliest, s.slack = l.sent, got.Sub(sent)+l.got.Sub(l.sent)+drift
		}
	}
	s.last = reading{sent, got, clock}
}

// left is how much longer a session may hold its slot. age is how long ago its
// last beat came, by the database's clock.
func (s *observations) left(id string, placed bool, beat int64, ttl, age time.Duration) time.Duration {
	one, known := s.seen[id]
	if !known || one.beat != beat {
		one.at = s.now
		if known { // else the beat may be old
			if at := s.now.Add(s.slack - max(age, 0)); at.Before(s.now) && !at.Before(s.earliest) {
				one.at = at
			}
		}
	}
	one.beat, one.ttl, one.placed, one.here = beat, ttl, placed, true
	s.seen[id] = one
	return ttl - time.Since(one.at)
}

// dead are the other sessions that are there, and whose time is over.
func (s *observations) dead(own string) (ids []string, beats []int64) {
	ids, beats = []string{}, []int64{}
	for id, one := range s.seen {
		if id != own && one.here && time.Since(one.at) >= one.ttl {
			ids, beats = append(ids, id), append(beats, one.beat)
		}
	}
	return ids, beats
}

// after is when the first of those with a slot may be dead.
func (s *observations) after(own string) (soonest time.Duration) {
	for id, one := range s.seen {
		if left := one.ttl - time.Since(one.at); id != own && one.here && one.placed && (soonest == 0 || left < soonest) {
			soonest = max(left, time.Millisecond)
		}
	}
	return soonest
}
