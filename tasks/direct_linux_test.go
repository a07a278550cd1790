//go:build amd64 || arm64

package tasks_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"lifeline/procscan"
	"lifeline/proof/await"
)

// killed kills the worker that left word, and gives the next one.
func (w *world) killed(tag string, id procscan.ID) procscan.ID {
	w.t.Helper()
	if err := errors.Join(os.Remove(w.path(tag)), unix.Kill(id.PID, unix.SIGKILL)); err != nil {
		w.t.Fatal(err)
	}
	return w.at(tag)
}

func environOf(t *testing.T, id procscan.ID) map[string]string {
	t.Helper()
	env, err := procscan.Environ(id)
	if err != nil {
		t.Fatal(err)
	}
	return env
}

// A worker that is started without a stub shares its supervisor's memory for a
// moment, which shows the marker of a stub for as long. The supervisor itself
// isn't taken for one, older as it is.
func TestSupervisorWithAMarker(t *testing.T) {
	w := newWorld(t)
	show := exec.Command("sh", "-c", `exec env LIFELINE_NAME=web LIFELINE_SPACE="$0" LIFELINE_STUB=$$:$(cut -d' ' -f22 /proc/$$/stat) sleep 600`, w.dir)
	if err := show.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = show.Process.Kill(); _ = show.Wait() }()
	id := lookup(t, show.Process.Pid)
	await.That(t, "the marker", func() bool {
		env, _ := procscan.Environ(id)
		return env["LIFELINE_STUB"] == fmt.Sprintf("%d:%d", id.PID, id.Start)
	})
	w.tick(nil, "web", w.bad("worker")...)
	w.at("worker")
	if code := w.run("terminate", "--dir", w.dir, "web").ends(); code != 0 || !id.Alive() {
		t.Errorf("terminate: exit code %d; who only showed a marker lives: %t", code, id.Alive())
	}
}

// It shows its own environment again when the worker has begun, and the worker
// has that.
func TestSupervisorsEnvironment(t *testing.T) {
	w := newWorld(t)
	p := w.tick([]string{"--respawn", "--respawn-delay", "0"}, "web", w.bad("worker")...)
	first := w.at("worker")
	before := environOf(t, p.id())
	second := w.killed("worker", first)
	await.That(t, "the same as before", func() bool { return maps.Equal(environOf(t, p.id()), before) })
	if env := environOf(t, second); env["LIFELINE_STUB"] != "" || env["PATH"] != before["PATH"] {
		t.Errorf("the worker has %q", env)
	}
	if code := w.run("terminate", "--dir", w.dir, "web").ends(); code != 0 {
		t.Errorf("terminate: exit code %d", code)
	}
}

// A lifeline below another one is that one's worker, and has to go on showing
// it.
func TestSupervisorBelowAnother(t *testing.T) {
	w := newWorld(t)
	below := append([]string{w.lifeline, "--dir", w.dir, "--respawn", "--respawn-delay", "0", "below", "--"}, w.bad("worker")...)
	w.tick(nil, "above", below...)
	first := w.at("worker")
	sup := func(id procscan.ID) procscan.ID {
		s, err := procscan.Lookup(id.PID)
		if err != nil {
			t.Fatal(err)
		}
		return lookup(t, s.PPID)
	}
	inner := sup(first)
	second := w.killed("worker", first)
	if sup(second) != inner {
		t.Fatal("another supervisor has started it")
	}
	env := environOf(t, inner)
	if env["LIFELINE_NAME"] != "above" || env["LIFELINE_PID"] != fmt.Sprint(inner.PID) {
		t.Errorf("it shows %q", env)
	}
	w.tick(nil, "above", below...).silent(0)
	if kids := procscan.Children(inner.PID); !slices.ContainsFunc(kids, func(s procscan.Stat) bool { return s.ID == second }) || len(kids) != 1 {
		t.Errorf("its children are %+v", kids)
	}
	if code := w.run("terminate", "--dir", w.dir, "above").ends(); code != 0 {
		t.Errorf("terminate: exit code %d", code)
	}
}
