//go:build linux

package main

import (
	"fmt"
	"time"

	"lifeline/proof/check"
)

// lives is how long each worker lives before it is killed, because some peers hold
// back a worker that dies within its first second.
const lives = 1200 * time.Millisecond

// respawn prints the table of the time from the kill of a worker to the first
// instruction of the next worker.
func (b *bench) respawn(o *options) error {
	fmt.Printf("\n### From the kill of a worker to the first instruction of the next\n\n")
	fmt.Println("The worker reads CLOCK_MONOTONIC before anything else; the same clock is read right before kill(2).")
	fmt.Println("\n| | kills | p50 | p99 | max | how |\n|---|--:|--:|--:|--:|---|")
	if err := b.inTurn(o.kills); err != nil {
		return err
	}
	if err := b.inARow(o.kills); err != nil {
		return err
	}
	return b.rested(min(o.kills, 40))
}

func row(name string, list []time.Duration, how string) {
	fmt.Printf("| %s | %d | %s | %s | %s | %s |\n", name, len(list), short(check.Quantile(list, 0.5)),
		short(check.Quantile(list, 0.99)), short(check.Quantile(list, 1)), how)
}

func short(d time.Duration) string { return fmt.Sprintf("%.2f ms", d.Seconds()*1000) }

// inTurn kills a worker of one supervisor after the other.
func (b *bench) inTurn(kills int) error {
	type contender struct {
		peer
		*subject
		took []time.Duration
	}
	var list []*contender
	var missing []string
	for _, p := range b.peers() {
		if p.needs != "" && look(p.needs) == "" {
			missing = append(missing, p.needs)
			continue
		}
		s, err := b.start(p)
		if err != nil {
			return err
		}
		defer s.end()
		list = append(list, &contender{peer: p, subject: s})
	}
	const warm = 3
	for n := range kills + warm {
		for k := range list {
			c := list[(k+n)%len(list)] // so that no peer always comes after the same peer
			if c.slow && n%10 != warm {
				continue
			}
			time.Sleep(time.Until(c.born.Add(lives)))
			took, err := c.kill()
			if err != nil {
				return err
			}
			if n >= warm {
				c.took = append(c.took, took)
			}
		}
	}
	for _, c := range list {
		row(c.peer.name, c.took, fmt.Sprintf("`%s`, in turn with the others, each worker at least %s old%s", c.shown(b),
			lives, c.how))
	}
	for _, m := range missing {
		fmt.Printf("| %s | | | | | not installed: left out |\n", m)
	}
	return nil
}

// inARow kills lifeline's workers as soon as they have begun.
func (b *bench) inARow(kills int) error {
	s, err := b.start(b.peers()[0])
	if err != nil {
		return err
	}
	defer s.end()
	var list []time.Duration
	for range kills {
		took, err := s.kill()
		if err != nil {
			return err
		}
		list = append(list, took)
	}
	row("lifeline, in a row", list, "the same, each worker killed at its first instruction")
	return nil
}

// rested kills the first worker of each lifeline after it was idle and has given
// memory back.
func (b *bench) rested(kills int) error {
	var list []*subject
	for range kills {
		s, err := b.start(b.peers()[0])
		if err != nil {
			return err
		}
		defer s.end()
		list = append(list, s)
	}
	time.Sleep(5 * time.Second)
	var all []time.Duration
	for _, s := range list {
		took, err := s.kill()
		if err != nil {
			return err
		}
		all = append(all, took)
	}
	row("lifeline, rested", all, fmt.Sprintf("%d lifelines, 5 s after the start and after giving memory back; the "+
		"first kill of each", kills))
	return nil
}
