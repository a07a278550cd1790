package tasks_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"lifeline/proof/need"
)

// TestServerStarter runs Server::Starter's own tests with lifeline in its place;
// testdata/starter maps the options. The tests left out have no counterpart here. 07
// reads an envdir again, and 11 names a socket's descriptor. 14 wants a variable though
// no socket is asked for. Cron's start replaces the pid file and --daemonize of 12 and
// 13. 00, 08 and 09 test the inside of the module.
func TestServerStarter(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	found, _ := filepath.Glob("/usr/src/libserver-starter-perl_*.orig.tar.gz")
	need.That(t, len(found) > 0, "the source of libserver-starter-perl in /usr/src")
	for _, module := range []string{"Test::TCP", "Test::SharedFork"} {
		need.That(t, exec.Command("perl", "-M"+module, "-e", "1").Run() == nil, "perl's "+module)
	}
	w := newWorld(t)
	dir := t.TempDir()
	if out, err := exec.Command("tar", "-xzf", found[0], "-C", dir,
		"--strip-components=1").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	adapter, err := filepath.Abs("testdata/starter")
	if err != nil {
		t.Fatal(err)
	}
	// The servers of the tests look for the module in lib.
	if err := os.RemoveAll(filepath.Join(dir, "lib")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(adapter, filepath.Join(dir, "lib")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"01-starter", "02-startfail", "03-starter-unix", "04-starter-dir", "05-killolddelay",
		"06-autorestart", "10-bindaddr", "15-udp"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // they sleep
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			cmd := exec.CommandContext(ctx, "perl", "-I", adapter, "t/"+name+".t")
			cmd.Dir, cmd.WaitDelay = dir, patience
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
			cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
			cmd.Env = append(environ(), "PATH="+filepath.Dir(w.lifeline)+":"+os.Getenv("PATH"))
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "# SKIP") || strings.Contains(string(out), "1..0") {
				need.That(t, false, "what "+name+".t needs: "+string(out))
			}
			if err != nil || strings.Contains(string(out), "\nnot ok") {
				t.Errorf("%v:\n%s", err, out)
			}
		})
	}
}
