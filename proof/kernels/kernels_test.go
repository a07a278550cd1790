//go:build linux

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lifeline/proof/build"
	"lifeline/proof/need"
)

// old is what a kernel of CentOS 7 (3.10) lacks, of the calls in the table.
const old = "pidfd_open,pidfd_send_signal,clone3,close_range,statx,waitid:P_PIDFD,openat2,memfd_create,getrandom,faccessat2"

const unprivileged = "setpriv --reuid 65534 --regid 65534 --clear-groups env HOME=/nonexistent "

// TestKernels plays the scene where system calls are missing or refused, and in
// narrow containers. The scene is race, log, adoption, respawn, the end of a tree,
// watchdog and reload.
func TestKernels(t *testing.T) {
	dir, err := os.MkdirTemp("", "kernels") // uid 65534 can't enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, from := range map[string]string{"lifeline": ".", "kernels": "./proof/kernels"} {
		if err := build.One(filepath.Join(dir, name), from, "urfave_cli_no_docs,osusergo,netgo"); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile("../../packaging/testdata/scene.sh")
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "scene.sh"), text, 0o644)
	}
	if err == nil {
		err = os.Chmod(dir, 0o755)
	}
	if err != nil {
		t.Fatal(err)
	}
	scene := "sh $DIR/scene.sh $DIR/lifeline all"
	play := func(name, line string) {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they wait more than they work
			if strings.Contains(line, "setpriv") || strings.Contains(line, "mount") {
				need.Root(t)
				need.Programs(t, "unshare", "setpriv")
			}
			cmd := exec.Command("timeout", "-k", "1", "180", "sh", "-ec", line)
			cmd.Dir = "/"
			foreign := slices.DeleteFunc(os.Environ(), func(kv string) bool { return strings.HasPrefix(kv, "LIFELINE_") })
			cmd.Env = append(foreign, "DIR="+dir, "TMPDIR=/tmp")
			if out, err := cmd.CombinedOutput(); err != nil || !strings.HasSuffix(string(out), "\npassed\n") {
				t.Errorf("%s: %v\n%s", line, err, out)
			}
		})
	}
	play("3.10", "$DIR/kernels ENOSYS "+old+" "+scene)
	if testing.Short() {
		return // the others take minutes
	}
	play("3.10 refused", "$DIR/kernels EPERM "+old+" "+scene)
	for _, errno := range []string{"ENOSYS", "EPERM"} {
		for name := range calls {
			play(name+" "+errno, "$DIR/kernels "+errno+" "+name+" "+scene)
		}
		play("a user "+errno, unprivileged+"$DIR/kernels "+errno+" "+old+" "+scene)
		play("a user without subreaper and inotify "+errno,
			unprivileged+"$DIR/kernels "+errno+" prctl:SUBREAPER,inotify_init1 "+scene)
	}
	for name, prepare := range map[string]string{
		"no proc":        "mount -t tmpfs none /proc",
		"hidepid":        "mount -t proc -o hidepid=2 proc /proc",
		"read-only sys":  "mount -o remount,ro,bind /sys || mount -t tmpfs -o ro none /sys",
		"without cgroup": "mount -t tmpfs none /sys/fs/cgroup",
	} {
		for who, as := range map[string]string{"root": "", "a user": unprivileged} {
			play(name+" "+who, "unshare --mount --pid --fork --kill-child sh -ec '"+prepare+"; "+as+scene+"'")
		}
	}
}

// TestRefused checks that what the launcher is told to refuse is refused.
func TestRefused(t *testing.T) {
	program := filepath.Join(t.TempDir(), "kernels")
	if err := build.One(program, "./proof/kernels", ""); err != nil {
		t.Fatal(err)
	}
	need.Program(t, "strace")
	out, _ := exec.Command("strace", "-f", "-e", "trace=memfd_create,openat2,statx", program, "EPERM", "statx", "stat",
		"/").CombinedOutput()
	if !strings.Contains(string(out), "EPERM") {
		t.Errorf("stat(1) could call statx: %s", out)
	}
}
