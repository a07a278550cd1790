//go:build linux

// Chaos plays cron on real programs, with a tick every 60 ms instead of every
// minute. Meanwhile it breaks everything, in any order and at the same moment.
// Supervisors and workers are killed, stopped and told to end. Lock files, records
// and the whole state directory are removed, moved away or damaged. The disk is
// full, descriptors run out, the name is paused and reloaded, and both cores are
// busy. The workers close their descriptors, wipe their environment, ignore
// SIGTERM, daemonise.
//
//	go run ./proof/chaos -rounds 10000 -seed 7
//	go run ./proof/chaos -subjects flock,setlock,gem -rounds 500
//
// Package check judges a run by the log alone, which the witnesses themselves have
// written. The log of a failed run is kept.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"lifeline/proof/build"
)

func main() {
	var (
		rounds = flag.Int("rounds", 1000, "ticks to play")
		peers  = flag.Int("peers", 1000, "ticks to play with each of the peers, if that is less")
		seed   = flag.Uint64("seed", 0, "of the faults; 0 takes one at random")
		tick   = flag.Duration("tick", 60*time.Millisecond, "from one tick to the next")
		faults = flag.Float64("faults", 0.3, "the share of ticks with a fault")
		names  = flag.String("subjects", "lifeline,flock,flock-o,setlock,run-one,gem,pidfile", "the guards to attack")
		keep   = flag.String("keep", "", "a directory for the logs; without it they are kept after a failure only")
		spare  = flag.String("spare", "", "wipe: treat workers that wipe their environment as the manual treats "+
			"those that also close their descriptors; odd: leave out workers in the background and ticks that may "+
			"write no file")
		strict = flag.Bool("strict", false, "a gap of more than a tick and 50 ms after the last fault is a failure: "+
			"on a quiet machine")
		progress = flag.Bool("v", false, "say how far it is")
	)
	flag.Parse()
	ownMounts()
	if *seed == 0 {
		*seed = rand.Uint64N(1e6) + 1
	}
	dir := *keep
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "chaos"); err != nil {
			fatal(err)
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		fatal(err)
	}
	programs, err := build.All(dir)
	if err != nil {
		fatal(err)
	}
	fmt.Printf("seed %d, %d ticks every %s, a fault in %.0f %% of them\n\n%s", *seed, *rounds, *tick, *faults*100,
		tableHead)
	good := true
	for _, name := range strings.Split(*names, ",") {
		s, ok := subjectOf(name)
		if !ok {
			fatal(fmt.Errorf("-subjects %s: it is none of %s", name, known()))
		}
		c := config{subject: s, programs: programs, dir: filepath.Join(dir, fmt.Sprintf("%s-%d", s.name, *seed)),
			seed: *seed, rounds: *rounds, tick: *tick, share: *faults, calm: 20, spare: *spare}
		if s.name != "lifeline" { // a peer fails soon
			c.rounds = min(c.rounds, *peers)
		}
		if *progress {
			c.progress = os.Stderr
		}
		r, err := run(c)
		if err != nil {
			fatal(fmt.Errorf("%s: %w; its log is in %s", name, err, c.dir))
		}
		fmt.Println(row(c, r))
		if s.name == "lifeline" {
			if late := r.Late(c.tick + 50*time.Millisecond); *strict && late > 0 {
				good = false
				fmt.Fprintf(os.Stderr, "%d gaps were longer than a tick and 50 ms after the last fault; "+
					"the evidence is in %s\n",
					late, c.dir)
			}
			if bad := verdict(r); bad != "" {
				good = false
				fmt.Fprintf(os.Stderr, "%s; the evidence is in %s\n", bad, c.dir)
			}
		}
	}
	if !good {
		os.Exit(1)
	}
	if *keep == "" {
		_ = os.RemoveAll(dir)
	}
}

func known() string {
	var names []string
	for _, s := range subjects {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}

const tableHead = `| guard | ticks | starts | faults | overlaps | gaps | median | p99 | longest | longest after the last fault | most ticks in one | later than a tick + 50 ms | down at the end | leftovers |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`

// row returns the result as a line of the table; gaps are counted in ticks. "Most
// ticks in one" counts the ticks between the last fault and the next start. On a
// machine that stops for a second the ticks stop too.
func row(c config, r *result) string {
	in := func(d time.Duration) string { return fmt.Sprintf("%.1f", float64(d)/float64(c.tick)) }
	left, down := fmt.Sprint(len(r.leftovers)), "no"
	if c.subject.end == nil {
		left = "-"
	}
	if r.atEnd == 0 {
		down = "yes"
	}
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %d | %s | %s | %s | %s | %d | %d | %s | %s |", c.subject.name,
		r.ticks, len(r.Lives), r.Faults,
		r.Overlaps, len(r.Gaps), in(r.Median()), in(r.P99()), in(r.Longest().Length()), in(r.LongestCalm().Calm),
		r.MostTicks(),
		r.Late(c.tick+50*time.Millisecond), down, left)
}

// verdict says what is wrong with a result; "" for nothing.
func verdict(r *result) string {
	var bad []string
	if r.Overlaps > 0 {
		bad = append(bad, fmt.Sprintf("%d overlaps:\n%s", r.Overlaps, strings.Join(r.Evidence, "\n")))
	}
	if len(r.leftovers) > 0 {
		bad = append(bad, fmt.Sprintf("%d leftovers:\n%s", len(r.leftovers), strings.Join(r.leftovers, "\n")))
	}
	if r.atEnd != 1 {
		bad = append(bad, fmt.Sprintf("%d instances after the quiet ticks at the end\n%s", r.atEnd,
			strings.Join(r.outage, "\n")))
	}
	return strings.Join(bad, "\n")
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "chaos:", err)
	os.Exit(1)
}
