package doctor

import (
	"context"
	"errors"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// engine has lifeline-remote check the cluster's engine and the clocks, in cron's
// environment.
func (d *Doctor) engine(remote, name string, o Start, l tabled) {
	settings := l.Line
	settings.Environment = maps.Clone(l.Environment)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, remote, "doctor", "-", name)
	const prefix = "LIFELINE_CLUSTER_PREFIX="
	env, _ := d.CronEnviron(settings)
	cmd.Env = append(slices.DeleteFunc(env, func(kv string) bool {
		return strings.HasPrefix(kv, "LIFELINE_CLUSTER=") || strings.HasPrefix(kv, prefix)
	}), "LIFELINE_CLUSTER="+o.Cluster, prefix+o.ClusterPrefix)
	var said strings.Builder
	cmd.Stderr = &said
	text, err := cmd.Output()
	var exit *exec.ExitError
	if err != nil {
		why := strings.TrimSpace(said.String())
		if !errors.As(err, &exit) || why == "" {
			why = err.Error()
		}
		d.wrong("engine", "correct it: "+l.table.remedy, "%s", why)
		return
	}
	for line := range strings.Lines(string(text)) {
		switch f := strings.Split(strings.TrimSuffix(line, "\n"), "\t"); {
		case len(f) == 4 && f[0] == "WRONG":
			d.wrong(f[1], f[3], "%s", f[2])
		case len(f) == 3:
			d.fine(f[1], "%s", f[2])
		}
	}
}
