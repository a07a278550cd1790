package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"lifeline/internal/cluster"
	"lifeline/internal/cluster/address"
	"lifeline/internal/cluster/engine"
)

// addressOf reads the URL argument. - or no URL means LIFELINE_CLUSTER, which may
// contain a password.
func addressOf(args []string) (url string, rest []string, err error) {
	if len(args) > 0 && address.Is(args[0]) {
		if _, err := address.Read(args[0]); err != nil {
			return "", nil, engine.Misused("%v", err)
		}
		if address.Secret(args[0]) {
			return "", nil, engine.Misused("a password on the command line can be read by every user here: put it "+
				"into %s, or the file %s", engine.EnvPassword, engine.EnvPasswordFile)
		}
		return args[0], args[1:], nil
	}
	if len(args) > 0 && args[0] == "-" {
		args = args[1:]
	}
	if url = os.Getenv("LIFELINE_CLUSTER"); url != "" {
		if _, err := address.Read(url); err != nil {
			return "", nil, engine.Misused("%v", err)
		}
		return url, args, nil
	}
	return "", nil, engine.Misused("the engine's address is missing: etcd://HOST:2379 or postgres://HOST/DATABASE")
}

// ask opens an engine for a command, with the team in LIFELINE_CLUSTER_PREFIX.
func ask(ctx context.Context, url, name string) (engine.Engine, error) {
	team := os.Getenv(engine.EnvPrefix)
	if err := cluster.CheckPrefix(team); err != nil {
		return nil, engine.Misused("%v", err)
	}
	return open(ctx, cluster.Hello{URL: url, Prefix: team, Name: name})
}

// wordsOf reads the address as addressOf does, and n words after it.
func wordsOf(args []string, n int, takes string) (url string, words []string, err error) {
	url, words, err = addressOf(args)
	if err == nil && len(words) != n {
		err = engine.Misused("%s", takes)
	}
	return url, words, err
}

// askOfName opens the engine for a command that takes NAME after the address.
func askOfName(ctx context.Context, args []string, takes string) (e engine.Engine, name string, err error) {
	url, words, err := wordsOf(args, 1, takes)
	if err != nil {
		return nil, "", err
	}
	e, err = ask(ctx, url, words[0])
	return e, words[0], err
}

func initCommand(ctx context.Context, args []string) error {
	show := len(args) > 0 && args[0] == "--print"
	if show {
		args = args[1:]
	}
	url, _, err := wordsOf(args, 0, "init takes one address")
	if err != nil {
		return err
	}
	team := os.Getenv(engine.EnvPrefix)
	if err := cluster.CheckPrefix(team); err != nil {
		return engine.Misused("%v", err)
	}
	return initEngine(ctx, url, team, show)
}

func moveCommand(ctx context.Context, args []string) error {
	url, rest, err := wordsOf(args, 2, "move takes NAME and NODE")
	if err != nil {
		return err
	}
	return move(ctx, url, rest[0], rest[1])
}

// move asks for a hand-over, and waits until node holds the name.
func move(ctx context.Context, url, name, node string) error {
	e, err := ask(ctx, url, name)
	if err != nil {
		return err
	}
	defer e.Close()
	var last engine.State
	for began := time.Now(); ; {
		view, err := e.Look(ctx, name)
		if err != nil {
			return err
		}
		states := view.States
		i := slices.IndexFunc(states, func(s engine.State) bool { return s.Name == name })
		if i < 0 || len(states[i].Members) == 0 {
			return engine.Refuse("%s: no node knows it", name)
		}
		last = states[i]
		if holds(last, node) {
			if last.Wish == node {
				return e.Wish(ctx, name, "", 0)
			}
			return nil
		}
		if slices.Contains(view.Drained, node) {
			return engine.Refuse("%s: %s is drained; lifeline undrain %s", name, node, node)
		}
		if !standsBy(last, node) {
			return engine.Refuse("%s: %s doesn't stand by for it; %s; where it is paused, lifeline resume %s lets it",
				name,
				node,
				whoDoes(last), name)
		}
		if last.Wish != node {
			if err := e.Wish(ctx, name, node, 60*time.Second); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return engine.Refuse("%s: not handed over to %s within %s; the wish stands for a minute", name, node,
				time.Since(began).Round(time.Second))
		case <-e.Changes():
		case <-time.After(250 * time.Millisecond): // in case the notification was lost
		}
	}
}

