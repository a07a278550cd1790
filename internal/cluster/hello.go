package cluster

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Hello is what lifeline tells lifeline-remote at first. The secrets are left
// out, because lifeline-remote reads them itself.
type Hello struct {
	URL, Name, Node string
	TTL, Grace      time.Duration
	Slots           int
	Prefer          string // a node, "" for none
	FailAfter       int    // 0: never
	Tick            string // a schedule, "" for none
	AtLeastOnce     bool
	MaxClockSkew    time.Duration // between this node and the engine, for ticks
	ForceOptions    bool          // change what all nodes agree on
	Memory          string        // the file that keeps fence and mark over a restart; "" for none
	Fence           uint64        // the highest that this lifeline has had
	ShareStatus     bool          // let people on every node see how the name stands here
	Supervisor      string        // lifeline's own pid and start time, PID:START
}

// Line is the hello as a line.
func (h Hello) Line() string {
	return Line("lifeline", Version,
		"url="+h.URL, "name="+h.Name, "node="+h.Node,
		"ttl="+strconv.FormatInt(int64(h.TTL), 10), "grace="+strconv.FormatInt(int64(h.Grace), 10),
		"slots="+strconv.Itoa(h.Slots), "prefer="+h.Prefer, "fail-after="+strconv.Itoa(h.FailAfter),
		"tick="+h.Tick, "at-least-once="+strconv.FormatBool(h.AtLeastOnce), "supervisor="+h.Supervisor,
		"max-clock-skew="+strconv.FormatInt(int64(h.MaxClockSkew), 10), "force-options="+strconv.FormatBool(h.ForceOptions),
		"memory="+h.Memory, "fence="+strconv.FormatUint(h.Fence, 10),
		"share-status="+strconv.FormatBool(h.ShareStatus))
}

// ParseHello reads a hello. It skips unknown fields, because a newer lifeline of
// the same version may say more.
func ParseHello(m Message) (h Hello, err error) {
	if m.Verb != "lifeline" || len(m.Fields) == 0 {
		return h, nonsense("%q is no hello", m.Verb)
	}
	if m.Fields[0] != strconv.Itoa(Version) {
		return h, fmt.Errorf("this lifeline-remote speaks version %d of the protocol, lifeline %.10q: install both from "+
			"the same release", Version, m.Fields[0])
	}
	number := func(s string) int64 {
		n, e := strconv.ParseInt(s, 10, 64)
		if e != nil || n < 0 {
			err = nonsense("the hello has %.40q", s)
		}
		return n
	}
	for _, f := range m.Fields[1:] {
		key, value, _ := strings.Cut(f, "=")
		switch key {
		case "url":
			h.URL = value
		case "name":
			h.Name = value
		case "node":
			h.Node = value
		case "ttl":
			h.TTL = time.Duration(number(value))
		case "grace":
			h.Grace = time.Duration(number(value))
		case "slots":
			h.Slots = int(number(value))
		case "prefer":
			h.Prefer = value
		case "fail-after":
			h.FailAfter = int(number(value))
		case "tick":
			h.Tick = value
		case "at-least-once":
			h.AtLeastOnce = value == "true"
		case "max-clock-skew":
			h.MaxClockSkew = time.Duration(number(value))
		case "force-options":
			h.ForceOptions = value == "true"
		case "share-status":
			h.ShareStatus = value == "true"
		case "memory":
			h.Memory = value
		case "fence":
			h.Fence = uint64(number(value))
		case "supervisor":
			h.Supervisor = value
		}
	}
	if err == nil && (h.URL == "" || h.Name == "" || h.Node == "" || h.TTL <= 0 || h.Slots < 1) {
		err = nonsense("the hello lacks something")
	}
	return h, err
}

// Options are the options that all nodes have to agree on, as they are typed.
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
