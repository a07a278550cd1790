package node

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"lifeline/internal/cluster/address"
	"lifeline/internal/cluster/engine"
)

// defaultSkew is the default of --max-clock-skew.
const defaultSkew = time.Minute

// doctorCommand prints what lifeline doctor shows of the engine, a finding on each
// line. Its fields, separated by tabs, are ok or WRONG, the subject, a text and, if
// WRONG, an advice.
func doctorCommand(ctx context.Context, args []string) error {
	url, rest, err := wordsOf(args, 1, "doctor takes NAME")
	if err != nil {
		return err
	}
	examine(ctx, url, rest[0], func(words ...string) {
		for i, word := range words {
			words[i] = strings.NewReplacer("\t", " ", "\n", " ").Replace(word)
		}
		fmt.Println(strings.Join(words, "\t"))
	})
	return nil
}

func examine(ctx context.Context, url, name string, found func(words ...string)) {
	shown, given := address.Hide(url), typed(url, os.Getenv(engine.EnvPrefix))
	began := time.Now()
	e, err := ask(ctx, url, name)
	if err != nil {
		found("WRONG", "engine", fmt.Sprintf("%s: %v", shown, err),
			"see docs/cluster.md; lifeline status --cluster asks again")
		return
	}
	defer e.Close()
	if err := e.Test(ctx); err != nil {
		found("WRONG", "engine", fmt.Sprintf("%s answers, and takes no writes: %v", shown, err),
			"see docs/cluster.md; lifeline status --cluster asks again")
		return
	}
	found("ok", "engine", fmt.Sprintf("%s answers and takes writes, in %s", shown,
		time.Since(began).Round(time.Millisecond)))
	before := wall()
	switch theirs, err := e.Clock(ctx, wall); {
	case err != nil || theirs.At.IsZero():
		found("ok", "clock", "the engine's can't be read; for scheduled runs the nodes compare theirs")
	default:
		ahead := before.Add(wall().Sub(before) / 2).Sub(theirs.At)
		if ahead.Abs() > defaultSkew {
			found("WRONG", "clock",
				"this node's is "+aheadOf(ahead)+" "+theirs.Of+": it runs no ticks where --max-clock-skew is less",
				"set it right, by NTP for example: timedatectl")
		} else {
			found("ok", "clock", "this node's is within "+max(ahead.Abs(),
				time.Second).Round(time.Second).String()+" of "+theirs.Of)
		}
	}
	view, err := e.Look(ctx, name)
	if err != nil {
		found("WRONG", "lease", err.Error(), "lifeline status --cluster "+given+" "+name)
		return
	}
	i := slices.IndexFunc(view.States, func(s engine.State) bool { return s.Name == name })
	if i < 0 || len(view.States[i].Members) == 0 {
		found("WRONG", "lease", "no node of the cluster stands by",
			"lifeline install "+name+", with --cluster, on each node")
		return
	}
	state := view.States[i]
	var holders []string
	for _, m := range state.Members {
		if m.Slot >= 0 {
			holders = append(holders, fmt.Sprintf("%s (fence %d)", m.Node, m.Fence))
		}
	}
	if len(holders) == 0 {
		found("WRONG", "lease", "no node holds it; "+whoDoes(state), "lifeline status --cluster "+given+" "+name+
			", in some seconds; lifeline doctor "+name+" on those nodes")
	} else {
		found("ok", "lease", strings.Join(holders, ", ")+" holds it; stand-bys: "+whoDoes(state))
	}
	if ahead := state.Mark.Claimed.Sub(wall()); ahead > defaultSkew {
		found("WRONG", "ticks",
			"the latest is of the future, "+state.Mark.Claimed.Format(time.RFC3339)+": nothing runs until then",
			"lifeline ticks --cluster "+given+" reset "+name)
	}
}

// typed returns what to type after --cluster.
func typed(url, team string) string {
	if team == "" {
		return address.Hide(url)
	}
	return address.Hide(url) + " --cluster-prefix " + team
}

// aheadOf returns a difference of clocks in words.
func aheadOf(d time.Duration) string {
	if d < 0 {
		return d.Abs().Round(time.Second).String() + " behind"
	}
	return d.Round(time.Second).String() + " ahead of"
}
