package node

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"io"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/address"
	"lifeline/internal/cluster/engine"
	"lifeline/internal/journal"
	"lifeline/internal/release"
)

// summary is this node's status of a name from the supervisor's journal. It has fields of
// lifeline status --json, and the version of lifeline.
type summary struct {
	Name        string         `json:"name"`
	State       string         `json:"state"`
	Running     bool           `json:"running"` // its supervisor lives
	Command     []string       `json:"command,omitempty"`
	Schedule    string         `json:"schedule,omitempty"`
	UpSince     *time.Time     `json:"up_since,omitempty"`
	NextStart   *time.Time     `json:"next_start,omitempty"`
	Restarts    int            `json:"restarts"`
	Reloads     int            `json:"reloads"`
	Status      string         `json:"status,omitempty"`
	Last        *journal.Run   `json:"last,omitempty"`
	LastSuccess *time.Time     `json:"last_success,omitempty"`
	Totals      journal.Totals `json:"totals"`
	Failing     *time.Time     `json:"failing_since,omitempty"`
	Problem     string         `json:"problem,omitempty"`
	Fence       uint64         `json:"fence,omitempty"`

	Version string    `json:"lifeline"`
	At      time.Time `json:"at"`
}

// sharer starts a goroutine that reads the journal every minute, so that a slow disk
// can't block the loop. The returned function ends the goroutine.
func sharer(h cluster.Hello) (<-chan summary, func()) {
	if !h.ShareStatus || h.Memory == "" {
		return nil, func() {}
	}
	next, stop := make(chan summary), make(chan struct{})
	go func() {
		for {
			select {
			case next <- summaryOf(h):
			case <-stop:
				return
			}
			select {
			case <-time.After(engine.ShareEvery):
			case <-stop:
				return
			}
		}
	}()
	return next, func() { close(stop) }
}

// summaryOf reads the journal, whose files stand beside the memory.
func summaryOf(h cluster.Hello) summary {
	files := strings.TrimSuffix(string(h.Memory), ".cluster")
	out := summary{Name: h.Name, State: "starting", Running: true, Schedule: h.Tick, Version: release.Version}
	s, err := journal.ReadState(files + ".state")
	switch {
	case os.IsNotExist(err):
		return out
	case err != nil:
		out.Problem = err.Error()
		return out
	}
	out.State, out.Command, out.UpSince, out.NextStart = s.State, s.Command, s.Started, s.NextStart
	out.Restarts, out.Reloads, out.Status, out.Fence = s.Restarts, s.Reloads, s.Status, s.Fence
	out.Last, out.LastSuccess, out.Totals = s.Last, s.LastSuccess, s.Totals
	if s.Last != nil && !s.Last.Good() && s.Last.Outcome != journal.Stopped {
		if since := journal.FailingSince(files + ".history"); !since.IsZero() {
			out.Failing = &since
		}
	}
	return out
}

// The limits of a summary's texts, in bytes: first longText, then shortText if the whole
// is too long.
const (
	longText  = 400
	shortText = 60
)

// text returns the summary as JSON of at most MaxShared bytes, without the passwords of
// addresses.
func (s summary) text() []byte {
	for _, limit := range []int{longText, shortText, 0} {
		c := s
		c.Command = nil
		for i, size := 0, 0; i < len(s.Command); i++ {
			word := shown(s.Command[i], limit)
			if size += len(word) + 3; size > limit {
				c.Command = append(c.Command, "…")
				break
			}
			c.Command = append(c.Command, word)
		}
		c.Status, c.Problem, c.Schedule = shown(s.Status, limit), shown(s.Problem, limit), shown(s.Schedule, limit)
		if s.Last != nil {
			last := *s.Last
			last.Why = shown(last.Why, limit)
			c.Last = &last
		}
		if text, err := json.Marshal(c); err == nil && len(text) <= engine.MaxShared {
			return text
		}
	}
	return nil
}

// shown cuts a text to limit bytes, without the passwords of addresses. An address may be
// a part of a word, as in DSN=postgres://….
func shown(text string, limit int) string {
	text = address.Scrub(text, strings.FieldsFunc(text, func(r rune) bool {
		return strings.ContainsRune(" \t\n\"'`=,;()", r)
	}))
	text = address.Scrub(text, strings.Fields(text))
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "…"
	}
	return text
}

// share is the state of sharing this node's summary.
type share struct {
	next    *summary // the summary to write
	written string   // the last written summary, without its time
	at      time.Duration
	failing bool // the last write failed, and that was reported
}

// take notes a summary to write, if it is new or the last write is old.
func (s *share) take(next summary, now time.Duration) {
	next.At = time.Time{}
	if string(next.text()) != s.written || now-s.at >= engine.ShareAtLeast {
		s.next = &next
	}
}

// doShare writes the summary. A failure doesn't affect the lease.
func (s *session) doShare() {
	next := *s.share.next
	s.share.next = nil
	words := string(next.text())
	next.At = s.w.wall().Add(-s.clock.told).UTC().Truncate(time.Second)
	s.do("share", s.limit(), func(ctx context.Context) error { return s.engine.Share(ctx, next.text()) },
		func(err error) {
			if err == nil {
				s.share.written, s.share.at = words, s.w.now()
			} else if !s.share.failing && s.away == "" {
				s.tell("cannot share the status (--share-status): " + err.Error())
			}
			s.share.failing = err != nil
		})
}

// sharedBy returns the wanted names' shared statuses, by node. It leaves out statuses that
// no node of this version can have written.
func sharedBy(list []engine.Shared, wanted []string) map[string][]sharedName {
	by := map[string][]sharedName{}
	for _, one := range list {
		n := sharedName{name: one.Name, text: one.Text}
		if len(wanted) > 0 && !slices.Contains(wanted, one.Name) || len(one.Text) > engine.MaxShared ||
			!utf8.Valid(one.Text) || json.Unmarshal(one.Text, &n.summary) != nil || n.Name != one.Name {
			continue
		}
		by[one.Node] = append(by[one.Node], n)
	}
	return by
}

type sharedName struct {
	summary
	name string
	text json.RawMessage
}

// withShared adds to the nodes what they have shared, and the nodes that have only shared
// statuses left.
func withShared(nodes []nodeStatus, by map[string][]sharedName) []nodeStatus {
	for node := range maps.Keys(by) {
		if !slices.ContainsFunc(nodes, func(n nodeStatus) bool { return n.Node == node }) {
			nodes = append(nodes, nodeStatus{Node: node, Holds: []string{}, StandsBy: []string{}})
		}
	}
	slices.SortFunc(nodes, func(a, b nodeStatus) int { return cmp.Compare(a.Node, b.Node) })
	for i := range nodes {
		n := &nodes[i]
		n.Present = len(n.Holds)+len(n.StandsBy) > 0
		for _, s := range by[n.Node] {
			n.Names = append(n.Names, s.text)
			if n.Heard == nil || s.At.After(*n.Heard) {
				n.Heard, n.Version = &s.At, s.Version
			}
		}
	}
	return nodes
}

// printable replaces control characters for a terminal, because any client of the engine
// may have written the text.
type printable struct{ io.Writer }

func (p printable) Write(text []byte) (int, error) {
	_, err := p.Writer.Write(bytes.Map(func(r rune) rune {
		if r == '\n' || strconv.IsPrint(r) {
			return r
		}
		return '.'
	}, text))
	return len(text), err
}
