package cron

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"lifeline/proof/pid"
)

// story plays the same for every daemon. Between two ticks something else happens to
// each of several names, so that four of cron's minutes are enough.
func story(b *box) {
	before := b.command("crontab", "-l")
	b.noReboot = b.rebootKills()

	// Into a crontab that holds other things.
	b.clear()
	web := b.install("web")
	worker := b.install("worker")
	boss := b.install("boss")
	deaf := b.install("deaf", "-ignore-term")
	down := b.install("down")
	ended := b.install("ended")
	gone := b.install("gone")
	if now := b.command("crontab", "-l"); !strings.HasPrefix(now, before) {
		b.Fatalf("install has changed what is not its own:\n%q\n%q", before, now)
	}

	// Each starts within the minute.
	b.tick()
	for _, i := range b.instances {
		b.expect(i, 1, true)
		cmdline, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", b.worker(i).PID))
		if !strings.HasSuffix(string(cmdline), "\x00"+odd+"\x00") {
			b.Errorf("%s: the words of the command didn't arrive: %q", i.name, cmdline)
		}
	}
	first := b.worker(web)
	orphan := b.worker(deaf)

	b.clear()
	b.killWorker(worker)
	b.killSupervisor(boss)
	b.killSupervisor(deaf)
	b.command("lifeline", "pause", "down")
	b.terminate(down)
	b.terminate(ended)
	b.uninstall(gone)
	b.terminate(gone)
	gone.watch.Note("end", "")

	// One tick later: what runs was left alone, what had ended is back, what
	// is paused or taken out of the crontab stays down.
	b.tick()
	b.expect(web, 1, true)
	b.expect(worker, 2, true)
	b.expect(boss, 1, true) // the tick watches over the orphan
	b.expect(deaf, 1, true)
	b.expect(down, 1, false)
	b.expect(ended, 2, true)
	b.expect(gone, 1, false)
	if b.worker(web) != first || b.worker(deaf) != orphan {
		b.Errorf("a tick replaced a worker that lived")
	}
	b.quietly(web)
	b.quietly(down)

	b.clear()
	b.killWorker(web)
	b.uninstall(worker) // alone, it ends nothing
	b.killBoth(ended)
	b.killWorker(deaf)
	b.await(margin, func() bool { began, codes := b.runs(deaf); return began == len(codes) },
		"deaf: its new supervisor notices the end")
	down.watch.Note("reset", "") // up to here it was to be down
	b.command("lifeline", "resume", "down")

	b.tick()
	b.expect(web, 2, true)
	b.expect(worker, 2, true)
	b.expect(boss, 1, true)
	b.expect(deaf, 2, true)
	b.expect(down, 2, true)
	b.expect(ended, 3, true)
	b.expect(gone, 1, false)

	// Out of the crontab, and ended: it was as if it had never been there. The
	// foreign text has its last newline, or none, in every order.
	b.clear()
	for _, i := range b.instances {
		if i.installed {
			b.uninstall(i)
		}
		if i == deaf {
			b.terminate(i, "--kill-after", "1s")
		} else if i != gone {
			b.terminate(i)
		}
		if i != gone {
			i.watch.Note("end", "")
		}
	}
	if now := b.command("crontab", "-l"); now != before {
		b.Errorf("the crontab isn't what it had been:\n%q\n%q", before, now)
	}
	b.tick()
	for i, starts := range map[*instance]int{web: 2, worker: 2, boss: 1, deaf: 2, down: 2, ended: 3, gone: 1} {
		b.expect(i, starts, false)
	}
	if left := pid.Below(b.path("bin")); len(left) > 0 {
		b.Errorf("left over: %v\n%s", left, b.evidence())
	}
	b.judge()
	b.mailed(web, worker, boss, deaf)
	if err := os.WriteFile(b.path("done"), nil, 0o600); err != nil {
		b.Fatal(err)
	}
}

// rebootKills reports a build of busybox crond that dies of any line that
// begins with an @. It reads the line from a copy that only the option -d has
// made.
func (b *box) rebootKills() bool {
	if b.name != "busybox" {
		return false
	}
	help, _ := exec.Command(b.argv[0], "--help").CombinedOutput()
	if strings.Contains(string(help), "-d N") {
		return false
	}
	b.Log("this crond has no option -d, and dies of @reboot: installed with --no-reboot")
	return true
}

// quietly checks that the runs that found nothing to do exited with 0.
func (b *box) quietly(i *instance) {
	b.Helper()
	_, codes := b.runs(i)
	for _, code := range codes {
		if code != 0 {
			b.Errorf("%s: a tick exited with %d", i.name, code)
		}
	}
}

// judge reads what the witnesses have to say.
func (b *box) judge() {
	for _, i := range b.instances {
		report, err := i.watch.Close()
		if err != nil {
			b.Errorf("%s: %v", i.name, err)
			continue
		}
		if report.Overlaps > 0 {
			b.Errorf("%s: %d overlaps: %v", i.name, report.Overlaps, report.Evidence)
		}
		var gaps []string
		for _, g := range report.Gaps {
			if g.Open { // its end was wanted
				continue
			}
			gaps = append(gaps, g.Length().Round(time.Millisecond).String())
			if g.Calm > minute+margin || g.Ticks > 1 {
				b.Errorf("%s: no instance for %s and %d ticks", i.name, g.Calm, g.Ticks)
			}
		}
		_, codes := b.runs(i)
		b.Logf("%-7s %d starts, without an instance for %s; cron's runs exited with %v", i.name, len(report.Lives),
			strings.Join(gaps, ", "), codes)
	}
}

// mailed checks that cron has sent mail about these names and no others: a tick
// that finds its instance prints nothing.
func (b *box) mailed(names ...*instance) {
	b.Helper()
	text := strings.Join(b.mails(), "")
	for line := range strings.Lines(text) {
		if strings.Contains(line, "Killed") { // the shell's own word on a supervisor
			continue
		}
		if !slices.ContainsFunc(names,
			func(i *instance) bool { return strings.HasPrefix(line, "lifeline: "+i.name+": ") }) {
			b.Errorf("cron mailed %q", line)
		}
	}
	for _, i := range names {
		if !strings.Contains(text, "lifeline: "+i.name+": ") {
			b.Errorf("cron has mailed nothing of %s:\n%s", i.name, text)
		}
	}
}
