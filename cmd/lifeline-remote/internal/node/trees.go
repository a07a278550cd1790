package node

import (
	"context"
	"fmt"
	"os"
	"time"

	"lifeline/internal/process"
	"lifeline/procscan"
)

// tree is a generation of the worker, as lifeline has reported it.
type tree struct {
	generation, cgroup string
	root               procscan.ID
}

// killTrees kills every process of the trees, and returns after the last process has
// ended, because the lease can't be given back before. A living lifeline is the orphans'
// subreaper.
func killTrees(trees []tree, supervisor procscan.ID) {
	for _, t := range trees {
		ct := process.Tree{Root: t.root, Group: t.root.PID, Marker: "LIFELINE_ID", Value: t.generation}
		if t.cgroup != "" {
			if c, err := process.OpenCgroup(t.cgroup); err == nil {
				ct.Cgroup = c
			}
		}
		if supervisor.Alive() {
			ct.Above, ct.Not = supervisor, []procscan.ID{procscan.Self()}
		}
		for said := false; ; {
			ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
			err := ct.Kill(ctx)
			cancel()
			if err == nil {
				break
			}
			if !said {
				said = true
				fmt.Fprintf(os.Stderr, "lifeline-remote: the worker can't be ended, and the lease not given back: %v\n",
					err)
			}
		}
		if ct.Cgroup != nil {
			ct.Cgroup.Remove()
		}
	}
}
