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
	"lifeline/internal/statedir"
	"lifeline/internal/supervisor"
	"lifeline/procscan"
)

// directory reports whether locks can be made in the state directory of g, and by this
// user alone.
func (d *Doctor) directory(g guard.Guard) {
	path, there, err := g.Directory()
	if slices.Contains(d.dirs, path) {
		return
	}
	d.dirs = append(d.dirs, path)
	switch {
	case err != nil:
		d.failed("directory", err)
	case !there:
		d.fine("directory", "%s isn't there yet; the first start makes it", path)
	case guard.IsFull(path):
		d.wrong("directory", "free some space there: df "+path,
			"the file system of the state directory %s is full: no state and no history can be written", path)
	default:
		d.fine("directory", "%s is yours, closed to others and local", path)
	}
	if memory, err := g.Memory(); err != nil {
		d.failed("directory", err)
	} else if memory != path && guard.IsFull(existing(memory)) {
		d.wrong("directory", "free some space there: df "+existing(memory),
			"the file system of %s is full: no journal and no pause can be written", memory)
	}
	if _, err := procscan.Pids(); err != nil {
		d.wrong("processes", "mount /proc, if that can be; else nothing: the locks alone keep it single", "%v", err)
	}
}

// existing returns path, or the nearest directory above it that exists.
func existing(path string) string {
	for !exists(path) && path != filepath.Dir(path) {
		path = filepath.Dir(path)
	}
	return path
}

// state examines the name's files, locks and processes.
func (d *Doctor) state(c candidate) {
	name, g := c.name, c.guard
	if _, there, err := g.Directory(); err != nil {
		return // directory has reported the error
	} else if !there {
		d.unread(c.line.table, time.Time{})
		d.fine("state", "has never been started here")
		if !c.blocked {
			d.overdue(c, guard.Exam{}, "")
		}
		return
	}
	if until, paused, err := g.PausedUntil(name); err != nil {
		c.blocked = true
		d.wrong("pause", "lifeline resume "+name+" takes the file away", "%v", err)
	} else if paused {
		c.blocked = true
		text := "it is paused, so cron starts nothing"
		if !until.IsZero() {
			text += ", until " + human.ShortTime(until)
		}
		if since := g.PausedSince(name); !since.IsZero() {
			text += " (since " + human.PastTime(since) + ")"
		}
		d.wrongAs("paused", "pause", "lifeline resume "+name, "%s", text)
	}
	e, err := d.exams.Examine(g, name)
	// Wait for an instance that is ending or puts its lock file back.
	for n := 0; n < 20 && err == nil && e.Record == guard.RecordUnlocked; n++ {
		time.Sleep(50 * time.Millisecond)
		d.exams.Forget()
		e, err = d.exams.Examine(g, name)
	}
	if err != nil {
		return // directory has reported the error
	}
	for _, err := range e.Broken {
		c.blocked = true
		d.failed("files", err)
	}
	if info, err := os.Stat(e.Lock); err == nil {
		d.unread(c.line.table, info.ModTime())
	} else {
		d.unread(c.line.table, time.Time{})
	}
	d.record(name, e)
	if d.locks(name, g, e) {
		d.running(c, e)
	}
	d.history(c)
}

func (d *Doctor) record(name string, e guard.Exam) {
	switch e.Record {
	case guard.RecordDamaged:
		d.wrong("record", fmt.Sprintf("lifeline restart %s writes a new one; if it doesn't run: rm %s", name, e.Run),
			"%s can't be read: who the instance is has to be found by the process table", e.Run)
	case guard.RecordForeign:
		d.wrong("record", "give each container a state directory of its own (--dir)",
			"%s was written in another pid namespace: a container shares this state directory", e.Run)
	case guard.RecordUnlocked:
		d.wrong("record", "look again in ten seconds: it puts its lock file back; if not: lifeline restart "+name,
			"pid %d runs it, and doesn't hold the lock %s", e.Supervisor.PID, e.Lock)
	default:
		if e.Record != guard.RecordNone {
			d.fine("record", "%s is sound", e.Run)
		}
	}
}

// locks reports foreign processes that hold the locks, and returns false if any does.
func (d *Doctor) locks(name string, g guard.Guard, e guard.Exam) bool {
	foreign := func(path string, holders []procscan.ID) (who string, pids []string) {
		var list []string
		for _, id := range holders {
			if id != e.Supervisor && id != e.Worker && !isLifeline(id) && !g.Marked(id, name) && mayHold(id, path) {
				list, pids = append(list, describe(id)), append(pids, id.String())
			}
		}
		return strings.Join(list, " and "), pids
	}
	ok := true
	if who, pids := foreign(e.Lock, e.LockHolders); who != "" {
		ok = false
		d.wrong("lock", "find out what it wants with it, and end it: kill "+strings.Join(pids, " "),
			"%s is held by %s, which isn't lifeline: nothing can start", e.Lock, who)
	}
	if who, pids := foreign(e.Run, e.RunHolders); who != "" && e.WorkerNow == nil {
		ok = false
		d.wrong("lock", fmt.Sprintf("if it isn't %s, end it: kill %s", name, strings.Join(pids, " ")),
			"%s is held by %s, which shows nothing of %s: it is taken for an instance that has lost its environment, or holds "+
				"up each start", e.Run, who, name)
	}
	return ok
}

