package tasks_test

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"lifeline/proof/await"
	"lifeline/proof/need"

	"golang.org/x/sys/unix"
)

// inside makes a mount namespace for the world, in which every later tick runs. The
// script sets the namespace up; its arguments are the state and work directories.
func (w *world) inside(script string) {
	w.t.Helper()
	needRoot(w.t)
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "sh", "-ec",
		script+`; touch "$2/mounted"; read x`, "sh", w.dir, w.work)
	in, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { in.Close() })
	p := w.start(cmd)
	await.That(w.t, "mounts", func() bool {
		select {
		case <-p.over:
			w.t.Fatalf("cannot mount: %s", read(p.err))
		default:
		}
		return exists(w.path("mounted"))
	})
	w.wrap = []string{"nsenter", "--mount=/proc/" + strconv.Itoa(p.Process.Pid) + "/ns/mnt", "--"}
}

// ran starts a tick, and checks its exit code, what it says, and whether the
// command ran.
func (w *world) ran(ran bool, code int, text string) {
	w.t.Helper()
	p := w.tick(nil, "web", "touch", w.path("ran"))
	if got := p.ends(); got != code || !p.says(text) || text == "" && read(p.err) != "" {
		w.t.Errorf("exit code %d, not %d; it said %q, not %q", got, code, read(p.err), text)
	}
	if exists(w.path("ran")) != ran {
		w.t.Errorf("the command ran: %t", !ran)
	}
	_ = os.Remove(w.path("ran"))
}

// TestDiskFull checks that a full disk changes nothing, because the locks need no
// data.
func TestDiskFull(t *testing.T) {
	w := newWorld(t)
	w.inside(`mkdir "$1"; mount -t tmpfs -o size=4k,nr_inodes=64,mode=0700 none "$1"; ! dd if=/dev/zero of="$1/full" bs=4k count=9 2>/dev/null; ! sh -c 'echo x >"$1/more"' sh "$1" 2>/dev/null`)
	for range 3 {
		w.ran(true, 0, "")
	}
	first := w.tick(nil, "web", w.bad("first", "term")...)
	id := w.at("first")
	w.tick([]string{"-E", "75"}, "web", w.bad("second")...).silent(75)
	w.not("second")
	// Without a record the tick finds the worker by its marker.
	first.kill()
	p := w.tick(nil, "web", w.bad("second")...)
	await.That(t, "adoption", func() bool {
		return p.says("watching over pid "+strconv.Itoa(id.PID)) || exists(w.path("second"))
	})
	w.not("second")
}

// TestNoInodes checks that without an inode for a lock the tick fails with a
// message, and starts nothing.
func TestNoInodes(t *testing.T) {
	for inodes, what := range map[string]string{"1": "lock file", "2": "run file"} {
		t.Run(what, func(t *testing.T) {
			w := newWorld(t)
			w.inside(`mkdir "$1"; mount -t tmpfs -o nr_inodes=` + inodes + `,mode=0700 none "$1"`)
			w.ran(false, 125, "cannot make the "+what)
			w.ran(false, 125, "no space left on device; free some space or inodes")
		})
	}
}

func TestReadOnlyDirectory(t *testing.T) {
	w := newWorld(t)
	w.inside(`mkdir -m 700 "$1"; mount --bind "$1" "$1"; mount -o remount,ro,bind "$1"`)
	w.ran(false, 125, "read-only file system; give another directory with --dir")
	w = newWorld(t)
	w.inside(`mkdir -m 700 "$1"; touch "$1/full"; mount -t tmpfs -o ro,mode=0700 none "$1"`)
	w.ran(false, 125, "read-only file system; give another directory with --dir")
	// The user's own directory, without the right to write.
	w = newWorld(t)
	w.public(65534)
	w.wrap = nobody
	if err := os.Chmod(w.dir, 0o500); err != nil {
		t.Fatal(err)
	}
	w.ran(false, 125, "permission denied; give another directory with --dir")
}

