package tasks_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"lifeline/internal/guard"
	"lifeline/internal/identity"
	"lifeline/procscan"
	"lifeline/proof/await"
	"lifeline/proof/need"
)

// TestForgedMarker checks that forged markers and announcements don't count. Every user
// can write root's marker into the environment of his own process. He can also give it
// the thread name of a supervisor that starts a worker.
func TestForgedMarker(t *testing.T) {
	needRoot(t)
	for what, forge := range map[string]string{
		"marker":       `export LIFELINE_NAME=web LIFELINE_SPACE="$1" LIFELINE_ID=x LIFELINE_SUPERVISOR=$PPID:1`,
		"announcement": "",
	} {
		for _, forger := range []string{"nobody", "root"} {
			if what == "announcement" && forger == "root" {
				continue // a tick waits for root's own announcement
			}
			t.Run(what+" of "+forger, func(t *testing.T) {
				w := newWorld(t)
				if code := w.tick(nil, "web", "true").ends(); code != 0 {
					t.Fatal(code)
				}
				argv := append([]string{"sh", "-c", forge + `; shift 2; exec "$@"`, "sh", w.dir, "x"},
					w.bad("forged")...)
				if forger == "nobody" {
					argv = append(append([]string(nil), nobody...), argv...)
				}
				cmd := exec.Command(argv[0], argv[1:]...)
				if what == "announcement" {
					cmd = exec.Command("setpriv", "--reuid=65534", "--clear-groups", "/usr/bin/perl", "-e",
						`$0 = $ARGV[0]; print "ready\n"; sleep 600`, identity.Announcement(w.dir, "web"))
				}
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a worker
				other := w.start(cmd)
				if what == "announcement" {
					await.That(t, "the forged name", func() bool {
						s, err := procscan.Lookup(other.Process.Pid)
						return err == nil && s.Comm == identity.Announcement(w.dir, "web")
					})
					w.tick(nil, "web", w.bad("second")...)
					w.at("second")
					_ = other.Process.Kill()
					return
				}
				id := w.at("forged")
				p := w.tick(nil, "web", w.bad("second")...)
				if forger == "root" { // root's own marker counts: the test can fail
					await.That(t, "adoption", func() bool { return p.says(fmt.Sprint("watching over pid ", id.PID)) })
					w.not("second")
					return
				}
				w.at("second")
			})
		}
	}
}

// TestForgedFiles checks that forged files don't count. Every user can make a file with
// the name of root's run file or lock file. He can write a record into it that names
// root's directory, and lock it.
func TestForgedFiles(t *testing.T) {
	needRoot(t)
	for name, locked := range map[string][]string{"run file": {"run"}, "lock file": {"lock", "run"}} {
		for _, forger := range []string{"nobody", "root"} {
			t.Run(name+" of "+forger, func(t *testing.T) {
				w := newWorld(t)
				if code := w.tick(nil, "web", "true").ends(); code != 0 {
					t.Fatal(code)
				}
				dir := w.path("forged")
				// The name is then a fresh one, where every sign counts.
				if err := os.Rename(w.dir, dir); err != nil {
					t.Fatal(err)
				}
				argv := []string{"env", "-i", "bash", "-c",
					`for f; do exec {fd}<>"$f"; flock -n $fd || exit; done; echo >"$0"; exec sleep 600`, w.path("locked")}
				for _, ext := range locked {
					files, _ := filepath.Glob(filepath.Join(dir, "*."+ext))
					argv = append(argv, files...)
				}
				if forger == "nobody" {
					if out, err := exec.Command("chown", "-R", "65534", dir).CombinedOutput(); err != nil {
						t.Fatalf("%v: %s", err, out)
					}
					argv = append(append([]string(nil), nobody...), argv...)
				}
				cmd := exec.Command(argv[0], argv[1:]...)
				cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a worker
				other := w.start(cmd)
				defer func() { _ = other.Process.Kill() }()
				await.That(t, "locked", func() bool { return exists(w.path("locked")) })
				second := w.tick(nil, "web", w.bad("second")...)
				if forger == "nobody" {
					w.at("second")
					return
				}
				// root's own file counts: the test can fail
				await.That(t, "the other one is seen", func() bool {
					select {
					case <-second.over:
						return true
					default:
						return second.says("watching over pid " + strconv.Itoa(other.Process.Pid))
					}
				})
				w.not("second")
			})
		}
	}
}

