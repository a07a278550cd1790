package tasks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/report"
)

// maxClusterText limits lifeline-remote's answer, in bytes: more than an engine
// keeps of 20,000 names.
const maxClusterText = 128 << 20

// clusterPage returns the page of a cluster's names and nodes.
func (o *options) clusterPage(r reportOptions, args []string) (*report.Page, error) {
	names, err := o.clusterNames(args)
	if err == nil && len(names) > 0 {
		err = usage("report shows every name, but %q was given: lifeline report --cluster [URL] --out FILE", names[0])
	}
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := o.remoteInto(&limitedWriter{&text, maxClusterText}, "status", []string{"--json", "--nodes"},
		nil); err != nil {
		return nil, err
	}
	var nodes []cluster.Node
	if err := json.Unmarshal(text.Bytes(), &nodes); err != nil {
		return nil, fmt.Errorf("cannot read what lifeline-remote says of the nodes: %w; install both "+
			"from the same release", err)
	}
	return pageOfNodes(nodes, time.Now(), r.every), nil
}

// limitedWriter fails after `left` bytes.
type limitedWriter struct {
	io.Writer
	left int
}

func (w *limitedWriter) Write(text []byte) (int, error) {
	if w.left -= len(text); w.left < 0 {
		return 0, errors.New("it is too long")
	}
	return w.Writer.Write(text)
}

// pageOfNodes returns the page of what the engine knows. The engine knows the holder
// and the standbys of every name, but runs only of nodes with --share-status.
func pageOfNodes(nodes []cluster.Node, at time.Time, every time.Duration) *report.Page {
	p := &report.Page{Written: at, Every: every, Nodes: []report.Node{}}
	add := func(node, name, what, text, advice string) {
		p.Wrong = append(p.Wrong, report.Wrong{Machine: node, Name: name, What: what, Text: text, Advice: advice})
	}
	known, held := map[string]bool{}, map[string]bool{}
	for _, n := range nodes {
		shown := report.Node{Name: n.Node, Drained: n.Drained, Present: n.Present, Heard: n.Heard, Version: n.Version,
			Holds: n.Holds, StandsBy: n.StandsBy}
		if n.ClockSkew != nil {
			ahead := time.Duration(*n.ClockSkew * float64(time.Second))
			shown.Ahead = &ahead
		}
		p.Nodes = append(p.Nodes, shown)
		if !n.Present && n.Heard != nil {
			add(n.Node, "", "not heard of", "it neither holds nor stands by for anything; its last word came "+
				human.Length(at.Sub(*n.Heard))+" ago", "see whether it is up, and on it: lifeline doctor; where it "+
				"is gone for good, lifeline forget --cluster NAME forgets its names, and a week does")
		}
		for _, name := range n.Holds {
			known[name], held[name] = true, true
		}
		for _, name := range n.StandsBy {
			known[name] = true
		}
		shared := sharedNames(n.Names)
		p.Names = append(p.Names, namesOf(n, shared)...)
		for name, s := range shared {
			known[name] = true
			if n.Present {
				p.Wrong = append(p.Wrong, s.wrongs(n.Node)...)
			}
		}
	}
	for name := range known {
		if !held[name] {
			add("", name, "not held", "no node holds it, so it runs nowhere", "lifeline status --cluster "+name+
				", and on a node that should run it: lifeline doctor "+name)
		}
	}
	for _, w := range cluster.Apart(nodes) {
		add("", "", w.What, w.Text, w.Advice)
	}
	p.Facts = []report.Fact{{Name: "Nodes", Value: fmt.Sprint(len(nodes))}, {Name: "Names",
		Value: fmt.Sprint(len(known))}}
	if len(nodes) == 0 {
		add("", "", "cluster", "no node is known to the engine",
			"on a node: lifeline --cluster URL --share-status NAME -- COMMAND")
	}
	p.Sort()
	return p
}

// sharedNames returns the statuses that a node has shared, by name.
func sharedNames(texts []json.RawMessage) map[string]*instanceStatus {
	list := map[string]*instanceStatus{}
	for _, text := range texts {
		var s instanceStatus
		if json.Unmarshal(text, &s) == nil && guard.CheckName(s.Name) == nil {
			list[s.Name] = &s
		}
	}
	return list
}

// namesOf returns the node's names as the page shows them.
func namesOf(n cluster.Node, shared map[string]*instanceStatus) (list []report.Name) {
	left := maps.Clone(shared)
	add := func(name, state string, kind report.Kind) {
		one := report.Name{Name: name, Kind: kind}
		if s, has := left[name]; has {
			one = s.onPage()
			delete(left, name)
		}
		// The shared status may be older than the lease.
		if kind != report.KindUp || one.Kind != report.KindUp {
			one.State, one.Since, one.Status = state, nil, ""
		}
		if one.Kind != report.KindBad {
			one.Kind = kind
		}
		one.Machine = n.Node
		list = append(list, one)
	}
	for _, name := range n.Holds {
		add(name, "holds the lease", report.KindUp)
	}
	for _, name := range n.StandsBy {
		add(name, "stands by", report.KindIdle)
	}
	for name := range left {
		add(name, "not heard of", report.KindPaused)
	}
	slices.SortFunc(list, func(a, b report.Name) int { return strings.Compare(a.Name, b.Name) })
	return list
}
