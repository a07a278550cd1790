package tasks

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"

	"lifeline/internal/supervisor"
)

func metricsCommand() *cli.Command {
	var o options
	var out string
	var cluster bool
	return &cli.Command{
		Name:  "metrics",
		Usage: "everything, in the Prometheus text format",
		UsageText: "lifeline metrics [--out FILE]\nlifeline metrics --cluster [URL]\n\nFor the node " +
			"exporter's textfile " +
			"directory, a line in the crontab:\n* * * * * lifeline metrics --out /var/lib/node_exporter/lifeline.prom",
		Flags: flags(o.lookOptions(), []*option{
			{name: "out", short: "o", value: "FILE", to: text(&out),
				usage: "replace this file as a whole, readable by every user"}},
			o.clusterToggles(&cluster, "print the whole cluster's metrics instead")),
		Action: func(c *cli.Context) error {
			if cluster {
				return o.clusterMetrics(c.Args().Slice(), out)
			}
			if err := o.noCluster(); err != nil {
				return err
			}
			if c.NArg() > 0 {
				return usage("metrics takes no argument, but %q was given", c.Args().First())
			}
			list, err := o.stand(c.Context, nil)
			if err != nil {
				return err
			}
			var b bytes.Buffer
			writeMetrics(&b, list)
			if out == "" {
				_, err := os.Stdout.Write(b.Bytes())
				return err
			}
			return replaceFile(out, "the metrics", 0o644, b.Bytes())
		},
	}
}

// metric is one family of the text exposition format
// (https://prometheus.io/docs/instrumenting/exposition_formats).
type metric struct {
	name, kind, help string
	value            func(s instanceStatus) (v float64, ok bool)
}

func always(f func(instanceStatus) float64) func(instanceStatus) (float64, bool) {
	return func(s instanceStatus) (float64, bool) { return f(s), true }
}

func seconds(t *time.Time) (float64, bool) {
	if t == nil {
		return 0, false
	}
	return float64(t.UnixMilli()) / 1000, true
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

var metricList = []metric{
	{"lifeline_up", "gauge", "Whether an instance runs.",
		always(func(s instanceStatus) float64 { return truth(s.Running) })},
	{"lifeline_ready", "gauge", "Whether it is up, and with --notify has said so.",
		always(func(s instanceStatus) float64 {
			return truth(s.State == supervisor.StateRunning || s.State == supervisor.StateReady ||
				s.State == supervisor.StateReloading)
		})},
	{"lifeline_standing_by", "gauge", "Whether it stands by for a cluster's lease.", func(s instanceStatus) (float64,
		bool) {
		return truth(s.State == supervisor.StateStandingBy), s.Node != ""
	}},
	{"lifeline_fence", "gauge", "Fence of the cluster's lease that it holds, 0 for none.",
		func(s instanceStatus) (float64,
			bool) {
			return float64(s.Fence), s.Node != ""
		}},
	{"lifeline_engine_reachable", "gauge", "Whether a node that stands by reaches the cluster's engine.",
		func(s instanceStatus) (float64, bool) {
			return truth(s.Status == ""), s.State == supervisor.StateStandingBy
		}},
	{"lifeline_paused", "gauge", "Whether it is paused.",
		always(func(s instanceStatus) float64 { return truth(s.Paused) })},
	{"lifeline_scheduled", "gauge", "Whether a crontab starts it.",
		always(func(s instanceStatus) float64 { return truth(s.InCrontab) })},
	{"lifeline_start_time_seconds", "gauge", "Start of the present worker, in seconds since the epoch.",
		func(s instanceStatus) (float64, bool) { return seconds(s.UpSince) }},
	{"lifeline_restarts", "gauge", "Restarts by the present supervisor.",
		always(func(s instanceStatus) float64 { return float64(s.Restarts) })},
	{"lifeline_memory_bytes", "gauge", "Resident memory of the whole process tree.",
		always(func(s instanceStatus) float64 { return float64(s.Memory) })},
	{"lifeline_cpu_seconds", "gauge", "Processor time that the living processes of the tree have used.",
		always(func(s instanceStatus) float64 { return s.CPU })},
	{"lifeline_processes", "gauge", "Processes of the tree.",
		always(func(s instanceStatus) float64 { return float64(s.Processes) })},
	{"lifeline_skipped_ticks_total", "counter", "Ticks that found it running, of the runs that have ended.",
		always(func(s instanceStatus) float64 { return float64(s.Totals.Skipped) })},
	{"lifeline_last_run_end_time_seconds", "gauge", "End of the last run.", func(s instanceStatus) (float64, bool) {
		if s.Last == nil {
			return 0, false
		}
		return seconds(&s.Last.End)
	}},
	{"lifeline_last_run_duration_seconds", "gauge", "Length of the last run.", func(s instanceStatus) (float64, bool) {
		if s.Last == nil {
			return 0, false
		}
		return s.Last.Length().Seconds(), true
	}},
	{"lifeline_last_run_exit_code", "gauge", "Exit code of the last run, -1 if it isn't known.",
		func(s instanceStatus) (float64, bool) {
			if s.Last == nil {
				return 0, false
			}
			return float64(s.Last.Code), true
		}},
	{"lifeline_last_success_time_seconds", "gauge", "End of the last run that ended with 0.",
		func(s instanceStatus) (float64, bool) { return seconds(s.LastSuccess) }},
}

// writeMetrics writes every family, and the time of the census.
func writeMetrics(b *bytes.Buffer, list []instanceStatus) {
	header := func(name, kind, help string) { fmt.Fprintf(b, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind) }
	number := func(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }
	for _, m := range metricList {
		header(m.name, m.kind, m.help)
		for _, s := range list {
			if v, ok := m.value(s); ok {
				fmt.Fprintf(b, "%s{name=%q} %s\n", m.name, s.Name, number(v))
			}
		}
	}
	header("lifeline_runs_total", "counter", "Runs that have ended, by outcome.")
	for _, s := range list {
		for _, o := range []struct {
			outcome string
			n       int
		}{{"ok", s.Totals.OK}, {"stopped", s.Totals.Stopped}, {"failed", s.Totals.Failed}} {
			fmt.Fprintf(b, "lifeline_runs_total{name=%q,outcome=%q} %d\n", s.Name, o.outcome, o.n)
		}
	}
	header("lifeline_look_time_seconds", "gauge", "When this was written.")
	fmt.Fprintf(b, "lifeline_look_time_seconds %s\n", number(float64(time.Now().UnixMilli())/1000))
}

// replaceFile replaces path in one step, so that readers see the whole old file or
// the whole new file. what names the contents in errors.
func replaceFile(path, what string, mode os.FileMode, text []byte) error {
	if err := replaceable(path, what); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err == nil {
		_, err = f.Write(text)
		err = errors.Join(err, f.Chmod(mode), f.Close())
		if err == nil {
			err = os.Rename(f.Name(), path)
		}
		if err != nil {
			_ = os.Remove(f.Name())
		}
	}
	if err != nil {
		var p *fs.PathError
		if errors.As(err, &p) {
			err = p.Err
		}
		advice := ""
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			advice = "; is the directory there, and yours to write?"
		}
		return fmt.Errorf("cannot write %s to %s: %w%s", what, path, err, advice)
	}
	return nil
}

// replaceable refuses a path that isn't a regular file, such as /dev/null, a pipe or
// a link.
func replaceable(path, what string) error {
	if info, err := os.Lstat(path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("cannot write %s to %s: it is no regular file, and would be replaced by one; give a file, "+
			"or a path where nothing is", what, path)
	}
	return nil
}
