package report

import (
	"fmt"
	"strings"
	"time"
)

// Node is a node of a cluster.
type Node struct {
	Name     string
	Drained  bool
	Present  bool           // the node holds or stands by for a name
	Ahead    *time.Duration // the node's clock minus the engine's
	Heard    *time.Time     // when the node last shared a status
	Version  string
	Holds    []string
	StandsBy []string
}

// state returns the node's state, and its colour.
func (n *Node) state() (text string, class markup) {
	switch {
	case !n.Present && n.Heard != nil:
		return "not heard of", "bad"
	case n.Drained:
		return "drained", "warn"
	case len(n.Holds) == 0:
		return "stands by", "idle"
	}
	return "runs", "ok"
}

// nodes writes the table of a cluster's nodes.
func (w *writer) nodes() {
	if len(w.page.Nodes) == 0 {
		return
	}
	w.f("<section aria-labelledby=nodes><h2 id=nodes>All nodes: %</h2>\n<table class=nodes "+
		"aria-labelledby=nodes><thead><tr>", len(w.page.Nodes))
	for _, head := range []string{"Node", "State", "Last heard", "Clock", "Version", "Runs", "Could run"} {
		w.f("<th scope=col>%", head)
	}
	w.f("<tbody>\n")
	for i := range w.page.Nodes {
		n := &w.page.Nodes[i]
		state, class := n.state()
		w.f("<tr class=%><th scope=row>%<td class=state>%<td class=heard>", class, n.Name, state)
		if n.Heard != nil {
			w.f("%", *n.Heard)
		}
		w.f("<td class=clock>")
		if n.Ahead != nil {
			w.f("%", fmt.Sprintf("%+.0fs", n.Ahead.Seconds()))
		}
		w.f("<td class=version>%<td class=runs>%<td class=could>%\n", n.Version, listed(n.Holds), listed(n.StandsBy))
	}
	w.f("</table></section>\n")
}

// mostListed limits the names in a node's row; the page lists all names below.
const mostListed = 10

// listed returns the number of names, and the first names.
func listed(names []string) string {
	switch {
	case len(names) == 0:
		return ""
	case len(names) > mostListed:
		return fmt.Sprintf("%d: %s and %d more", len(names), strings.Join(names[:mostListed], " "),
			len(names)-mostListed)
	}
	return fmt.Sprintf("%d: %s", len(names), strings.Join(names, " "))
}
