package node

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/engine"
)

// drainCommand drains a node, and waits until it holds no lease.
func drainCommand(ctx context.Context, args []string) error {
	url, rest, err := addressOf(args)
	if err == nil && len(rest) != 1 && len(rest) != 2 {
		err = engine.Misused("drain takes NODE, and perhaps a time such as 2h")
	}
	lasts := engine.Always
	if err == nil && len(rest) == 2 {
		if lasts, err = time.ParseDuration(rest[1]); err != nil || lasts <= 0 {
			err = engine.Misused("drain takes NODE, and perhaps a time such as 2h")
		}
	}
	if err != nil {
		return err
	}
	node := rest[0]
	e, err := ask(ctx, url, "")
	if err != nil {
		return err
	}
	defer e.Close()
	view, err := e.Look(ctx, "")
	if err != nil {
		return err
	}
	moved := 0
	for _, s := range view.States {
		if holds(s, node) {
			moved++
		}
	}
	if err := e.Drain(ctx, node, lasts); err != nil {
		return err
	}
	for {
		view, err := e.Look(ctx, "")
		if err != nil {
			return err
		}
		var held, stuck []string
		for _, s := range view.States {
			if !holds(s, node) {
				continue
			}
			held = append(held, s.Name)
			if !slices.ContainsFunc(s.Members, func(m engine.Status) bool {
				return m.Slot < 0 && m.Node != node && !slices.Contains(view.Drained, m.Node)
			}) {
				stuck = append(stuck, s.Name)
			}
		}
		switch {
		case len(held) == 0:
			fmt.Printf("%s: drained; %d handed over\n", node, moved)
			return nil
		case len(stuck) == len(held):
			return engine.Refuse("%s: drained, and still holds %s: no other node stands by for it, and the first "+
				"that does gets it", node, strings.Join(stuck, ", "))
		}
		select {
		case <-ctx.Done():
			return engine.Refuse("%s: drained, and still holds %s: it is handed over when its scheduled run has ended",
				node, strings.Join(held, ", "))
		case <-time.After(250 * time.Millisecond):
		}
	}
}

func undrainCommand(ctx context.Context, args []string) error {
	url, rest, err := wordsOf(args, 1, "undrain takes NODE")
	if err != nil {
		return err
	}
	e, err := ask(ctx, url, "")
	if err != nil {
		return err
	}
	defer e.Close()
	view, err := e.Look(ctx, "")
	if err != nil {
		return err
	}
	if !slices.Contains(view.Drained, rest[0]) {
		fmt.Printf("%s: was not drained\n", rest[0])
		return nil
	}
	if err := e.Drain(ctx, rest[0], engine.Never); err != nil {
		return err
	}
	fmt.Printf("%s: takes leases again\n", rest[0])
	return nil
}

// nodeStatus is a node, for status --nodes.
type nodeStatus = cluster.Node

// nodesOf returns the nodes of a view, with the names that each holds and stands by for.
func nodesOf(view engine.View) []nodeStatus {
	byName := map[string]*nodeStatus{}
	of := func(node string) *nodeStatus {
		if byName[node] == nil {
			byName[node] = &nodeStatus{Node: node, Holds: []string{}, StandsBy: []string{}}
		}
		return byName[node]
	}
	for _, s := range view.States {
		for _, m := range s.Members {
			n := of(m.Node)
			if m.Slot >= 0 {
				n.Holds = append(n.Holds, s.Name)
			} else {
				n.StandsBy = append(n.StandsBy, s.Name)
			}
			if m.Ahead != nil {
				seconds := m.Ahead.Seconds()
				n.ClockSkew = &seconds
			}
		}
	}
	for _, node := range view.Drained {
		of(node).Drained = true
	}
	var list []nodeStatus
	for _, n := range byName {
		list = append(list, *n)
	}
	slices.SortFunc(list, func(a, b nodeStatus) int { return cmp.Compare(a.Node, b.Node) })
	return list
}

func printNodes(list []nodeStatus, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(os.Stdout)
		e.SetIndent("", "  ")
		return e.Encode(append([]nodeStatus{}, list...))
	}
	w := tabwriter.NewWriter(printable{os.Stdout}, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NODE\tSTATE\tHOLDS\tSTANDS BY\tCLOCK\tVERSION\tNAMES HELD\tCOULD RUN")
	for _, n := range list {
		state, clock := "-", "-"
		switch {
		case !n.Present && n.Heard != nil:
			state = "not heard of since " + n.Heard.Local().Format(time.DateTime)
		case n.Drained:
			state = "drained"
		}
		if n.ClockSkew != nil {
			clock = fmt.Sprintf("%+.0fs", *n.ClockSkew)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t%s\t%s\t%s\t%s\n", n.Node, state, len(n.Holds), len(n.StandsBy), clock,
			cmp.Or(n.Version, "-"), cmp.Or(strings.Join(n.Holds, " "), "-"), cmp.Or(strings.Join(n.StandsBy, " "), "-"))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	for i, d := range cluster.Apart(list) {
		if i == 0 {
			fmt.Println()
		}
		fmt.Fprintf(printable{os.Stdout}, "%s: %s; %s\n", d.What, d.Text, d.Advice)
	}
	return nil
}
