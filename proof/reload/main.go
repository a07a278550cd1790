//go:build linux

// Reload proves the hot reload on real servers, under load. It counts the requests that
// are lost while one version replaces another, by lifeline and by others, also when
// generations are killed meanwhile. It shows that a singleton is never active twice,
// and that a bad version is turned down.
//
//	go run ./proof/reload                          everything, about half an hour
//	go run ./proof/reload -mode overlap -reloads 1000
//	go run ./proof/reload -mode kill -seed 7
package main

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
)

// mode is one part of the proof; n is the number of reloads, 0 for the default.
type mode struct {
	name string
	run  func(s *site, n int, seed uint64) error
}

var modes = []mode{
	{"overlap", overlapMode},
	{"kill", killMode},
	{"takeover", takeoverMode},
	{"bad", badMode},
	{"servers", serversMode},
	{"backlog", backlogMode},
}

func main() {
	reloads := flag.Int("reloads", 0, "how many; 0 is each mode's own long form")
	which := flag.String("mode", "all", "overlap, kill, takeover, bad, servers, backlog or all")
	seed := flag.Uint64("seed", 0, "of the kills; 0 takes one at random")
	flag.Parse()
	if *seed == 0 {
		*seed = rand.Uint64N(1e6) + 1
	}
	if *which != "all" && !slices.ContainsFunc(modes, func(m mode) bool { return m.name == *which }) {
		fmt.Fprintf(os.Stderr, "reload: -mode %s: it is overlap, kill, takeover, bad, servers, backlog or all\n",
			*which)
		os.Exit(64)
	}
	if err := run(*which, *reloads, *seed); err != nil {
		fmt.Fprintln(os.Stderr, "reload:", err)
		os.Exit(1)
	}
}

func run(which string, n int, seed uint64) error {
	s, err := newSite()
	if err != nil {
		return err
	}
	defer s.close()
	var all error
	for _, m := range modes {
		if which == "all" || which == m.name {
			if err := m.run(s, n, seed); err != nil {
				all = errors.Join(all, fmt.Errorf("%s: %w", m.name, err))
			}
		}
	}
	return all
}

// or returns n, or otherwise if n is 0.
func or(n, otherwise int) int {
	if n > 0 {
		return n
	}
	return otherwise
}

func overlapMode(s *site, n int, _ uint64) error {
	n = or(n, 1000)
	few := max(3, n/20)
	fmt.Printf("\n### A new version under load: 8 clients, half of them with keep-alive\n\n%s", rowsHead)
	r, err := s.overlap(n, 50*n)
	if err == nil {
		fmt.Println(r)
		err = r.verdict()
	}
	for _, other := range []func() (row, error){
		func() (row, error) { return s.restart(few, true) },
		func() (row, error) { return s.restart(few, false) },
		func() (row, error) { return s.startServer(few) },
	} {
		r, otherErr := other()
		var missing *missingError
		if errors.As(otherErr, &missing) {
			r.what, otherErr = missing.Error(), nil
		}
		fmt.Println(r)
		err = errors.Join(err, otherErr)
	}
	fmt.Println("\nA client that fails tries again after " + pause.String() + ": the longer a server is away, the " +
		"more is lost.\neinhorn isn't among Debian's packages, and isn't compared.")
	return err
}

func killMode(s *site, n int, seed uint64) error {
	fmt.Printf("\n### A random generation killed during every tenth reload, seed %d\n\n%s", seed, killedHead)
	k, err := s.killing(or(n, 1000), 0, rand.New(rand.NewPCG(seed, 0)))
	if err != nil {
		return err
	}
	fmt.Println(k)
	return k.verdict()
}

func takeoverMode(s *site, n int, _ uint64) error {
	n = or(n, 500)
	fmt.Printf("\n### Takeover, with the worker's own lock and log as the witness\n\n%s", takenHead)
	var all error
	for _, scripted := range []bool{false, true} {
		t, err := s.takeover(n, scripted)
		if err == nil {
			fmt.Println(t)
			err = t.verdict()
		}
		all = errors.Join(all, err)
	}
	fmt.Printf("\n%s", rowsHead)
	r, err := s.takeoverUnderLoad(max(3, n/10))
	if err == nil {
		fmt.Println(r)
		err = r.verdict()
	}
	return errors.Join(all, err)
}

// bullet prints a finding.
func bullet(format string, args ...any) {
	fmt.Println("- " + strings.ReplaceAll(fmt.Sprintf(format, args...), "\n", " "))
}
