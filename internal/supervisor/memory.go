package supervisor

import (
	"fmt"
	"time"

	"lifeline/internal/journal"
	"lifeline/internal/process"
)

// weighPeriod is how often a tree's memory is added up, where no cgroup limits the tree.
const weighPeriod = 10 * time.Second

// limitMemory sets --max-memory in the worker's cgroup. Without a cgroup or its memory
// controller (cgroups(7)), the loop adds up the tree's memory instead.
func (w *worker) limitMemory() {
	w.limited = w.cgroup != nil && w.l.o.MaxMemory > 0 && w.cgroup.LimitMemory(w.l.o.MaxMemory) == nil
}

// planWeighing sets when the tree's memory is next added up.
func (w *worker) planWeighing() {
	w.weighAt = time.Time{}
	if w.l.o.MaxMemory > 0 && !w.limited && (w.state == starting || w.state == up) {
		w.weighAt = time.Now().Add(weighPeriod)
	}
}

// weigh adds up the tree's memory, beside the loop.
func (w *worker) weigh() {
	w.planWeighing()
	l, tree := w.l, w.tree()
	go func() {
		n := l.sys.memory(tree)
		l.post(func() { w.onWeighed(n) })
	}()
}

// onWeighed ends a worker whose tree uses too much memory; with --respawn another
// worker starts at once.
func (w *worker) onWeighed(n int64) {
	l := w.l
	if n <= l.o.MaxMemory || w.state != starting && w.state != up {
		return
	}
	why := fmt.Sprintf("its tree used %s (--max-memory %s)", mebibytes(n), mebibytes(l.o.MaxMemory))
	w.because(journal.Memory, "%s", why)
	w.verdict, w.spent = &EndError{1, "ended: " + why}, true
	l.job.Warn("ending pid %d: %s", w.id.PID, why)
	w.stop(l.o.stopSignal())
}

// overLimit reports whether the kernel killed the worker because its cgroup had no
// memory left.
func (w *worker) overLimit(e process.Exit) bool {
	return w.limited && e.Status.Signaled() && w.cgroup != nil && w.cgroup.OOMKills() > 0
}

func mebibytes(n int64) string { return fmt.Sprintf("%.1fM", float64(n)/(1<<20)) }
