//go:build linux

// Supervise measures supervisors. It measures how soon a killed worker runs again,
// how soon a silent worker is noticed, and what the supervisor costs in memory. It
// shows whether the supervisor grows over ten thousand respawns, and whether a tree of
// processes can escape. The peers take turns with lifeline within one run, so that
// other load on the machine hits them alike.
//
//	go run ./proof/supervise [flags] respawn|watchdog|memory|growth|trees|all
//
// The tests beside it check what must hold on every machine.
package main

import (
	"flag"
	"fmt"
	"os"
	"slices"

	"lifeline/proof/pid"
)

type options struct {
	kills, rounds, respawns, trees int
}

func main() {
	var o options
	flag.IntVar(&o.kills, "kills", 500, "kills of each worker")
	flag.IntVar(&o.rounds, "rounds", 200, "watchdogs that run out")
	flag.IntVar(&o.respawns, "respawns", 10000, "respawns in a row")
	flag.IntVar(&o.trees, "trees", 200, "random trees")
	flag.Parse()
	if err := run(&o, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "supervise:", err)
		os.Exit(1)
	}
}

func run(o *options, what string) error {
	parts := []struct {
		name string
		run  func(*bench, *options) error
	}{
		{"respawn", (*bench).respawn},
		{"watchdog", (*bench).watchdog},
		{"memory", (*bench).memory},
		{"growth", (*bench).growth},
		{"trees", (*bench).trees},
	}
	known := []string{"all", ""}
	for _, p := range parts {
		known = append(known, p.name)
	}
	if !slices.Contains(known, what) {
		return fmt.Errorf("%q is none of %v", what, known)
	}
	b, err := newBench()
	if err != nil {
		return err
	}
	defer b.close()
	fmt.Print(machine(os.Args))
	for _, p := range parts {
		if what == p.name || what == "all" || what == "" {
			if err := p.run(b, o); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	return nil
}

// bench has the programs to measure with. Everything that runs lies below dir.
type bench struct {
	dir      string
	lifeline string // as it is shipped
	first    string // the workers, see testdata
	beats    string
	floor    string
	tree     string
	nth      int
}

func (b *bench) close() {
	pid.KillBelow(b.dir)
	_ = os.RemoveAll(b.dir)
}