// mayHold reports whether id has path open. It is needed because /proc/locks shows inode
// numbers, which another file system may have, too. Where id's descriptors can't be seen,
// the device decides.
func mayHold(id procscan.ID, path string) bool {
	file, err := os.Stat(path)
	if err != nil {
		return true
	}
	dir := fmt.Sprintf("/proc/%d/fd", id.PID)
	list, err := os.ReadDir(dir)
	if err != nil {
		return !locksElsewhere(id.PID, path)
	}
	return slices.ContainsFunc(list, func(fd os.DirEntry) bool {
		open, err := os.Stat(filepath.Join(dir, fd.Name()))
		return err == nil && os.SameFile(open, file)
	})
}

// isLifeline reports whether id runs this program, in any version.
func isLifeline(id procscan.ID) bool {
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", id.PID))
	if err != nil {
		_, exe = procscan.Describe(id)
		exe, _, _ = strings.Cut(exe, " ")
	}
	exe = strings.TrimSuffix(exe, " (deleted)")
	self, err := os.Executable()
	return filepath.Base(exe) == "lifeline" || err == nil && exe == self
}

func describe(id procscan.ID) string {
	if since, command := procscan.Describe(id); command != "" {
		return fmt.Sprintf("pid %d, since %s (%s)", id.PID, since.Format(time.DateTime), command)
	}
	return fmt.Sprintf("pid %d", id.PID)
}

