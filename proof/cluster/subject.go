//go:build linux

package main

import (
	"fmt"
	"os/exec"
	"strings"
	"time"

	"lifeline/proof/engine"
)

// name is the name of the instance in every run.
const name = "counter"

// subject is a guard under attack.
type subject struct {
	name  string
	about string
	// engine is etcd or postgres.
	engine string
	// argv returns what a node's cron runs: the guard before the worker's command.
	argv func(a *arena, n *node, worker []string) []string
	// prepare prepares the engine once.
	prepare func(a *arena) error
	// fence says that the worker is told a number that rises.
	fence bool
	// again says that a tick beside a running guard is harmless.
	again bool
}

var subjects = []subject{
	{
		name: "lifeline-etcd", engine: "etcd", fence: true, again: true,
		about: "lifeline --cluster etcd://… --node N --ttl T NAME -- witness",
		argv:  lifeline,
	},
	{
		name: "lifeline-postgres", engine: "postgres", fence: true, again: true,
		about:   "lifeline --cluster postgres://… --node N --ttl T NAME -- witness",
		argv:    lifeline,
		prepare: initTable,
	},
	{
		name: "etcdctl", engine: "etcd",
		about: "etcdctl lock --ttl T NAME witness: never ends its command",
		argv: func(a *arena, n *node, worker []string) []string {
			argv := []string{a.etcdctl, "--endpoints", strings.Join(n.link.Addresses(), ","), "lock",
				"--ttl", fmt.Sprint(max(1, int(a.ttl/time.Second))), "--", name}
			return append(argv, worker...)
		},
	},
}

// lifeline returns lifeline's command line, with a grace of at most a fifth of
// the TTL.
func lifeline(a *arena, n *node, worker []string) []string {
	argv := []string{a.programs.Lifeline, "--cluster", a.url(n), "--node", n.name, "--ttl",
		a.ttl.String(), "--dir", n.dir,
		"--kill-after", a.grace().String()}
	if a.slots > 1 {
		argv = append(argv, "--slots", fmt.Sprint(a.slots))
	}
	return append(append(argv, name, "--"), worker...)
}

func (a *arena) grace() time.Duration { return min(a.ttl/5, 200*time.Millisecond) }

// url returns the engine's address, as the node sees it.
func (a *arena) url(n *node) string {
	if a.subject.engine == "postgres" {
		return fmt.Sprintf("postgres://proof@%s/postgres?sslmode=disable", strings.Join(n.link.Addresses(), ","))
	}
	return "etcd://" + strings.Join(n.link.Addresses(), ",")
}

func initTable(a *arena) error {
	cmd := exec.Command(a.remote, "init", fmt.Sprintf("postgres://proof@%s/postgres?sslmode=disable",
		strings.Join(a.engine.Addresses(), ",")))
	cmd.Env = environ()
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot make lifeline's table: %w\n%s", err, text)
	}
	return nil
}

func (s *subject) protocol() engine.Protocol {
	if s.engine == "postgres" {
		return engine.Frontend
	}
	return engine.HTTP2
}

// lacks says what this machine lacks for the subject.
func (s *subject) lacks() error {
	if s.engine == "postgres" {
		return engine.MissingPostgres()
	}
	return engine.MissingEtcd()
}

func subjectOf(name string) (subject, bool) {
	for _, s := range subjects {
		if s.name == name {
			return s, true
		}
	}
	return subject{}, false
}

func known() string {
	var names []string
	for _, s := range subjects {
		names = append(names, s.name)
	}
	return strings.Join(names, ", ")
}
