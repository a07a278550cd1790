//go:build linux

package main

import (
	"fmt"
	"time"

	"lifeline/proof/check"
	"lifeline/proof/pid"
)

const period = 100 * time.Millisecond

// watchdog prints the table of the time from the end of a watchdog's period to its
// first signal. A program in C that does nothing else shows the machine's own part.
func (b *bench) watchdog(o *options) error {
	beats := []string{b.beats, "30", "3"}
	ours, err := b.lifelines("lifeline", []string{"--respawn", "--respawn-delay", "0s", "--notify", "--watchdog",
		period.String()}, beats...)
	if err != nil {
		return err
	}
	defer ours.end()
	dir, times, err := b.room()
	if err != nil {
		return err
	}
	floor, err := start("floor", dir, times, nil, append([]string{b.floor}, beats...))
	if err != nil {
		return err
	}
	defer floor.end()
	fmt.Printf("\n### From the end of a watchdog's period to SIGABRT\n\n| | rounds | p50 | p99 | max | too early | " +
		"how |\n|---|--:|--:|--:|--:|--:|---|\n")
	type outcome struct {
		late  []time.Duration
		early int
		err   error
	}
	listen := func(s *subject, rounds int) <-chan outcome {
		c := make(chan outcome, 1)
		go func() {
			var o outcome
			o.late, o.early, o.err = delays(s, rounds)
			c <- o
		}()
		return c
	}
	ourDelays, floorDelays := listen(ours, o.rounds), listen(floor, o.rounds)
	for _, x := range []struct {
		name string
		c    <-chan outcome
		how  string
	}{
		{"lifeline", ourDelays, fmt.Sprintf("`%s`: the worker sends three heartbeats and hangs; from the clock read "+
			"before the last one was sent, plus %s, to the clock read in its handler of SIGABRT",
			ours.shown(b), period)},
		{"a watchdog in C", floorDelays,
			"`floor beats 30 3`: sixty lines that do nothing else, at the same time; the " +
				"floor for any program on this machine"},
	} {
		got := <-x.c
		if got.err != nil {
			return got.err
		}
		fmt.Printf("| %s | %d | %s | %s | %s | %d | %s |\n", x.name,
			len(got.late), short(check.Quantile(got.late, 0.5)), short(check.Quantile(got.late, 0.99)),
			short(check.Quantile(got.late, 1)), got.early, x.how)
	}
	return nil
}

// delays waits until a worker was ended in each round, and returns how late the signal
// was.
func delays(s *subject, rounds int) (late []time.Duration, early int, err error) {
	for len(late) < rounds {
		m, err := s.hear()
		if err != nil {
			return nil, 0, err
		}
		if m[0] == 0 { // it has begun
			s.worker = pid.ID{PID: int(m[1])}
			if st, err := pid.Look(int(m[1])); err == nil {
				s.worker = st.ID
			}
			continue
		}
		over := time.Duration(m[1]-m[0]) - period
		if over < 0 {
			early++
		}
		late = append(late, over)
	}
	return late, early, nil
}
