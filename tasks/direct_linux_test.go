//go:build amd64 || arm64

package tasks_test

import (
	"errors"
	"fmt"
	"os"
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
// moment, which therefore shows the marker of a stub. The supervisor itself
// isn't taken for one.
func TestSupervisorWithAMarker(t *testing.T) {
	w := newWorld(t)
	p := w.tick([]string{"--respawn", "--respawn-delay", "0"}, "web", w.bad("first")...)
	first := w.at("first")
	sup := p.id()
	if name, is := environOf(t, sup)["LIFELINE_NAME"]; is {
		t.Fatalf("it shows %s before there was anything to show", name)
	}
	second := w.killed("first", first)
	// It is told of after the start.
	await.That(t, "the record", func() bool { r := w.record("web"); return r != nil && r[6] == fmt.Sprint(second.PID) })
	env := environOf(t, sup)
	if want := fmt.Sprintf("%d:%d", sup.PID, sup.Start); env["LIFELINE_NAME"] != "web" || env["LIFELINE_STUB"] != want {
		t.Fatalf("it shows %q: the worker was started with a stub, or nobody could see it", env)
	}
	if got := environOf(t, second); got["LIFELINE_STUB"] != "" || got["PATH"] != os.Getenv("PATH") {
		t.Errorf("the worker has %q", got)
	}

	// Stopped, with its files gone and its worker dead, it is nobody to step
	// back for, as a stub would be.
	w.stop(sup)
	_ = unix.Kill(second.PID, unix.SIGKILL)
	await.That(t, "its end", func() bool { return !second.Alive() })
	if err := os.RemoveAll(w.dir); err != nil {
		t.Fatal(err)
	}
	w.tick(nil, "web", w.bad("third")...)
	w.at("third")
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
