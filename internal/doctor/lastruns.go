package doctor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"lifeline/install"
	"lifeline/internal/human"
	"lifeline/internal/journal"
)

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
	if bad == 0 && last.Good() && strings.HasPrefix(last.Why, journal.LeftBehind) &&
		c.line.Schedule == install.EveryMinute {
		d.wrong("last runs", "have it stay in the foreground (an option such as -f or --foreground), or give it "+
			"--leftovers follow", "the last one: %s: it goes into the background by itself", how)
		return
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
		what = fmt.Sprintf("the last %d failed, since %s; the latest", bad, human.ShortTime(runs[len(runs)-bad].Start))
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
	case r.Code == 127 && r.Outcome == journal.NoStart:
		return "the command isn't found as cron looks for it: give its whole path"
	case r.Code == 127 && c.scheduled && missingLibrary(c.start.Command[0]) != "":
		return fmt.Sprintf("it needs %s, which isn't there (ldd %s): install what has it",
			missingLibrary(c.start.Command[0]), c.start.Command[0])
	case r.Code == 126 && strings.Contains(r.Why, "permission denied"):
		return "make the command executable"
	case r.Code == 126 && r.Outcome == journal.NoStart:
		return "put a program for this machine there (ls -l, head -1 and file show what it is)"
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

// missingLibrary returns the first shared library that a program needs, and that the
// dynamic linker doesn't find (ldd(1)); "" for none.
func missingLibrary(program string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "ldd", program)
	cmd.WaitDelay = time.Second
	out, _ := cmd.Output()
	for line := range strings.Lines(string(out)) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), " => not found"); ok {
			return name
		}
	}
	return ""
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