// resetTicksCommand sets the mark of a name to the engine's time. The holder
// notices the new mark at its next tick.
func resetTicksCommand(ctx context.Context, args []string) error {
	e, name, err := askOfName(ctx, args, "reset-ticks takes NAME")
	if err != nil {
		return err
	}
	defer e.Close()
	mark, err := e.Mark(ctx, name)
	if err != nil {
		return err
	}
	if mark.Claimed.IsZero() {
		return engine.Refuse("%s: no tick has ever been run", name)
	}
	theirs, err := e.Clock(ctx, wall)
	if err != nil {
		return err
	}
	now := theirs.At
	if now.IsZero() {
		now = wall()
	}
	now = now.Truncate(time.Second).UTC()
	floor := engine.Floor{Mark: engine.Mark{Claimed: now, Done: now, Skipped: mark.Skipped, Serial: mark.Serial + 1}}
	if err := e.Raise(ctx, name, floor); err != nil {
		return err
	}
	fmt.Printf("%s: the ticks go on from %s (they stood at %s)\n", name, now.Format(time.RFC3339),
		mark.Claimed.Format(time.RFC3339))
	return nil
}

func forgetCommand(ctx context.Context, args []string) error {
	e, name, err := askOfName(ctx, args, "forget takes NAME")
	if err != nil {
		return err
	}
	defer e.Close()
	view, err := e.Look(ctx, name)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(view.States, func(s engine.State) bool { return s.Name == name }) {
		return engine.Refuse("%s: no node knows it", name)
	}
	if err := e.Forget(ctx, name); err != nil {
		return err
	}
	fmt.Printf("%s: forgotten in the cluster\n", name)
	return nil
}

func holds(s engine.State, node string) bool {
	return slices.ContainsFunc(s.Members, func(m engine.Status) bool { return m.Node == node && m.Slot >= 0 })
}

func whoDoes(s engine.State) string {
	var nodes []string
	for _, m := range s.Members {
		if m.Slot < 0 {
			nodes = append(nodes, m.Node)
		}
	}
	if len(nodes) == 0 {
		return "no node does"
	}
	slices.Sort(nodes)
	return "these do: " + strings.Join(slices.Compact(nodes), ", ")
}

func statusCommand(ctx context.Context, args []string) error {
	flag := func(name string) bool {
		is := len(args) > 0 && args[0] == name
		if is {
			args = args[1:]
		}
		return is
	}
	asJSON, nodes := flag("--json"), flag("--nodes")
	url, wanted, err := addressOf(args)
	if err != nil {
		return err
	}
	e, err := ask(ctx, url, "")
	if err != nil {
		return untold(url, err)
	}
	defer e.Close()
	view, err := e.Look(ctx, "")
	if err != nil {
		return untold(url, err)
	}
	states := view.States
	if len(wanted) > 0 {
		states = slices.DeleteFunc(states, func(s engine.State) bool { return !slices.Contains(wanted, s.Name) })
	}
	if nodes {
		shared, err := e.Shared(ctx)
		if err != nil {
			return untold(url, err)
		}
		view.States = states
		return printNodes(withShared(nodesOf(view), sharedBy(shared, wanted)), asJSON)
	}
	held := 0
	if asJSON {
		if err := printJSON(states); err != nil {
			return err
		}
		held = len(wanted)
	} else {
		held = printTable(states, view.Drained)
	}
	if len(states) == 0 || slices.ContainsFunc(states, func(s engine.State) bool { return !isHeld(s) }) {
		if err := e.Test(ctx); err != nil { // this may be why no node holds the name
			return untold(url, err)
		}
	}
	if len(wanted) > 0 && held < len(wanted) {
		return &engine.Refused{Code: 3, Text: "not all of them run"}
	}
	return nil
}

