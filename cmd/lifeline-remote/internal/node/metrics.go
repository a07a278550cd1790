package node

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"lifeline/internal/cluster/engine"
)

// metricsCommand prints the cluster in the Prometheus text format.
func metricsCommand(ctx context.Context, args []string) error {
	url, _, err := wordsOf(args, 0, "metrics takes one address")
	if err != nil {
		return err
	}
	e, err := ask(ctx, url, "")
	if err != nil {
		return untold(url, err)
	}
	defer e.Close()
	began := time.Now()
	view, err := e.Look(ctx, "")
	if err != nil {
		return untold(url, err)
	}
	writeMetrics(os.Stdout, view, time.Since(began), e.Test(ctx) == nil)
	return nil
}

// writeMetrics writes each family in one piece, as the format requires.
func writeMetrics(w io.Writer, view engine.View, latency time.Duration, writable bool) {
	family := func(name, help string) { fmt.Fprintf(w, "# HELP %s %s\n# TYPE %s gauge\n", name, help, name) }
	each := func(value func(engine.State, engine.Status) (float64, bool), name, help string) {
		family(name, help)
		for _, s := range view.States {
			for _, m := range s.Members {
				if v, ok := value(s, m); ok {
					fmt.Fprintf(w, "%s{name=%q,node=%q} %g\n", name, s.Name, m.Node, v)
				}
			}
		}
	}
	number := func(is bool) float64 {
		if is {
			return 1
		}
		return 0
	}
	each(func(_ engine.State, m engine.Status) (float64, bool) { return number(m.Slot >= 0), true },
		"lifeline_cluster_holds", "Whether the node holds the name's lease; 0 where it stands by.")
	each(func(_ engine.State, m engine.Status) (float64, bool) { return float64(m.Fence), m.Slot >= 0 },
		"lifeline_cluster_fence", "Fence of the holder's grant.")
	each(func(_ engine.State, m engine.Status) (float64, bool) {
		return time.Since(m.Since).Seconds(), m.Slot >= 0
	},
		"lifeline_cluster_lease_age_seconds", "How long the holder has had the lease.")
	family("lifeline_cluster_holders", "Nodes that hold the name's lease.")
	for _, s := range view.States {
		held := 0
		for _, m := range s.Members {
			if m.Slot >= 0 {
				held++
			}
		}
		fmt.Fprintf(w, "lifeline_cluster_holders{name=%q} %d\n", s.Name, held)
	}
	family("lifeline_cluster_last_tick_time_seconds", "Label of the latest scheduled run that was begun.")
	for _, s := range view.States {
		if !s.Mark.Claimed.IsZero() {
			fmt.Fprintf(w, "lifeline_cluster_last_tick_time_seconds{name=%q} %d\n", s.Name, s.Mark.Claimed.Unix())
		}
	}
	family("lifeline_cluster_ticks_skipped", "Scheduled runs that were begun and never finished.")
	for _, s := range view.States {
		if !s.Mark.Claimed.IsZero() {
			fmt.Fprintf(w, "lifeline_cluster_ticks_skipped{name=%q} %d\n", s.Name, s.Mark.Skipped)
		}
	}
	nodes := nodesOf(view)
	family("lifeline_cluster_clock_skew_seconds", "How much the node's clock is ahead of the engine's.")
	for _, n := range nodes {
		if n.ClockSkew != nil {
			fmt.Fprintf(w, "lifeline_cluster_clock_skew_seconds{node=%q} %g\n", n.Node, *n.ClockSkew)
		}
	}
	family("lifeline_cluster_drained", "Whether the node is drained.")
	for _, n := range nodes {
		fmt.Fprintf(w, "lifeline_cluster_drained{node=%q} %g\n", n.Node, number(slices.Contains(view.Drained, n.Node)))
	}
	family("lifeline_cluster_engine_latency_seconds", "How long the engine took to tell all this.")
	fmt.Fprintf(w, "lifeline_cluster_engine_latency_seconds %g\n", latency.Seconds())
	family("lifeline_cluster_engine_writable", "Whether the engine takes writes.")
	fmt.Fprintf(w, "lifeline_cluster_engine_writable %g\n", number(writable))
}