// running reports which processes of the instance live.
func (d *Doctor) running(c candidate, e guard.Exam) {
	sup, worker, name := e.SupervisorNow, e.WorkerNow, c.name
	if sup != nil && sup.Stopped() {
		d.wrongAs("frozen", "state", fmt.Sprintf("kill -CONT %d", sup.PID),
			"its supervisor, pid %d, is stopped (SIGSTOP): it restarts and reloads nothing", sup.PID)
		return
	}
	if worker != nil && worker.Stopped() {
		d.wrongAs("frozen", "state", fmt.Sprintf("kill -CONT %d", worker.PID),
			"it is stopped (SIGSTOP), pid %d: it lives, so nothing else is started", worker.PID)
		return
	}
	switch {
	case worker != nil && sup == nil:
		d.fine("state", "pid %d runs; its supervisor was killed, and the next tick takes it over", worker.PID)
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
		d.wrongAs("differs", "state", "lifeline restart "+c.name+" takes what the crontab has", "it runs %s, and %s has %s",
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
			c.guard.SkippedSince(c.name, state.SkippedAt), human.PastTime(info.ModTime()))
	}
	d.wrongAs("hanging", "state",
		fmt.Sprintf("see what it does (lifeline logs %s), or end it: lifeline terminate %s; --max-runtime in its line does "+
			"that by itself", c.name, c.name),
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

// isSeen reports whether a file shows that the name was started here before.
func (d *Doctor) isSeen(c candidate) bool {
	path, _, err := c.guard.Journal(c.name)
	e, examErr := d.exams.Examine(c.guard, c.name)
	return err == nil && exists(path) || examErr == nil && exists(e.Lock)
}

// slack is how late a tick may start.
const slack = time.Minute

// overdue reports a scheduled tick that has left no trace.
func (d *Doctor) overdue(c candidate, e guard.Exam, state string) {
	times, err := install.ParseTimes(c.line.Schedule)
	if err != nil || !c.scheduled || strings.Contains(c.line.Before, "&&") || c.line.Environment["CRON_TZ"] != "" ||
		c.start.Cluster != "" {
		return
	}
	since := c.line.table.changed
	if info, err := os.Stat(statedir.Default() + ".crontab"); err == nil && c.line.Block && since.IsZero() {
		since = info.ModTime() // lifeline has changed the crontab then
	}
	if since.IsZero() && !exists(state) {
		return // never started, and the line may be new
	}
	started := procscan.Booted() // when the machine and its cron were up
	for _, crond := range d.cronds {
		if since, _ := procscan.Describe(crond.id); since.After(started) {
			started = since
		}
	}
	traces := []time.Time{since}
	for _, file := range []string{state, strings.TrimSuffix(state, ".state") + ".paused", e.Lock, e.Run} {
		if info, err := os.Stat(file); err == nil {
			traces = append(traces, info.ModTime())
		}
	}
	by := time.Now().Add(-slack - c.start.Jitter)
	if due, _, is := missed(times, by, traces); is && !started.Before(due) && exists(state) && isRare(times, due) {
		d.wrongAs("overdue", "state", "cron makes up for no start: lifeline start "+c.name+" starts it now",
			"it was to start at %s, when the machine or its cron wasn't up (it is since %s)", human.PastTime(due),
			human.PastTime(started))
	} else if due, seen, is := missed(times, by, append(traces, started)); is {
		d.wrongAs("overdue", "state", fmt.Sprintf("see what cron says (journalctl -t CRON, or /var/log/syslog); lifeline "+
			"start %s "+
			"starts it now", c.name),
			"cron was to start it at %s, and nothing shows that it did; the last trace of it, of its line or of cron's start "+
				"is of %s",
			human.PastTime(due), human.PastTime(seen))
	}
}

// isRare reports whether the tick after due comes at least an hour later. A shorter
// pause soon makes up for a missed tick.
func isRare(times install.Times, due time.Time) bool { return times.Next(due).Sub(due) >= time.Hour }

// missed reports whether the schedule's last time up to by is newer than all traces. It
// returns that time and the latest trace.
func missed(times install.Times, by time.Time, traces []time.Time) (due, seen time.Time, is bool) {
	due = times.Last(by)
	seen = slices.MaxFunc(traces, time.Time.Compare)
	return due, seen, seen.Before(due)
}

// history reports how the last runs ended.
func (d *Doctor) history(c candidate) {
	name := c.name
	state, file, err := c.guard.Journal(name)
	if err != nil {
		return
	}
	if _, err := journal.ReadState(state); err != nil && !os.IsNotExist(err) {
		d.wrong("record", "rm "+state+", if it isn't written again within a minute of the next start", "%v", err)
	}
	runs, err := d.History(file)
	if err != nil {
		d.wrong("last runs", "look at the file", "%s can't be read: %v", file, err)
		return
	}
	if text, err := os.ReadFile(c.guard.PingTrouble(name)); err == nil && c.start.PingURL != "" {
		_, what, _ := strings.Cut(strings.TrimSpace(string(text)), ": ")
		d.wrong("pings", "see that --ping-url is right, and that its host can be reached from here", "%s", what)
	}
	if len(runs) == 0 {
		return
	}
	bad := 0
	for i := len(runs) - 1; i >= 0 && !runs[i].Good() && runs[i].Outcome != journal.Stopped; i-- {
		bad++
	}
	last := runs[len(runs)-1]
	how := fmt.Sprintf("%s, %s ago, after %s", human.End(last), human.Age(last.End), human.Length(last.Length()))
	if last.Why != "" {
		how += ": " + last.Why
	}
	if bad == 0 {
		d.fine("last runs", "the last one: %s", how)
		return
	}
	words, kept := d.printedLast(c, last)
	if words != "" {
		how += "; it printed last: " + words
	}
	what := "the last one"
	if bad > 1 {
		what = fmt.Sprintf("the last %d failed, since %s; the latest", bad, human.PastTime(runs[len(runs)-bad].Start))
	}
	d.wrongAs("failing", "last runs", fmt.Sprintf("%s; lifeline history %s has them all", remedyOf(last, c, kept),
		name),
		"%s: %s", what, how)
}

// mostPrinted is how many bytes of a line are shown.
const mostPrinted = 200

// printedLast returns the last line that a failed run printed, and whether a logger has
// kept the output.
func (d *Doctor) printedLast(c candidate, r journal.Run) (line string, kept bool) {
	path, err := c.guard.FailedOutput(c.name)
	if err != nil {
		return "", false
	}
	o, err := journal.ReadOutput(path)
	if err != nil || o.Generation != r.Generation {
		return "", false
	}
	lines := strings.Split(strings.TrimSpace(o.Text), "\n")
	if line = lines[len(lines)-1]; len(line) > mostPrinted {
		line = strings.ToValidUTF8(line[:mostPrinted], "") + "…"
	}
	if d.NoOutput {
		line = ""
	}
	return line, true
}

// remedyOf returns where to look for the reason of a failed run. kept says whether the
// end of its output is kept.
func remedyOf(r journal.Run, c candidate, kept bool) string {
	switch {
	case r.Code == 127:
		return "the command isn't found as cron looks for it: give its whole path"
	case r.Code == 126:
		return "make the command executable"
	case r.Outcome == journal.Killed && r.Signal == "SIGKILL":
		return "who killed it? the kernel, when memory ran out (dmesg), or a person"
	case r.Outcome == journal.Lost:
		return "lifeline itself was killed, or the machine went down"
	}
	where := printed(c)
	if kept && c.start.Log == "" {
		where = "the end of what it printed is kept, and lifeline report shows it"
	}
	return where + "; or try: lifeline doctor --simulate " + c.name
}

// printed returns where the output of a run has gone.
func printed(c candidate) string {
	mailto, given := c.line.Environment["MAILTO"]
	switch {
	case c.start.Log != "":
		return "see what it printed: lifeline logs " + c.name
	case !c.scheduled:
		return "see what it printed: its log, or cron's mail"
	case given && mailto == "":
		return `what it printed is lost, because the crontab has MAILTO="": give it --log FILE`
	case !slices.ContainsFunc(mailers, exists):
		return "what it printed is lost, because cron finds no " + mailers[0] + " to mail it with: give it --log FILE"
	case given:
		return "see what it printed: cron mailed it to " + mailto
	}
	return "see what it printed: cron mailed it to " + userName()
}

// mailers are the programs with which cron daemons send mail.
var mailers = []string{"/usr/sbin/sendmail", "/usr/lib/sendmail"}
