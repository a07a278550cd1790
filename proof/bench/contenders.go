//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// tickContenders returns the contenders that find an instance, and starts these
// instances. notes name the missing peers.
func (b *bench) tickContenders() (list []contender, notes []string, err error) {
	env := environ()
	truth := look("true")
	add := func(program string, c contender) {
		if c.argv[0] = look(program); c.argv[0] == "" {
			notes = append(notes, fmt.Sprintf("Left out: `%s` isn't installed.", program))
			return
		}
		c.env = env
		list = append(list, c)
	}
	held := b.path("held")
	// What cron types each minute is what runs: the tick compares the two.
	tick := []string{b.lifeline, "--dir", b.path("state"), "tick", "--", "sleep", "86400"}
	add("flock", contender{name: "flock -n, free", argv: []string{"", "-n", b.path("free"), truth},
		how: "; the lock is free, so true runs"})
	add("flock", contender{name: "flock -n, held", argv: []string{"", "-n", held, truth}, code: 1,
		how: "; the lock is held, nothing runs"})
	add("setlock", contender{name: "setlock -n, held", argv: []string{"", "-n", held, truth}, code: 111,
		how: " (daemontools)"})
	add("lckdo", contender{name: "lckdo, held", argv: []string{"", "-q", b.path("lckdo"), truth}, code: 75,
		how: " (moreutils)"})
	list = append(list,
		contender{name: "an empty Go program", argv: []string{b.floor}, env: env,
			how: "; the floor for any program of Go"},
		contender{name: "lifeline, held", argv: tick, env: env, how: "; an instance runs"},
		contender{name: "the gem's algorithm", argv: b.gem("tick"), env: append(slices.Clip(env), "PEER=gem",
			"WITNESS="+b.witness), how: "; in Go, with ps; an instance runs"},
	)
	if look("ruby") == "" {
		notes = append(notes, "Left out: the gem itself in Ruby, which isn't installed.")
	} else {
		c := contender{argv: []string{"", "-e", gemInRuby, "tick"}, name: "the gem's algorithm, Ruby",
			how: "; an instance runs"}
		add("ruby", c)
		if err := b.hold(append([]string{look("ruby")}, c.argv[1:]...), nil); err != nil {
			return nil, nil, err
		}
	}
	if flock := look("flock"); flock != "" {
		if err := b.hold([]string{flock, "-n", held, "sleep", "86400"}, nil); err != nil {
			return nil, nil, err
		}
	}
	if lckdo := look("lckdo"); lckdo != "" { // an fcntl lock, which flock(2) doesn't see
		if err := b.hold([]string{lckdo, b.path("lckdo"), "sleep", "86400"}, nil); err != nil {
			return nil, nil, err
		}
	}
	if err := b.hold(tick, nil); err != nil {
		return nil, nil, err
	}
	return list, notes, b.hold(b.gem("tick"), []string{"PEER=gem", "WITNESS=" + b.witness})
}

// gem returns the command line of a peer that runs the gem's algorithm and becomes
// the witness.
func (b *bench) gem(name string) []string {
	return []string{b.peer, "-log", b.path(name + ".log"), "-lock", b.path(name + ".witness")}
}

// gemInRuby is the gem's algorithm in Ruby, written from its description: another
// process with the same command line in ps is the running instance.
const gemInRuby = "rows = `ps ax -o pid,command`.lines.map { |l| l.strip.split(' ', 2) }; own = " +
	"rows.assoc($$.to_s)[1]; exit if rows.any? { |pid, command| pid != $$.to_s && command == own }; sleep"

// withoutPs leaves out the contenders that read all processes at every tick. In a
// full table they take more time than all other contenders together.
func withoutPs(list []contender) []contender {
	return slices.DeleteFunc(slices.Clone(list), func(c contender) bool { return strings.HasPrefix(c.name, "the gem") })
}

// startContenders returns the whole start, the start without the census, and pgrep.
func (b *bench) startContenders() []contender {
	env, truth := environ(), look("true")
	start := func(program, dir string) []string {
		return []string{program, "--dir", b.path(dir), "fresh", "--", truth}
	}
	list := []contender{
		{name: "lifeline NAME -- true", argv: start(b.lifeline, "whole"), env: env, how: "; the whole run"},
		{name: "the same without the scan", argv: start(b.proof, "blind"), env: append(slices.Clip(env),
			"LIFELINE_PROOF_WITHOUT=scan"), how: "; the test build's seam"},
		{name: "pgrep -f", argv: []string{look("pgrep"), "-f", "no process has this in its command line"}, env: env,
			code: 1, how: " (procps); it finds none"},
	}
	return list
}

// hold starts a command that keeps its lock until the bench ends.
func (b *bench) hold(argv, env []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(environ(), env...)
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("cannot start %s: %w", argv[0], err)
	}
	b.holders = append(b.holders, cmd)
	time.Sleep(500 * time.Millisecond) // for the lock; once() checks that it is held
	return nil
}

func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "LIFELINE_") })
}