// TestHidepid checks that an ordinary user who sees only his own processes still has
// one instance, also after the files are damaged.
func TestHidepid(t *testing.T) {
	w := newWorld(t)
	w.public(65534)
	w.inside(`mount -t proc -o hidepid=2 proc /proc`)
	w.wrap = append(w.wrap, nobody...)
	check := exec.Command(w.wrap[0], append(w.wrap[1:], "ls", "-d", "/proc/1")...)
	if check.Run() == nil {
		t.Fatal("/proc/1 isn't hidden: this shows nothing")
	}
	w.ran(true, 0, "")
	first := w.tick(nil, "web", w.bad("first", "term")...)
	id := w.at("first")
	w.tick([]string{"-E", "75"}, "web", w.bad("second")...).silent(75)
	first.kill()
	supervisor := w.adopts(id, "second")
	supervisor.kill()
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(w.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(w.dir, 65534, 65534); err != nil {
		t.Fatal(err)
	}
	w.over(id, w.adopts(id, "third"))
}

// TestBlind checks that the locks decide alone without a /proc, or with another pid
// namespace's. A start gives one warning, and one instance runs, also after a kill.
func TestBlind(t *testing.T) {
	for name, hide := range map[string]string{
		"none":                `mount -t tmpfs none /proc; `,
		"another namespace's": `mount --rbind /proc /proc; `,
	} {
		t.Run(name, func(t *testing.T) {
			needRoot(t)
			w := newWorld(t)
			// A shell does it all, because these pids mean nothing outside.
			script := hide + `cd "$(dirname "$1")" # with no /proc a program doesn't know where it is
lifeline() { env -C "$(dirname "$LIFELINE")" ./lifeline --dir "$@"; }
until_there() { n=0; until [ -e "$1" ] || { [ $# = 3 ] && grep -q "$2" "$3"; }; do sleep .01; n=$((n+1)); [ $n -lt 1000 ] || { echo "no $1"; exit 1; }; done; }
state=$1 work=$2; shift 2
env -C "$(dirname "$LIFELINE")" ./lifeline --dir "$state" web -- "$@" "$work" first term 2>first.err & sup=$!
until_there "$work/first"
grep -v 'WARNING: reading executable name' first.err >first.said # the race detector's
[ "$(wc -l <first.said)" = 1 ] && grep -q 'the locks decide alone' first.said || { echo "warnings: $(cat first.err)"; exit 1; }
lifeline "$state" -E 75 web -- touch "$work/second" >out 2>&1; [ $? = 75 ] && [ -z "$(grep -v WARNING out)" ] || { echo "a tick: $? $(cat out)"; exit 1; }
kill -9 $sup; wait $sup 2>/dev/null # a zombie can't be told from a living one here
for n in 1 2 3; do # it still has the run file
	: >out; env -C "$(dirname "$LIFELINE")" ./lifeline --dir "$state" web -- touch "$work/second" >out 2>&1 & adopter=$!
	until_there "$work/second" 'watching over pid '"$(cat "$work/first")" out
	[ ! -e "$work/second" ] || { echo "a second copy; $(cat out)"; exit 1; }
	kill -9 $adopter; wait $adopter 2>/dev/null
done
kill -9 $(cat "$work/first")
n=0; until [ -e "$work/third" ]; do lifeline "$state" web -- touch "$work/third" >out 2>&1; sleep .1; n=$((n+1)); [ $n -lt 50 ] || { echo "none starts; $(cat out)"; exit 1; }; done
echo fine
`
			args := []string{"--mount", "--propagation", "private"}
			if name != "none" {
				args = append(args, "--pid", "--fork", "--kill-child")
			}
			cmd := exec.Command("unshare",
				append(args, append([]string{"sh", "-c", "LIFELINE=" + w.lifeline + "; " + script, "sh", w.dir, w.work},
					w.bad("")[:4]...)...)...)
			p := w.start(cmd)
			if code := p.ends(); code != 0 || read(p.out) != "fine\n" {
				t.Errorf("exit code %d: %s%s", code, read(p.out), read(p.err))
			}
		})
	}
}

// TestProcessLimit checks that under a limit on processes the command runs, or the
// tick fails with a message. The name is free afterwards.
func TestProcessLimit(t *testing.T) {
	needRoot(t)
	need.That(t, exists("/usr/bin/prlimit"), "prlimit")
	w := newWorld(t)
	const uid = 54321 // of no other process
	w.public(uid)
	as := []string{"setpriv", "--reuid=54321", "--regid=54321", "--clear-groups"}
	refused, ran := 0, 0
	for n := 1; n <= 24; n++ {
		w.wrap = append([]string{"prlimit", "--nproc=" + strconv.Itoa(n), "--"}, as...)
		p := w.tick(nil, "web", "touch", w.path("ran"))
		code := p.ends()
		switch did := exists(w.path("ran")); {
		case did && code == 0:
			ran++
		case !did && code != 0 && read(p.err) != "":
			refused++
		default:
			t.Errorf("limit %d: exit code %d, ran %t, it said %q", n, code, did, read(p.err))
		}
		_ = os.Remove(w.path("ran"))
	}
	if refused == 0 || ran == 0 {
		t.Errorf("%d refused, %d ran: no limit was reached", refused, ran)
	}
	w.wrap = as
	w.ran(true, 0, "")
}

// TestArgumentsTooLong finds the longest command line that execve accepts for
// lifeline. The worker's own is then too long, because its environment is larger.
func TestArgumentsTooLong(t *testing.T) {
	w := newWorld(t)
	try := func(total int) (started bool, code int, said string) {
		args := []string{"--dir", w.dir, "web", "--", "true"}
		for ; total > 0; total -= 100_000 {
			args = append(args, strings.Repeat("x", min(total, 100_000)))
		}
		cmd := exec.Command(w.lifeline, args...)
		cmd.Env = append(environ(), "GORACE=atexit_sleep_ms=0")
		out, err := cmd.CombinedOutput()
		return !errors.Is(err, unix.E2BIG), cmd.ProcessState.ExitCode(), string(out)
	}
	low, high := 0, 8<<20
	for high-low > 8 {
		if started, _, _ := try((low + high) / 2); started {
			low = (low + high) / 2
		} else {
			high = (low + high) / 2
		}
	}
	if _, code, said := try(low); code != 125 && code != 126 || !strings.Contains(said, "too long") {
		t.Errorf("with %d bytes: exit code %d; it said %q", low, code, said)
	}
	w.ran(true, 0, "")
}
