//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/engine"
)

// load is what a fleet costs at rest, for one node and for the engine.
type load struct {
	connections float64
	memory      map[string]float64 // of a node's processes by program, in MB (PSS)
	cpu         float64            // of a node, in thousandths of a processor
	requests    float64            // of a node, per second
	revisions   float64            // of etcd, or transactions of PostgreSQL, per second and name
	growth      float64            // of the engine's data, in bytes per second and name
}

// fleetAll measures many names on many nodes, at rest. Every node stands by for
// every name.
func fleetAll(s settings, f flags) error {
	if s.nodes == 0 {
		s.nodes = 10
	}
	fmt.Printf("%d names on each of %d nodes, TTL %s, at rest for %s; a node:\n\n| engine | connections | lifeline | "+
		"lifeline-remote | processor | requests/s | revisions or transactions/s and name | growth/s and name |\n"+
		"|---|--:|--:|--:|--:|--:|--:|--:|\n", f.names, s.nodes, f.ttl, f.rest)
	for _, name := range strings.Split(f.subjects, ",") {
		subject, ok := subjectOf(name)
		if !ok || !subject.fence {
			continue
		}
		s.subject, s.members, s.dir = subject, 1, filepath.Join(f.dir, "fleet-"+name)
		l, err := rest(s, f)
		if err != nil {
			return fmt.Errorf("%s: %w; its log is in %s", name, err, s.dir)
		}
		fmt.Printf("| %s | %.1f | %.0f MB | %.0f MB | %.1f %% | %.1f | %.2f | %.0f B |\n",
			subject.engine, l.connections,
			l.memory["lifeline"], l.memory["lifeline-remote"], l.cpu/10, l.requests, l.revisions, l.growth)
	}
	return nil
}

func rest(s settings, f flags) (*load, error) {
	a, err := open(s)
	if err != nil {
		return nil, err
	}
	defer a.close()
	var all []*exec.Cmd
	defer func() {
		for _, cmd := range all {
			_ = cmd.Process.Signal(unix.SIGTERM)
		}
		for _, cmd := range all {
			_ = cmd.Wait()
		}
	}()
	for j := range f.names {
		for _, n := range a.nodes {
			cmd := exec.Command(a.programs.Lifeline, "--cluster", a.url(n), "--node", n.name, "--ttl",
				a.ttl.String(), "--dir",
				n.dir, "--state-dir", n.dir+"-state", fmt.Sprintf("job%03d", j), "--", "sleep", "1000000")
			said, err := os.OpenFile(a.path("said-"+n.name), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
			if err != nil {
				return nil, err
			}
			cmd.Env, cmd.Stdout, cmd.Stderr = append(environ(), "PROOF_NODE="+n.name), said, said
			err = cmd.Start()
			said.Close()
			if err != nil {
				return nil, err
			}
			all = append(all, cmd)
		}
	}
	if err := a.allHeld(f.names, 10*time.Minute); err != nil {
		return nil, err
	}
	time.Sleep(3 * f.ttl) // what starting has begun
	if err := a.allHeld(f.names, time.Minute); err != nil {
		return nil, err
	}
	began := time.Now()
	_, before := a.traffic()
	count, size, err := a.grown()
	if err != nil {
		return nil, err
	}
	_, spent := a.used()
	time.Sleep(f.rest)
	memory, spentThen := a.used()
	_, after := a.traffic()
	countThen, sizeThen, err := a.grown()
	if err != nil {
		return nil, err
	}
	passed, nodes := time.Since(began).Seconds(), float64(len(a.nodes))
	l := &load{memory: memory, cpu: (spentThen - spent) / passed / nodes * 1000,
		requests:  float64(after-before) / passed / nodes,
		revisions: (countThen - count) / passed / float64(f.names),
		growth:    (sizeThen - size) / passed / float64(f.names)}
	for _, n := range a.nodes {
		l.connections += float64(n.link.Connected()) / nodes
	}
	for program := range memory {
		memory[program] /= nodes
	}
	return l, nil
}

// allHeld waits until every name is held.
func (a *arena) allHeld(names int, limit time.Duration) error {
	for end := time.Now().Add(limit); ; time.Sleep(time.Second) {
		cmd := exec.Command(a.remote, "status", a.url(a.nodes[0]))
		cmd.Env = environ()
		text, _ := cmd.Output()
		held := bytes.Count(text, []byte("holds it")) - bytes.Count(text, []byte("no node holds it"))
		if held == names {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("%d of %d names are held after %s", held, names, limit)
		}
	}
}

// used returns the memory of all nodes by program, in MB, and their processor time
// up to now, in seconds.
func (a *arena) used() (memory map[string]float64, spent float64) {
	memory = map[string]float64{}
	for _, n := range a.nodes {
		for _, program := range []string{"lifeline", "lifeline-remote"} {
			for _, id := range n.processes(program) {
				memory[program] += field(fmt.Sprintf("/proc/%d/smaps_rollup", id.PID), "Pss:") / 1024
				text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", id.PID))
				_, rest, _ := strings.Cut(string(text), ") ")
				if f := strings.Fields(rest); len(f) > 12 {
					user, _ := strconv.ParseFloat(f[11], 64)
					system, _ := strconv.ParseFloat(f[12], 64)
					spent += (user + system) / 100 // USER_HZ
				}
			}
		}
	}
	return memory, spent
}

// field returns the number that follows a word in a file.
func field(path, word string) float64 {
	text, _ := os.ReadFile(path)
	_, rest, _ := strings.Cut(string(text), word)
	if f := strings.Fields(rest); len(f) > 0 {
		n, _ := strconv.ParseFloat(f[0], 64)
		return n
	}
	return 0
}

// grown returns how many changes the engine has made up to now, and the size of its
// data in bytes.
func (a *arena) grown() (changes, size float64, err error) {
	if p, ok := a.engine.(*engine.Postgres); ok {
		text, err := p.SQL("SELECT xact_commit, pg_database_size(datname) FROM pg_stat_database " +
			"WHERE datname = 'postgres'")
		if err == nil {
			_, err = fmt.Sscanf(strings.ReplaceAll(text, "|", " "), "%g %g", &changes, &size)
		}
		return changes, size, err
	}
	answer, err := http.Post("http://"+a.engine.Addresses()[0]+"/v3/maintenance/status", "application/json",
		strings.NewReader("{}"))
	if err != nil {
		return 0, 0, err
	}
	defer answer.Body.Close()
	var status struct {
		Header struct {
			Revision float64 `json:"revision,string"`
		} `json:"header"`
		InUse float64 `json:"dbSizeInUse,string"`
	}
	err = json.NewDecoder(answer.Body).Decode(&status)
	return status.Header.Revision, status.InUse, err
}
