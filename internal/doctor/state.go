package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lifeline/internal/guard"
	"lifeline/internal/human"
	"lifeline/internal/journal"
	"lifeline/internal/supervisor"
	"lifeline/procscan"
)

// directory says whether locks can be made, and by nobody else.
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
	default:
		d.fine("directory", "%s is yours, closed to others and local", path)
	}
	if _, err := procscan.Pids(); err != nil {
		d.wrong("processes", "mount /proc, if that can be; else nothing: the locks alone keep it single", "%v", err)
	}
}

// state looks at what the name has left and holds.
func (d *Doctor) state(name string, g guard.Guard) {
	if _, there, err := g.Directory(); err != nil {
		return // it was said
	} else if !there {
		d.fine("state", "has never been started here")
		return
	}
	if until, paused, err := g.PausedUntil(name); err != nil {
		d.wrong("pause", "lifeline resume "+name+" takes the file away", "%v", err)
	} else if paused {
		text := "it is paused, so cron starts nothing"
		if !until.IsZero() {
			text += ", until " + human.ShortTime(until)
		}
		d.wrong("pause", "lifeline resume "+name, "%s", text)
	}
	e, err := d.exams.Examine(g, name)
	// One that is ending, or puts its lock file back, has done so soon.
	for n := 0; n < 20 && err == nil && e.Record == guard.RecordUnlocked; n++ {
		time.Sleep(50 * time.Millisecond)
		d.exams.Forget()
		e, err = d.exams.Examine(g, name)
	}
	if err != nil {
		return // the directory's finding
	}
	for _, err := range e.Broken {
		d.failed("files", err)
	}
	d.record(name, e)
	if d.locks(name, g, e) {
		d.running(name, e)
	}
	d.history(name, g)
}

func (d *Doctor) record(name string, e guard.Exam) {
	switch e.Record {
	case guard.RecordDamaged:
		d.wrong("record", fmt.Sprintf("lifeline restart %s writes a new one; if it doesn't run: rm %s", name, e.Run), "%s can't be read: who the instance is has to be found by the process table", e.Run)
	case guard.RecordForeign:
		d.wrong("record", "give each container a state directory of its own (--dir)", "%s was written in another pid namespace: a container shares this state directory", e.Run)
	case guard.RecordUnlocked:
		d.wrong("record", "look again in ten seconds: it puts its lock file back; if not: lifeline restart "+name, "pid %d runs it, and doesn't hold the lock %s", e.Supervisor.PID, e.Lock)
	default:
		if e.Record != guard.RecordNone {
			d.fine("record", "%s is sound", e.Run)
		}
	}
}

// locks says who holds them that shouldn't; false when somebody does.
func (d *Doctor) locks(name string, g guard.Guard, e guard.Exam) bool {
	foreign := func(holders []procscan.ID) (who string, pids []string) {
		var list []string
		for _, id := range holders {
			if id != e.Supervisor && id != e.Worker && !isLifeline(id) && !g.Marked(id, name) {
				list, pids = append(list, describe(id)), append(pids, id.String())
			}
		}
		return strings.Join(list, " and "), pids
	}
	ok := true
	if who, pids := foreign(e.LockHolders); who != "" {
		ok = false
		d.wrong("lock", "find out what it wants with it, and end it: kill "+strings.Join(pids, " "), "%s is held by %s, which isn't lifeline: nothing can start", e.Lock, who)
	}
	if who, pids := foreign(e.RunHolders); who != "" && !e.Worker.Alive() {
		ok = false
		d.wrong("lock", fmt.Sprintf("if it isn't %s, end it: kill %s", name, strings.Join(pids, " ")), "%s is held by %s, which shows nothing of %s: it is taken for an instance that has lost its environment, or holds up each start", e.Run, who, name)
	}
	return ok
}

// isLifeline: it runs this program, of whatever version.
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

// running says what lives of it.
func (d *Doctor) running(name string, e guard.Exam) {
	sup, worker := e.Supervisor, e.Worker
	if s, err := procscan.Lookup(sup.PID); err == nil && s.ID == sup && s.Stopped() {
		d.wrong("state", fmt.Sprintf("kill -CONT %d", sup.PID), "its supervisor, pid %d, is stopped (SIGSTOP): it restarts and reloads nothing", sup.PID)
		return
	}
	if s, err := procscan.Lookup(worker.PID); err == nil && s.ID == worker && s.Stopped() {
		d.wrong("state", fmt.Sprintf("kill -CONT %d", worker.PID), "it is stopped (SIGSTOP), pid %d: it lives, so nothing else is started", worker.PID)
		return
	}
	switch {
	case worker.Alive() && !sup.Alive():
		d.fine("state", "pid %d runs; its supervisor was killed, and the next tick takes it over", worker.PID)
	case worker.Alive():
		d.fine("state", "runs, pid %d", worker.PID)
	case sup.Alive():
		d.fine("state", "its supervisor, pid %d, is about to start it", sup.PID)
	default:
		d.fine("state", "doesn't run; nothing keeps the next tick from starting it")
	}
}

// history says how the last runs ended.
func (d *Doctor) history(name string, g guard.Guard) {
	state, file, err := g.Journal(name)
	if err != nil {
		return
	}
	if _, err := journal.ReadState(state); err != nil && !os.IsNotExist(err) {
		d.wrong("record", "rm "+state+", if it isn't written again within a minute of the next start", "%v", err)
	}
	runs, err := journal.ReadHistory(file)
	if err != nil {
		d.wrong("last runs", "look at the file", "%s can't be read: %v", file, err)
		return
	}
	if len(runs) == 0 {
		return
	}
	bad := 0
	for i := len(runs) - 1; i >= 0 && !runs[i].Good() && runs[i].Outcome != supervisor.OutcomeStopped; i-- {
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
	what := "the last one"
	if bad > 1 {
		what = fmt.Sprintf("the last %d failed; the latest", bad)
	}
	d.wrong("last runs", fmt.Sprintf("%s; lifeline history %s has them all", remedyOf(last, name), name), "%s: %s", what, how)
}

// remedyOf is where to look for the reason.
func remedyOf(r journal.Run, name string) string {
	switch {
	case r.Code == 127:
		return "the command isn't found as cron looks for it: give its whole path"
	case r.Code == 126:
		return "make the command executable"
	case r.Outcome == supervisor.OutcomeKilled && r.Signal == "SIGKILL":
		return "who killed it? the kernel, when memory ran out (dmesg), or a person"
	case r.Outcome == journal.Lost:
		return "lifeline itself was killed, or the machine went down"
	}
	return "see what it printed: its log, or cron's mail; or try: lifeline doctor --simulate " + name
}