// untold returns the error of a command that got no answer, with status's code 4.
func untold(url string, err error) error {
	var refused *engine.Refused
	switch {
	case errors.As(err, &refused) && refused.Code == 64:
		return err
	case errors.As(err, &refused) && refused.ReadOnly:
		return &engine.Refused{Code: 4, Text: fmt.Sprintf("%s answers and refuses writes: %v", address.Hide(url), err)}
	}
	return &engine.Refused{Code: 4, Text: fmt.Sprintf("cannot ask %s: %v", address.Hide(url), err)}
}

func isHeld(s engine.State) bool {
	return slices.ContainsFunc(s.Members, func(m engine.Status) bool { return m.Slot >= 0 })
}

// printTable writes a line for each member, and returns how many names are held.
func printTable(states []engine.State, drained []string) (held int) {
	w := tabwriter.NewWriter(printable{os.Stdout}, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tNODE\tSTATE\tSINCE\tFENCE\tLAST TICK")
	for _, s := range states {
		any := false
		for _, m := range s.Members {
			state, fence := "stands by", "-"
			if m.Slot >= 0 {
				state, fence, any = "holds it", fmt.Sprint(m.Fence), true
			}
			if s.Wish == m.Node && m.Slot < 0 {
				state = "is to have it"
			}
			if slices.Contains(drained, m.Node) {
				state += ", drained"
			}
			tick := "-"
			if !s.Mark.Claimed.IsZero() && m.Slot >= 0 {
				tick = s.Mark.Claimed.Format(time.RFC3339)
				if time.Until(s.Mark.Claimed) > time.Minute {
					tick += " (in the future: lifeline ticks reset " + s.Name + ")"
				}
				if s.Mark.Skipped > 0 {
					tick += fmt.Sprintf(" (%d skipped)", s.Mark.Skipped)
				}
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", s.Name, m.Node, state,
				m.Since.Local().Format(time.DateTime), fence, tick)
		}
		if any {
			held++
		} else if len(s.Members) > 0 {
			fmt.Fprintf(w, "%s\t-\tno node holds it\t-\t-\t-\n", s.Name)
		}
	}
	_ = w.Flush()
	return held
}

type jsonMember struct {
	Node  string    `json:"node"`
	State string    `json:"state"` // holds, standby
	Since time.Time `json:"since"`
	Fence uint64    `json:"fence,omitempty"`
	Slot  *int      `json:"slot,omitempty"`
}

type jsonState struct {
	Name     string       `json:"name"`
	Members  []jsonMember `json:"members"`
	Wish     string       `json:"wish,omitempty"`
	LastTick *time.Time   `json:"last_tick,omitempty"`
	Skipped  int64        `json:"ticks_skipped,omitempty"`
}

func printJSON(states []engine.State) error {
	out := []jsonState{}
	for _, s := range states {
		j := jsonState{Name: s.Name, Members: []jsonMember{}, Wish: s.Wish, Skipped: s.Mark.Skipped}
		if !s.Mark.Claimed.IsZero() {
			j.LastTick = &s.Mark.Claimed
		}
		for _, m := range s.Members {
			jm := jsonMember{Node: m.Node, State: "standby", Since: m.Since.UTC()}
			if m.Slot >= 0 {
				slot := m.Slot
				jm.State, jm.Fence, jm.Slot = "holds", m.Fence, &slot
			}
			j.Members = append(j.Members, jm)
		}
		out = append(out, j)
	}
	e := json.NewEncoder(os.Stdout)
	e.SetIndent("", "  ")
	return e.Encode(out)
}
