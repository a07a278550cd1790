//go:build linux

// Cluster attacks the promise that one instance runs in a whole cluster, on
// real engines. It starts an engine (etcd with three members, PostgreSQL) and two to
// five nodes on this machine, and plays cron on every node. Each node has a state
// directory and a link to the engine that can lose packets. The faults come from a
// seed. They kill and stop lifeline, lifeline-remote, the worker and the engine's
// members, and cut nodes off, one by one and at once.
//
//	go run ./proof/cluster -rounds 1000
//	go run ./proof/cluster -rounds 100 -seed 7 -subjects lifeline-etcd,etcdctl
//	go run ./proof/cluster failover     the times to a new instance, beside etcdctl lock
//	go run ./proof/cluster outage       the engine is away for a minute
//	go run ./proof/cluster slots        5 of 20 under the same faults
//	go run ./proof/cluster back -rounds 20   the engine loses state
//	go run ./proof/cluster fleet        connections, memory and requests of many names
//	go run ./proof/cluster ticks        --tick on 30 nodes with wrong clocks
//
// Package check judges a run by the witnesses' log alone: by their own lock, their
// beats and their deaths. The log of a failed run is kept.
package main

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"lifeline/proof/build"
	"lifeline/proof/check"
)

// flags are the flags of every part.
type flags struct {
	rounds, nodes, slots, runs int
	seed                       uint64
	ttl, away, apart, rest     time.Duration
	ticks, tickNodes, names    int
	again                      bool
	subjects, faults           string
	keep, dir                  string
	progress                   bool
}

func main() {
	var f flags
	parts := map[string]func(settings, flags) error{"attack": attackAll, "failover": failoverAll, "outage": outageAll,
		"slots": slotsAll, "ticks": ticksAll, "back": backAll, "fleet": fleetAll}
	part := "attack"
	args := os.Args[1:]
	if len(args) > 0 && parts[args[0]] != nil {
		part, args = args[0], args[1:]
	}
	flag.IntVar(&f.rounds, "rounds", 100, "rounds of faults")
	flag.Uint64Var(&f.seed, "seed", 0, "of the faults; 0 takes one at random")
	flag.DurationVar(&f.ttl, "ttl", time.Second, "of the lease")
	flag.DurationVar(&f.away, "away", time.Minute, "how long the engine is away")
	flag.IntVar(&f.names, "names", 20, "names of the fleet, on each node")
	flag.DurationVar(&f.rest, "rest", time.Minute, "how long the fleet is measured")
	flag.IntVar(&f.ticks, "ticks", 1000, "ticks of the schedule to wait for")
	flag.IntVar(&f.tickNodes, "tick-nodes", 30, "nodes with clocks of their own")
	flag.BoolVar(&f.again, "again", false, "only ticks --at-least-once")
	flag.DurationVar(&f.apart, "apart", 30*time.Second, "how much the clocks differ")
	flag.IntVar(&f.slots, "slots", 5, "places in the whole cluster")
	flag.IntVar(&f.nodes, "nodes", 0, "how many; 0: two to five, by the seed")
	flag.StringVar(&f.subjects, "subjects", "lifeline-etcd,lifeline-postgres,etcdctl", "the guards to attack")
	flag.StringVar(&f.keep, "keep", "", "a directory for the logs; without it they are kept after a failure only")
	flag.StringVar(&f.faults, "faults", "", "a regular expression: only the faults that it fits")
	flag.BoolVar(&f.progress, "v", false, "say what is done")
	flag.IntVar(&f.runs, "runs", 10, "measurements of each kind")
	if err := flag.CommandLine.Parse(args); err != nil {
		os.Exit(2)
	}
	if flag.NArg() > 0 {
		fatal(fmt.Errorf("%q is none of the parts", flag.Arg(0)))
	}
	dir := f.keep
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "cluster"); err != nil {
			fatal(err)
		}
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		fatal(err)
	}
	programs, err := build.All(dir)
	if err != nil {
		fatal(err)
	}
	s := with(programs)
	s.ttl, s.nodes, f.dir = f.ttl, f.nodes, dir
	if f.seed == 0 {
		f.seed = rand.Uint64N(1e6) + 1
	}
	if err := parts[part](s, f); err != nil {
		fatal(err)
	}
	if f.keep == "" {
		_ = os.RemoveAll(dir)
	}
}

