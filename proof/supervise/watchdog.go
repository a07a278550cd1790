//go:build linux

package main

import (
	"fmt"
	"time"

	"lifeline/proof/check"
)

const period = 100 * time.Millisecond

// watchdog is the table of the time from the moment at which a watchdog runs
// out to its first signal.
func (b *bench) watchdog(o *options) error {
	argv := []string{b.beats, "30", "3"}
	s, err := b.lifelines("lifeline", []string{"--respawn", "--respawn-delay", "0s", "--notify", "--watchdog", period.String()}, argv...)
	if err != nil {
		return err
	}
	defer s.end()
	var late []time.Duration
	early := 0
	for len(late) < o.rounds {
		m, err := s.hear()
		if err != nil {
			return err
		}
		if m[0] == 0 { // it has begun
			continue
		}
		over := time.Duration(m[1]-m[0]) - period
		if over < 0 {
			early++
		}
		late = append(late, over)
	}
	fmt.Printf("\n### From the end of a watchdog's period to SIGABRT\n\n| | rounds | p50 | p99 | max | too early | how |\n|---|--:|--:|--:|--:|--:|---|\n")
	fmt.Printf("| lifeline | %d | %s | %s | %s | %d | `%s`: the worker sends three heartbeats and hangs; from the clock read before the last one was sent, plus %s, to the clock read in its handler of SIGABRT |\n",
		len(late), short(check.Quantile(late, 0.5)), short(check.Quantile(late, 0.99)), short(check.Quantile(late, 1)), early, s.shown(b), period)
	return nil
}
