// Package cron proves lifeline's main job on real cron daemons, from a user's
// side. It uses the program that is shipped, a crontab that held other things
// before, and cron's own minutes. The steps are in story_linux_test.go.
package cron

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"

	"lifeline/proof/build"
	"lifeline/proof/need"
	"lifeline/proof/pid"
)

// daemon is a program that starts what stands in a crontab.
type daemon struct {
	name string
	// always: it starts a line again although what it started for the same
	// line a minute ago runs still. Busybox's doesn't, unless the crontab has
	// been written in between.
	always bool
	// locate says where the program is, or what is missing.
	locate func() (program, missing string)
	argv   []string
	// foreign ends what stands in the crontab beforehand.
	foreign string
}

var daemons = []daemon{
	{
		name: "debian", always: true, locate: debian,
		argv:    []string{"/usr/sbin/cron", "-f"},
		foreign: "# the last line\n",
	}, {
		name: "busybox", locate: busybox,
		argv:    []string{"/usr/sbin/crond", "-f", "-L", "/dev/stderr"},
		foreign: "# the last line, which nothing ends", // Debian's crontab(1) refuses that
	},
}

func debian() (program, missing string) {
	if _, err := exec.LookPath("crontab"); err != nil {
		return "", "crontab (Debian: cron)"
	}
	for _, name := range []string{"cron", "/usr/sbin/cron"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, ""
		}
	}
	return "", "cron (Debian: cron)"
}

// busybox finds one that was built with both programs: Debian's package of
// this name was built without.
func busybox() (program, missing string) {
	path, err := exec.LookPath("busybox")
	if err == nil {
		applets, _ := exec.Command(path, "--list").Output()
		list := "\n" + string(applets)
		if strings.Contains(list, "\ncrond\n") && strings.Contains(list, "\ncrontab\n") {
			return path, ""
		}
	}
	return "", "a busybox with crond and crontab (Debian: busybox-static)"
}

var unshare = []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}

// machine says what else is missing.
var machine = sync.OnceValue(func() string {
	if os.Geteuid() != 0 {
		return "root, for a mount namespace"
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "the go command, to build lifeline"
	}
	argv := append(unshare, "mount", "-t", "tmpfs", "none", "/run")
	if out, err := exec.Command(argv[0], argv[1:]...).CombinedOutput(); err != nil {
		return fmt.Sprintf("a mount and a pid namespace (unshare: %v: %s)", err, strings.TrimSpace(string(out)))
	}
	return ""
})

// insideVar tells the test binary that it is the one inside the namespaces,
// and which directory is its own.
const insideVar = "CRON_PROOF_DIR"

// TestRealCron takes three to four minutes, because cron's minute is real; the
// daemons' run side by side.
func TestRealCron(t *testing.T) {
	inside := os.Getenv(insideVar)
	if inside == "" {
		t.Parallel() // with the other scenes; the many machines of TestSickMachines have had their minute by then
		need.Time(t, "some of cron's minutes")
	}
	for _, d := range daemons {
		t.Run(d.name, func(t *testing.T) {
			if inside != "" {
				story(newBox(t, d, inside))
				return
			}
			program, missing := d.locate()
			if missing == "" {
				missing = machine()
			}
			need.That(t, missing == "", missing)
			t.Parallel()
			d.enter(t, lay(t, program))
		})
	}
}

// lay makes what the namespaces need of the file system: bin, first in the
// user's PATH, and sbin, in the place of /usr/sbin.
func lay(t *testing.T, program string) string {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	// t.TempDir's names would make crontab lines long and hard to read.
	dir, err := os.MkdirTemp("", "cron")
	must(err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	dir, err = filepath.EvalSymlinks(dir) // as /proc/PID/exe will tell it
	must(err)
	for _, d := range []string{"bin", "sbin", "mail", "log"} {
		must(os.Mkdir(filepath.Join(dir, d), 0o755))
	}
	must(build.One(filepath.Join(dir, "bin/lifeline"), ".", "urfave_cli_no_docs,osusergo,netgo"))
	must(build.One(filepath.Join(dir, "bin/witness"), "./proof/witness", ""))
	must(os.WriteFile(filepath.Join(dir, "crontab"), nil, 0o644))
	if filepath.Base(program) == "busybox" {
		must(os.Symlink(program, filepath.Join(dir, "bin", "crontab")))
		must(os.Symlink(program, filepath.Join(dir, "sbin", "crond")))
	} else {
		text, err := os.ReadFile(program)
		must(err)
		must(os.WriteFile(filepath.Join(dir, "sbin", "cron"), text, 0o755))
	}
	script := func(path, text string) {
		must(os.WriteFile(filepath.Join(dir, path), []byte("#!/bin/sh\n"+strings.ReplaceAll(text, "DIR", dir)), 0o755))
	}
	// Each mail is a file: that is what a user would get to see.
	script("sbin/sendmail", "exec cat >>DIR/mail/$$\n")
	// Cron's shell is /bin/sh with a line in a log before and one after.
	script("shell", `printf 'begin %s 0 %s\n' $$ "$2" >>DIR/ticks
/bin/sh "$@"
code=$?
printf 'end %s %s %s\n' $$ $code "$2" >>DIR/ticks
exit $code
`)
	return dir
}

// initScript is process 1 of the namespaces: it hides what the daemon and
// lifeline would touch, starts the story, and reaps what is orphaned.
const initScript = `
dir=$1
shift
mount -t tmpfs none /run &&
mount -t tmpfs none /var/spool &&
mount -t tmpfs none /var/lib &&
mkdir -p /var/spool/cron/crontabs &&
mount --bind "$dir/sbin" /usr/sbin || exit 77
[ ! -d /etc/cron.d ] || mount -t tmpfs none /etc/cron.d || exit 77
[ ! -e /etc/crontab ] || mount --bind "$dir/crontab" /etc/crontab || exit 77
chgrp crontab /var/spool/cron/crontabs 2>/dev/null && chmod 1730 /var/spool/cron/crontabs
"$@"
exit $?
`

// enter runs this test again, in namespaces of its own.
func (d daemon) enter(t *testing.T, dir string) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	argv := append(unshare, "sh", "-c", initScript, "sh", dir,
		self, "-test.run=^TestRealCron$/^"+d.name+"$", "-test.v", "-test.timeout=9m")
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), insideVar+"="+dir)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	// A test run that is killed takes everything with it: the signal to
	// unshare, and --kill-child from there to process 1. It comes when the
	// thread ends that started it, so the thread must stay.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	t.Log(told(output.String()))
	if err != nil {
		t.Errorf("inside the namespaces: %v", err)
	}
	// With process 1 of the namespaces everything in them has ended.
	if left := pid.Below(dir); len(left) > 0 {
		t.Errorf("left over: %v", left)
		pid.KillBelow(dir)
	}
	if _, err := os.Stat(filepath.Join(dir, "done")); errors.Is(err, fs.ErrNotExist) {
		t.Error("the story didn't come to its end")
	}
}

// told leaves out what the test framework says of itself.
func told(output string) string {
	var kept []string
	for line := range strings.Lines(output) {
		word, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if word != "===" && word != "---" && word != "PASS" && word != "" {
			kept = append(kept, strings.TrimRight(line, "\n"))
		}
	}
	return strings.Join(kept, "\n")
}
