package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lifeline/install"
	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/journal"
	"lifeline/internal/supervisor"
	"lifeline/procscan"
)

// running reports which processes of the instance live.
func (d *Doctor) running(c candidate, e guard.Exam) {
	sup, worker, name := e.SupervisorNow, e.WorkerNow, c.name
	if sup != nil {
		if why, advice := halted(*sup); why != "" {
			d.wrongAs("frozen", "state", advice, "its supervisor, pid %d, is %s: it restarts and reloads nothing",
				sup.PID, why)
			return
		}
	}
	if worker != nil {
		if why, advice := halted(*worker); why != "" {
			d.wrongAs("frozen", "state", advice, "it is %s, pid %d: it lives, so nothing else is started", why, worker.PID)
			return
		}
	}
	switch {
	case worker != nil && sup == nil:
		d.fine("state", "pid %d runs; its supervisor was killed, and the next tick takes it over", worker.PID)
	case worker != nil && d.ending(c, worker.PID):
	case worker != nil:
		d.fine("state", "runs, pid %d", worker.PID)
	case sup != nil && standsBy(c.guard, name):
		d.fine("state", "stands by for the lease, supervisor pid %d: another node of the cluster runs it", sup.PID)
	case sup != nil:
		d.fine("state", "its supervisor, pid %d, is about to start it", sup.PID)
	case c.blocked:
		d.fine("state", "doesn't run")
	default:
		d.fine("state", "doesn't run; nothing keeps the next tick from starting it")
	}
	if path, _, err := c.guard.Journal(name); err == nil {
		state, _ := journal.ReadState(path)
		switch {
		case worker != nil:
			d.differs(c, e, state)
			d.hangs(c, e, state)
		case sup == nil && !c.blocked:
			d.overdue(c, e, path)
		}
	}
}

// longStop is how long an ordinary end may take: the preset of --kill-after.
const longStop = 10 * time.Second

// ending reports a worker that has been asked to end for longer than usual, and returns
// whether there is one.
func (d *Doctor) ending(c candidate, pid int) bool {
	path, _, err := c.guard.Journal(c.name)
	if err != nil {
		return false
	}
	state, err := journal.ReadState(path)
	if err != nil || state.State != supervisor.StateStopping || !procscan.ID(state.Supervisor).Alive() ||
		time.Since(state.Since) < longStop {
		return false
	}
	d.wrongAs("hanging", "state", "lifeline terminate --now "+c.name+" ends it at once",
		"pid %d was asked to end %s ago, and hasn't ended: it ignores the signal, or takes its time (--kill-after)", pid,
		human.Age(state.Since))
	return true
}

// standsBy reports whether the supervisor of name waits for a cluster's lease.
func standsBy(g guard.Guard, name string) bool {
	path, _, err := g.Journal(name)
	if err != nil {
		return false
	}
	state, err := journal.ReadState(path)
	return err == nil && state.State == supervisor.StateStandingBy
}

// differs reports an instance that was started in another way than cron would start it.
func (d *Doctor) differs(c candidate, e guard.Exam, state journal.State) {
	if !c.scheduled {
		return
	}
	if have, want := Differs(c.line.Line, c.start.Command, guard.Holder{Supervisor: e.Supervisor, Worker: e.Worker},
		state); have != "" {
		d.wrongAs("differs", "state", "lifeline restart "+c.name+" takes what the crontab has",
			"it runs %s, and %s has %s",
			have, where(c.line.table, c.line.Line), want)
	}
}

// Differs compares an instance with line, which starts command. It returns what the
// instance has and what the line has, or "" when they are the same or unknown.
func Differs(line install.Line, command []string, h guard.Holder, state journal.State) (have, want string) {
	sup := h.Supervisor
	if state.Supervisor.PID != sup.PID || state.Supervisor.Start != sup.Start || len(state.Command) == 0 ||
		strings.HasSuffix(state.Command[len(state.Command)-1], "…") {
		return "", "" // unknown
	}
	if !slices.Equal(command[1:], state.Command[1:]) || !sameProgram(command[0], state.Command[0], h.Worker.PID) {
		return fmt.Sprintf("`%s`", strings.Join(state.Command, " ")), fmt.Sprintf("`%s`", strings.Join(command, " "))
	}
	argv := procscan.Argv(sup)
	end := slices.Index(argv, "--")
	if !sup.Alive() || len(argv) == 0 || end < 2 || argv[end-1] != line.Name {
		return "", ""
	}
	if slices.Equal(apart(argv[1:end-1]), apart(line.Options)) {
		return "", ""
	}
	return fmt.Sprintf("with the options %q", strings.Join(argv[1:end-1], " ")), fmt.Sprintf("%q",
		strings.Join(line.Options, " "))
}

// apart splits --option=value into two words.
func apart(options []string) (out []string) {
	for _, word := range options {
		if name, value, joined := strings.Cut(word, "="); joined && strings.HasPrefix(word, "--") {
			out = append(out, name, value)
		} else {
			out = append(out, word)
		}
	}
	return out
}

// sameProgram reports whether two words name the same program. A path may be relative to
// the directory of pid; a bare word is compared with the other's last element.
func sameProgram(a, b string, pid int) bool {
	if a == b || !strings.Contains(a, "/") || !strings.Contains(b, "/") {
		return filepath.Base(a) == filepath.Base(b)
	}
	stat := func(path string) os.FileInfo {
		if !filepath.IsAbs(path) {
			cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid))
			path = filepath.Join(cwd, path)
		}
		info, _ := os.Stat(path)
		return info
	}
	x, y := stat(a), stat(b)
	return x != nil && y != nil && os.SameFile(x, y)
}

// usualRuns is how many good runs it takes to know the usual length.
const usualRuns = 3

// hangs reports a job that has run for ten times its usual length.
func (d *Doctor) hangs(c candidate, e guard.Exam, state journal.State) {
	_, file, err := c.guard.Journal(c.name)
	if err != nil || state.Respawn {
		return // a respawned worker isn't meant to end
	}
	runs, _ := d.History(file)
	if !slices.ContainsFunc(runs, journal.Run.Good) {
		return // the usual length is unknown: save the reads for the start's time
	}
	since, _ := procscan.Describe(e.Worker)
	now := time.Since(since)
	usual, stuck := IsStuck(runs, now)
	if since.IsZero() || !stuck {
		return
	}
	skipped := ""
	if info, err := os.Stat(e.Lock); err == nil && info.ModTime().After(since) {
		skipped = fmt.Sprintf("; ticks that found it running: %d, the latest at %s",
			c.guard.SkippedSince(c.name, state.SkippedAt), human.ShortTime(info.ModTime()))
	}
	d.wrongAs("hanging", "state",
		fmt.Sprintf("see what it does (lifeline logs %s), or end it: lifeline terminate %s; --max-runtime in its "+
			"line does that by itself", c.name, c.name),
		"it has run for %s, and usually takes %s%s: it may hang", human.Length(now), human.Length(usual), skipped)
}

// IsStuck reports whether a run that has taken now so far lasts ten times the median of
// the good runs, and at least a minute.
func IsStuck(runs []journal.Run, now time.Duration) (usual time.Duration, stuck bool) {
	var lengths []time.Duration
	for _, r := range runs {
		if r.Good() {
			lengths = append(lengths, r.Length())
		}
	}
	if len(lengths) < usualRuns {
		return 0, false
	}
	slices.Sort(lengths)
	usual = lengths[len(lengths)/2]
	return usual, now >= 10*usual && now >= time.Minute
}