// slotsAll attacks a name with several slots, on four times as many nodes.
func slotsAll(s settings, f flags) error {
	s.slots = f.slots
	if s.nodes == 0 {
		s.nodes = 4 * f.slots
	}
	return attackAll(s, f)
}

func attackAll(s settings, f flags) error {
	fmt.Printf("seed %d, %d rounds, TTL %s\n\n%s", f.seed, f.rounds, f.ttl, tableHead)
	good := true
	for _, name := range strings.Split(f.subjects, ",") {
		subject, ok := subjectOf(name)
		if !ok {
			return fmt.Errorf("-subjects %s: it is none of %s", name, known())
		}
		c := attack{settings: s, seed: f.seed, rounds: f.rounds}
		c.subject, c.dir = subject, filepath.Join(f.dir, fmt.Sprintf("%s-%d", name, f.seed))
		if f.faults != "" {
			which, err := regexp.Compile(f.faults)
			if err != nil {
				return fmt.Errorf("-faults: %w", err)
			}
			c.only = func(k kind) bool { return which.MatchString(k.String()) }
		}
		if f.progress {
			c.progress = os.Stderr
		}
		r, err := run(c)
		if err != nil {
			return fmt.Errorf("%s: %w; its log is in %s", name, err, c.dir)
		}
		fmt.Println(row(c, r))
		if bad := verdict(c, r); bad != "" && subject.fence {
			good = false
			fmt.Fprintf(os.Stderr, "%s; the evidence is in %s\n", bad, c.dir)
		}
	}
	if !good {
		return fmt.Errorf("the promise was broken")
	}
	return nil
}

const tableHead = `| guard | rounds | starts | faults | overlaps | longest overlap | gaps | median | p99 | longest | longest after the last fault | fences that fell | at the end | leftovers |
|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|
`

func row(c attack, r *outcome) string {
	all, calm := r.Lengths(false), r.Lengths(true)
	return fmt.Sprintf("| %s | %d | %d | %d | %d | %s | %d | %s | %s | %s | %s | %d | %d | %d |", c.subject.name,
		r.rounds, len(r.Runs), r.Faults,
		len(r.Overlaps), ms(r.Longest()), len(r.Gaps), ms(check.Quantile(all, 0.5)), ms(check.Quantile(all, 0.99)),
		ms(check.Quantile(all, 1)), ms(check.Quantile(calm, 1)), len(r.Fences), r.atEnd, len(r.leftovers))
}

func ms(d time.Duration) string { return fmt.Sprintf("%.1f ms", d.Seconds()*1000) }

// verdict says what is wrong with a result; "" for nothing.
func verdict(c attack, r *outcome) string {
	var bad []string
	add := func(what string, list []string) {
		if len(list) > 0 {
			bad = append(bad, fmt.Sprintf("%d %s:\n%s", len(list), what, strings.Join(list, "\n")))
		}
	}
	var overlaps []string
	for _, o := range r.Overlaps {
		overlaps = append(overlaps, fmt.Sprintf("%s from %d: %s", ms(time.Duration(o.To-o.From)), o.From, o.Why))
	}
	add("overlaps", overlaps)
	add("fences that fell", r.Fences)
	add("leftovers", r.leftovers)
	add("times stuck", r.stuck)
	add("ticks that weren't silent", r.said)
	if r.atEnd != max(1, c.slots) {
		bad = append(bad, fmt.Sprintf("%d instances when all was quiet", r.atEnd))
	}
	if c.subject.fence {
		for _, x := range r.Runs {
			if x.Fence == 0 {
				bad = append(bad, fmt.Sprintf("%s has no fence", &x))
				break
			}
		}
	}
	return strings.Join(bad, "\n")
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, "cluster:", err)
	os.Exit(1)
}
