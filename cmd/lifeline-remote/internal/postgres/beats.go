package postgres

import "time"

// observations are the beats of sessions, timed by this machine's clock. A look sees only
// the last beat. The database's clock says how long before the look the beat was, unless
// that clock was set meanwhile.
type observations struct {
	seen     map[string]observation
	last     reading
	earliest time.Time     // new beats at this look came later
	slack    time.Duration // the greatest error of the database's clock
	now      time.Time
}

// observation is a session's latest beat, and the earliest time of that beat.
type observation struct {
	beat   int64
	at     time.Time
	ttl    time.Duration
	placed bool // the session has a slot
	here   bool // the last look saw the session
}

// reading is the time of a look, and the database's clock during the look.
type reading struct{ sent, got, clock time.Time }

// drift is how far a database's clock may be slewed between two looks.
const drift = 50 * time.Millisecond

// look begins a reading. The database's clock counts only if it has advanced as much as
// this machine's clock since the last reading.
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

// left notes a session's beat, and returns how much longer the session may hold its slot.
// age is the beat's age by the database's clock.
func (s *observations) left(id string, placed bool, beat int64, ttl, age time.Duration) time.Duration {
	one, known := s.seen[id]
	if !known || one.beat != beat {
		one.at = s.now
		if known { // the first beat seen may be old
			if at := s.now.Add(s.slack - max(age, 0)); at.Before(s.now) && !at.Before(s.earliest) {
				one.at = at
			}
		}
	}
	one.beat, one.ttl, one.placed, one.here = beat, ttl, placed, true
	s.seen[id] = one
	return ttl - time.Since(one.at)
}

// dead returns the other sessions whose time is over, with their beats.
func (s *observations) dead(own string) (ids []string, beats []int64) {
	ids, beats = []string{}, []int64{}
	for id, one := range s.seen {
		if id != own && one.here && time.Since(one.at) >= one.ttl {
			ids, beats = append(ids, id), append(beats, one.beat)
		}
	}
	return ids, beats
}

// after returns how long until the first other session with a slot may be dead.
func (s *observations) after(own string) (soonest time.Duration) {
	for id, one := range s.seen {
		if left := one.ttl - time.Since(one.at); id != own && one.here && one.placed &&
			(soonest == 0 || left < soonest) {
			soonest = max(left, time.Millisecond)
		}
	}
	return soonest
}
