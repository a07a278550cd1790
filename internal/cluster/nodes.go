package cluster

import (
	"encoding/json" // of lifeline-remote's answers
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Node is a node of a cluster, as lifeline status --cluster --nodes --json prints it.
type Node struct {
	Node      string   `json:"node"`
	Drained   bool     `json:"drained"`
	Holds     []string `json:"holds"`
	StandsBy  []string `json:"stands_by"`
	ClockSkew *float64 `json:"clock_skew_seconds,omitempty"` // node's clock minus the engine's

	Present bool              `json:"present"` // the node holds or stands by for a name
	Heard   *time.Time        `json:"heard,omitempty"`
	Version string            `json:"version,omitempty"`
	Names   []json.RawMessage `json:"names,omitempty"` // what the node has shared, each as in lifeline status --json
}

// Difference is a difference between nodes that should be alike.
type Difference struct{ What, Text, Advice string }

// Apart returns the differences in version and clock between the present nodes.
func Apart(nodes []Node) (list []Difference) {
	versions := map[string][]string{}
	var least, most *Node
	for i := range nodes {
		n := &nodes[i]
		if !n.Present {
			continue
		}
		if n.Version != "" {
			versions[n.Version] = append(versions[n.Version], n.Node)
		}
		if n.ClockSkew != nil && (least == nil || *n.ClockSkew < *least.ClockSkew) {
			least = n
		}
		if n.ClockSkew != nil && (most == nil || *n.ClockSkew > *most.ClockSkew) {
			most = n
		}
	}
	if len(versions) > 1 {
		var parts []string
		for _, v := range slices.Sorted(maps.Keys(versions)) {
			parts = append(parts, v+" on "+strings.Join(versions[v], ", "))
		}
		list = append(list, Difference{"versions apart", strings.Join(parts, "; "),
			"install one of them on every node"})
	}
	// The text has whole seconds, and etcd's clock is known to half a second.
	if least != nil && *most.ClockSkew-*least.ClockSkew > 2 {
		list = append(list, Difference{"clocks apart", fmt.Sprintf("%s is %.0fs ahead of %s", most.Node,
			*most.ClockSkew-*least.ClockSkew, least.Node), "set the clocks by NTP"})
	}
	return list
}
