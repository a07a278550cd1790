//go:build linux

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lifeline/proof/build"
	"lifeline/proof/check"
	"lifeline/proof/engine"
	"lifeline/proof/pid"
)

// settings are the settings of one run.
type settings struct {
	subject  subject
	programs build.Programs
	remote   string // lifeline-remote
	missing  error  // why remote is missing
	etcdctl  string
	dir      string // for everything that the run writes; kept
	ttl      time.Duration
	nodes    int
	slots    int
	members  int                                        // of etcd
	change   func(engine.Engine) (engine.Engine, error) // of the engine, before anything uses it
}

// arena is an engine and the nodes around it.
type arena struct {
	settings
	engine engine.Engine
	nodes  []*node
	watch  *check.Watch
}

// with makes settings of the programs, and finds lifeline-remote and etcdctl.
func with(p build.Programs) settings {
	s := settings{programs: p, members: 3}
	s.etcdctl, _ = engine.Find("LIFELINE_ETCDCTL", "etcdctl")
	s.remote = filepath.Join(s.programs.Dir, "lifeline-remote")
	if missing := build.One(s.remote, "./cmd/lifeline-remote", "osusergo,netgo,proof"); missing != nil {
		s.remote = "" // the peers don't need it
		s.missing = missing
	}
	return s
}

// open starts the engine, and a link for each node.
func open(s settings) (a *arena, err error) {
	if s.subject.fence && s.missing != nil {
		return nil, s.missing
	}
	a = &arena{settings: s}
	if err := os.MkdirAll(filepath.Join(s.dir, "beats"), 0o700); err != nil {
		return nil, err
	}
	if err := a.own(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.close()
		}
	}()
	if s.subject.engine == "postgres" {
		var p *engine.Postgres
		if p, err = engine.StartPostgres(filepath.Join(s.dir, "pg")); err == nil {
			a.engine = p
		}
	} else {
		var e *engine.Etcd
		if e, err = engine.StartEtcd(s.dir, max(1, s.members)); err == nil {
			a.engine = e
		}
	}
	if err != nil {
		return a, err
	}
	if s.change != nil {
		var changed engine.Engine
		if changed, err = s.change(a.engine); err != nil {
			return a, err
		}
		a.engine = changed
	}
	if s.subject.prepare != nil {
		if err = s.subject.prepare(a); err != nil {
			return a, err
		}
	}
	if a.watch, err = check.Follow(a.path("log")); err != nil {
		return a, err
	}
	for i := range s.nodes {
		n := &node{arena: a, name: fmt.Sprintf("n%d", i+1)}
		n.dir = a.path(n.name)
		if n.link, err = engine.NewLink(a.engine.Addresses(), s.subject.protocol()); err != nil {
			return a, err
		}
		a.nodes = append(a.nodes, n)
	}
	return a, nil
}

// own copies the programs into the run's directory. Every process that runs a copy
// belongs to the run.
func (a *arena) own() error {
	own := a.path("bin")
	if err := os.MkdirAll(own, 0o700); err != nil {
		return err
	}
	for _, p := range []*string{&a.programs.Lifeline, &a.programs.Witness, &a.remote, &a.etcdctl} {
		if *p == "" {
			continue
		}
		text, err := os.ReadFile(*p)
		if err == nil {
			*p = filepath.Join(own, filepath.Base(*p))
			err = os.WriteFile(*p, text, 0o700)
		}
		if err != nil {
			return fmt.Errorf("cannot copy the programs: %w", err)
		}
	}
	real, err := filepath.EvalSymlinks(own)
	a.programs.Dir = real
	return err
}

func (a *arena) path(name string) string { return filepath.Join(a.dir, name) }

// worker returns the worker's command. With slots the witness has no lock of
// its own, because several may run.
func (a *arena) worker(flags ...string) []string {
	lock := a.path("witness.lock")
	if a.slots > 1 {
		lock = a.path("witness.lock.") + fmt.Sprint(time.Now().UnixNano())
	}
	return append([]string{a.programs.Witness, "-log", a.path("log"), "-lock", lock, "-beats", a.path("beats")},
		flags...)
}

// leftovers describes the processes that still run.
func (a *arena) leftovers() []string {
	var list []string
	for _, id := range pid.Below(a.programs.Dir) {
		args, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", id.PID))
		list = append(list, fmt.Sprintf("%s: %s %s", id, nodeOf(id.PID), strings.ReplaceAll(strings.Trim(string(args),
			"\x00"), "\x00", " ")))
	}
	return list
}

// sweep ends every guard as its manual says, waits up to limit, and lists what is
// left.
func (a *arena) sweep(limit time.Duration) []string {
	for _, n := range a.nodes {
		n.link.Heal()
		n.end()
	}
	for deadline := time.Now().Add(limit); len(pid.Below(a.programs.Dir)) > 0 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	left := a.leftovers()
	pid.KillBelow(a.programs.Dir)
	return left
}

// judge ends the watch and reads the log.
func (a *arena) judge() (*check.Cluster, error) {
	if err := a.watch.Beats(a.path("beats")); err != nil {
		return nil, err
	}
	if _, err := a.watch.Close(); err != nil {
		return nil, err
	}
	a.watch = nil
	text, err := os.ReadFile(a.path("log"))
	if err != nil {
		return nil, err
	}
	return check.JudgeCluster(text, max(1, a.slots))
}

func (a *arena) close() {
	pid.KillBelow(a.programs.Dir)
	for _, n := range a.nodes {
		n.link.Close()
	}
	if a.engine != nil {
		a.engine.Close()
	}
	if a.watch != nil {
		_, _ = a.watch.Close()
	}
}

// environ returns this process's environment without the variables of lifeline and of
// the engines' clients.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(kv string) bool {
		return strings.HasPrefix(kv, "LIFELINE_") || strings.HasPrefix(kv, "ETCDCTL_") || strings.HasPrefix(kv, "PG")
	})
}
