package cron

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/check"
	"lifeline/proof/pid"
)

const (
	minute = 60 * time.Second
	// margin is how much later than it should something may happen on a busy
	// machine.
	margin = 10 * time.Second
)

// box is the inside of the namespaces: a daemon, its crontab, and the names
// that the user puts into it.
type box struct {
	*testing.T
	daemon
	dir       string
	noReboot  bool
	began     time.Time  // when the daemon was started
	ended     chan error // its end, which should not come
	minutes   int        // that the foreign job had seen at the last clear
	instances []*instance
}

// instance is a name, and a witness as its worker.
type instance struct {
	name      string
	watch     *check.Watch
	installed bool
	runs      int // of its line, at the last clear
}

func newBox(t *testing.T, d daemon, dir string) *box {
	b := &box{T: t, daemon: d, dir: dir, ended: make(chan error, 1)}
	path := filepath.Join(dir, "bin") + ":/usr/sbin:/usr/bin:/sbin:/bin"
	for _, v := range os.Environ() {
		name, _, _ := strings.Cut(v, "=")
		if strings.HasPrefix(name, "LIFELINE_") {
			os.Unsetenv(name)
		}
	}
	t.Setenv("PATH", path)

	foreign := fmt.Sprintf(`# the shop's crontab	
SHELL=%s/shell
MAILTO=root
GREETING="good  morning"

	# an indented comment, blanks at its end   
* * * * *	echo "$GREETING" >>%s/foreign
#* * * * * %s/bin/lifeline web -- an older attempt
0 5 31 2 * echo "never: 50\%% of #1"
%s`, dir, dir, dir, d.foreign)
	if err := os.WriteFile(b.path("before"), []byte(foreign), 0o600); err != nil {
		t.Fatal(err)
	}
	b.command("crontab", b.path("before"))
	if got := b.command("crontab", "-l"); got != foreign {
		t.Fatalf("crontab(1) doesn't give back what it got:\n%q\n%q", foreign, got)
	}

	output, err := os.Create(b.path("daemon"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cron := exec.Command(d.argv[0], d.argv[1:]...)
	cron.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"} // as from init
	cron.Stdout, cron.Stderr = output, output
	if err := cron.Start(); err != nil {
		t.Fatal(err)
	}
	b.began = time.Now()
	go func() { b.ended <- cron.Wait() }()
	return b
}

func (b *box) path(name string) string { return filepath.Join(b.dir, name) }

func (b *box) read(name string) string {
	text, err := os.ReadFile(b.path(name))
	if err != nil && !os.IsNotExist(err) {
		b.Fatal(err)
	}
	return string(text)
}

// await returns when ok does.
func (b *box) await(limit time.Duration, ok func() bool, format string, args ...any) {
	b.Helper()
	deadline := time.After(limit)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for !ok() {
		select {
		case <-look.C:
		case err := <-b.ended:
			b.Fatalf("the cron daemon has ended: %v\n%s", err, b.evidence())
		case <-deadline:
			b.Fatalf("not within %s: %s\n%s", limit, fmt.Sprintf(format, args...), b.evidence())
		}
	}
}

// tick waits for cron's first minute since clear, which a job of the user's
// own tells.
func (b *box) tick() {
	b.Helper()
	b.await(minute+margin, func() bool { return b.foreign() > b.minutes }, "cron's next minute")
	for _, i := range b.instances {
		i.watch.Note("tick", "")
	}
}

func (b *box) foreign() int { return strings.Count(b.read("foreign"), "\n") }

// clear waits for a time that is well away from the turn of the minute, so that
// what follows happens between two ticks. And Debian's cron compares whole
// seconds. When it has taken in the first of two changes of the crontab within
// a second, it never sees the second change.
func (b *box) clear() {
	b.Helper()
	b.await(minute, func() bool {
		second := time.Now().Second()
		return 4 <= second && second < 30 && time.Since(b.began) > 2*time.Second
	}, "a quiet second")
	b.minutes = b.foreign()
	for _, i := range b.instances {
		i.runs, _ = b.runs(i)
	}
}

// expect says how it must be after a tick: the number of starts in total, and
// whether the last one lives. It waits until what the tick started has come to
// rest.
func (b *box) expect(i *instance, starts int, up bool) {
	b.Helper()
	alive := 0
	if up {
		alive = 1
	}
	b.await(margin, func() bool {
		began, codes := b.runs(i)
		if b.always && i.installed && began == i.runs {
			return false // cron hasn't come to this line yet
		}
		return i.watch.Started() >= starts && len(i.watch.Living()) == alive && began-len(codes) == alive
	}, "%s: %d starts, %d alive and watched over", i.name, starts, alive)
	if n := i.watch.Started(); n != starts {
		b.Fatalf("%s was started %d times, not %d\n%s", i.name, n, starts, b.evidence())
	}
	if began, _ := b.runs(i); !i.installed && began != i.runs {
		b.Fatalf("%s is not in the crontab, and cron ran it\n%s", i.name, b.evidence())
	}
}

// runs says how often cron has run the line of i, and how the runs that are
// over ended.
func (b *box) runs(i *instance) (began int, codes []int) {
	for line := range strings.Lines(b.read("ticks")) {
		f := strings.SplitN(line, " ", 4) // begin or end, the shell's pid, code, command
		if len(f) < 4 || !strings.Contains(f[3], b.path("bin/lifeline")+" ") ||
			!strings.Contains(f[3], " "+i.name+" -- ") {
			continue
		}
		if f[0] == "begin" {
			began++
			continue
		}
		code, err := strconv.Atoi(f[2])
		if err != nil {
			b.Fatalf("cannot understand %q", line)
		}
		codes = append(codes, code)
	}
	return began, codes
}

// odd is a word that sh and both readings of % would like to change.
const odd = `50% of "it" \ costs $2 & 'more'`

// install puts a new name into the crontab.
func (b *box) install(name string, flags ...string) *instance {
	b.Helper()
	i := &instance{name: name, installed: true}
	log := b.path("log/" + name)
	var err error
	if i.watch, err = check.Follow(log); err != nil {
		b.Fatal(err)
	}
	args := []string{"install"}
	if b.noReboot {
		args = append(args, "--no-reboot")
	}
	args = append(args, name, "--", "sh", "-c", `exec "$0" "$@"`, b.path("bin/witness"), "-log", log,
		"-lock", log+".lock")
	args = append(append(args, flags...), odd)
	i.watch.Note("begin", "")
	b.says(args, name+": installed")
	b.says(args, name+": nothing to change")
	b.instances = append(b.instances, i)
	return i
}

func (b *box) uninstall(i *instance) {
	b.Helper()
	b.says([]string{"uninstall", i.name}, i.name+": uninstalled")
	i.installed = false
}

// terminate ends what runs: it must be gone when the command returns.
func (b *box) terminate(i *instance, options ...string) {
	b.Helper()
	worker := b.worker(i)
	i.watch.Note("fault", "terminate")
	b.command("lifeline", append(append([]string{"terminate"}, options...), i.name)...)
	if s, err := pid.Look(worker.PID); err == nil && s.ID == worker && s.State != 'Z' {
		b.Fatalf("%s: terminate has returned, and its worker %s lives\n%s", i.name, worker, b.evidence())
	}
	b.await(margin, func() bool { return len(i.watch.Living()) == 0 }, "%s: its death is seen", i.name)
}

// says runs lifeline, which must say just this.
func (b *box) says(args []string, want string) {
	b.Helper()
	if got := b.command("lifeline", args...); !strings.HasPrefix(got, want) {
		b.Fatalf("lifeline %q said %q, not %q\n%s", args, got, want, b.evidence())
	}
}

func (b *box) command(name string, args ...string) string {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		b.Fatalf("%s %q: %v: %s\n%s", name, args, err, out, b.evidence())
	}
	return string(out)
}

// worker returns the worker that runs.
func (b *box) worker(i *instance) pid.ID {
	b.Helper()
	living := i.watch.Living()
	if len(living) != 1 {
		b.Fatalf("%s has %d workers\n%s", i.name, len(living), b.evidence())
	}
	return living[0]
}

func (b *box) killWorker(i *instance) {
	b.Helper()
	i.watch.Note("fault", "KILL the worker")
	i.watch.Signal(b.worker(i), unix.SIGKILL)
	b.await(margin, func() bool { return len(i.watch.Living()) == 0 }, "%s: its worker is gone", i.name)
}

func (b *box) killSupervisor(i *instance) {
	b.Helper()
	worker, err := pid.Look(b.worker(i).PID)
	if err != nil {
		b.Fatal(err)
	}
	above, err := pid.Look(worker.PPID)
	if err != nil {
		b.Fatal(err)
	}
	exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", above.PID))
	supervisor, err := pid.Open(above.ID)
	if err != nil || filepath.Base(exe) != "lifeline" {
		b.Fatalf("%s: above its worker is %q, not lifeline (%v)\n%s", i.name, exe, err, b.evidence())
	}
	defer supervisor.Close()
	i.watch.Note("fault", "KILL the supervisor")
	supervisor.Signal(unix.SIGKILL)
	if !supervisor.WaitFor(int(margin.Milliseconds())) {
		b.Fatalf("%s: its supervisor survived SIGKILL", i.name)
	}
}

// killBoth kills supervisor and worker. The worker may have heard of its
// supervisor's death by then, and have ended.
func (b *box) killBoth(i *instance) {
	b.Helper()
	worker := b.worker(i)
	b.killSupervisor(i)
	i.watch.Signal(worker, unix.SIGKILL)
	b.await(margin, func() bool { return len(i.watch.Living()) == 0 }, "%s: its worker is gone", i.name)
}

// mails returns what cron has sent, without the headers.
func (b *box) mails() []string {
	var bodies []string
	files, err := filepath.Glob(b.path("mail/*"))
	if err != nil {
		b.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			b.Fatal(err)
		}
		_, body, _ := bytes.Cut(text, []byte("\n\n"))
		bodies = append(bodies, string(body))
	}
	return bodies
}

// evidence returns what there is to look at after a failure.
func (b *box) evidence() string {
	var s strings.Builder
	part := func(what, text string) { fmt.Fprintf(&s, "--- %s:\n%s\n", what, strings.TrimSpace(text)) }
	part("the time", time.Now().String())
	for _, i := range b.instances {
		part("witnesses of "+i.name, b.read("log/"+i.name))
	}
	part("what cron's shell ran", b.read("ticks"))
	part("what the daemon said", b.read("daemon"))
	part("mails", strings.Join(b.mails(), "---\n"))
	table, _ := exec.Command("ps", "-eo", "pid,ppid,stat,etime,args").CombinedOutput()
	part("processes", string(table))
	crontab, _ := exec.Command("crontab", "-l").CombinedOutput()
	part("crontab", string(crontab))
	return s.String()
}
