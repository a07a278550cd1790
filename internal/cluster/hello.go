package cluster

import (
	"fmt"
	"time"

	"lifeline/procscan"
)

// Hello is lifeline's first message to lifeline-remote. It contains no secrets, because
// lifeline-remote reads them itself.
type Hello struct {
	URL          string        `json:"url"`
	Prefix       string        `json:"prefix,omitempty"` // a team, "" for none
	Name         string        `json:"name"`
	Node         string        `json:"node"`
	TTL          time.Duration `json:"ttl"`
	Grace        time.Duration `json:"grace"`
	Slots        int           `json:"slots"`
	Prefer       string        `json:"prefer,omitempty"`     // a node, "" for none
	FailAfter    int           `json:"fail_after,omitempty"` // 0: never
	Tick         string        `json:"tick,omitempty"`       // a schedule, "" for none
	AtLeastOnce  bool          `json:"at_least_once,omitempty"`
	MaxClockSkew time.Duration `json:"max_clock_skew,omitempty"` // between this node and the engine, for ticks
	ForceOptions bool          `json:"force_options,omitempty"`  // change what all nodes agree on
	Memory       Bytes         `json:"memory,omitempty"`         // the file that keeps fence and mark over a restart
	Fence        uint64        `json:"fence,omitempty"`          // the highest fence that this lifeline has had
	ShareStatus  bool          `json:"share_status,omitempty"`   // show this node's status of the name on every node
	Supervisor   procscan.ID   `json:"supervisor"`               // lifeline itself
}

// complete reports whether all required fields are there, with sensible values.
func (h Hello) complete() bool {
	return h.URL != "" && h.Name != "" && h.Node != "" && h.TTL > 0 && h.Grace >= 0 &&
		h.Slots > 0 && h.FailAfter >= 0 &&
		h.MaxClockSkew >= 0
}

// Options returns the options that all nodes have to agree on, as they are typed.
func (h Hello) Options() string {
	text := fmt.Sprintf("--slots %d --ttl %s", h.Slots, h.TTL)
	if h.Tick != "" {
		text += fmt.Sprintf(" --tick '%s'", h.Tick)
	}
	if h.AtLeastOnce {
		text += " --at-least-once"
	}
	return text
}