// TestForgedMount checks that a lock in another mount namespace is no evidence. There
// every user can give any path to a file of root's that he may open, and lock the file.
// Other users can't open root's real lock and run files.
func TestForgedMount(t *testing.T) {
	needRoot(t)
	need.Programs(t, "unshare", "mount", "flock")
	w := newWorld(t)
	if code := w.tick(nil, "web", "true").ends(); code != 0 {
		t.Fatal(code)
	}
	run := w.file("web", "run")
	if err := os.Rename(w.dir, w.dir+"-moved"); err != nil { // so that the name is a fresh one, where every sign counts
		t.Fatal(err)
	}
	const forge = `exec 8>"$1"; exec unshare --user --map-root-user --mount sh -ec '
		mount -t tmpfs none "$0"; mkdir "$0/state"; touch "$1"; mount --bind /etc/passwd "$1"
		exec 9<"$1"; flock -n 9; echo >&8; exec env -i /bin/sleep 600' "$2" "$3"`
	cmd := exec.Command(nobody[0],
		append(append([]string(nil), nobody[1:]...), "sh", "-c", forge, "sh", w.path("locked"),
			filepath.Dir(w.dir), run)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a worker
	other := w.start(cmd)
	defer func() { _ = other.Process.Kill() }()
	await.That(t, "the lock, or the end", func() bool {
		text, _ := os.ReadFile(w.path("locked"))
		select {
		case <-other.over:
			return true
		default:
			return len(text) > 0
		}
	})
	_, err := procscan.Lookup(other.Process.Pid)
	need.That(t, err == nil && other.ProcessState == nil, "user namespaces for every user")
	w.tick(nil, "web", w.bad("second")...)
	w.at("second")
}

// TestForgedCgroup checks that a cgroup's name alone is no evidence. A user whose
// service manager has a part of the cgroup tree can make a cgroup of any name there,
// beside a forged marker.
func TestForgedCgroup(t *testing.T) {
	needRoot(t)
	const top = "/sys/fs/cgroup/unified"
	for _, forger := range []int{65534, 0} {
		t.Run(strconv.Itoa(forger), func(t *testing.T) {
			w := newWorld(t)
			if code := w.tick(nil, "web", "true").ends(); code != 0 {
				t.Fatal(code)
			}
			group := filepath.Join(top, guard.CgroupPrefix(w.dir, "web")+"x")
			err := os.Mkdir(group, 0o755)
			need.That(t, err == nil, "a version 2 cgroup tree to write to")
			defer func() { await.That(t, "the cgroup's end", func() bool { return os.Remove(group) == nil }) }()
			if err := os.Chown(group, forger, forger); err != nil {
				t.Fatal(err)
			}
			script := `echo $$ >"$0/cgroup.procs"; export LIFELINE_NAME=web LIFELINE_SPACE="$1" LIFELINE_ID=x LIFELINE_SUPERVISOR=$PPID:1; shift; exec setpriv --reuid=65534 --clear-groups "$@"`
			cmd := exec.Command("sh", append([]string{"-c", script, group, w.dir}, w.bad("forged")...)...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // as a worker
			other := w.start(cmd)
			defer func() { _ = other.Process.Kill(); <-other.over }()
			id := w.at("forged")
			second := w.tick(nil, "web", w.bad("second")...)
			if forger == 0 { // root's own cgroup counts: the test can fail
				await.That(t, "adoption", func() bool { return second.says(fmt.Sprint("watching over pid ", id.PID)) })
				w.not("second")
				return
			}
			w.at("second")
		})
	}
}
