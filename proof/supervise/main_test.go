//go:build linux

package main

import (
	"errors"
	"fmt"
	"os"
	"testing"
	"time"

	"lifeline/proof/need"
	"lifeline/proof/pid"
)

// helper is the variable by which this program is started as a worker.
const helper = "SUPERVISE_HELPER"

var (
	theBench   *bench
	noCompiler bool
)

func TestMain(m *testing.M) {
	if what := os.Getenv(helper); what != "" {
		if err := beHelper(what); err != nil {
			fmt.Fprintln(os.Stderr, what+":", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(func() int {
		b, err := newBench()
		if noCompiler = errors.Is(err, errNoCompiler); err != nil && !noCompiler {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		if theBench = b; b != nil {
			defer b.close()
		}
		return m.Run()
	}())
}

// ready returns the bench, or skips the test without a compiler.
func ready(t *testing.T) *bench {
	t.Helper()
	need.That(t, !noCompiler, "gcc")
	return theBench
}

// must returns a result, and fails the test on an error.
func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// forTest starts lifeline with a worker, and ends it with the test.
func (b *bench) forTest(t *testing.T, options []string, worker ...string) *subject {
	t.Helper()
	s := must[*subject](t)(b.lifelines("lifeline", options, worker...))
	t.Cleanup(s.end)
	return s
}

// until waits until ok.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); <-time.After(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came true: %s", what)
		}
	}
}

// stopped waits until a process is stopped.
func stopped(t *testing.T, process int) {
	t.Helper()
	until(t, "it is stopped", func() bool {
		s, err := pid.Look(process)
		return err == nil && s.State == 'T'
	})
}

// open opens a handle of a process, by which no other process is ever signalled.
func open(t *testing.T, id pid.ID) *pid.Handle {
	t.Helper()
	h, err := pid.Open(id)
	if err != nil {
		t.Fatalf("pid %d: %v", id.PID, err)
	}
	t.Cleanup(h.Close)
	return h
}

func openPID(t *testing.T, process int) *pid.Handle {
	t.Helper()
	return open(t, must[pid.Stat](t)(pid.Look(process)).ID)
}

// childOf returns the child of a process that runs the program exe.
func childOf(parent int, exe string) (id pid.ID, found bool) {
	for _, id := range pid.Below(theBench.dir) {
		s, err := pid.Look(id.PID)
		if to, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", id.PID)); err == nil && s.PPID == parent && to == exe {
			return id, true
		}
	}
	return pid.ID{}, false
}

// head returns the beginning of a text, because a Go program prints a lot at SIGABRT.
func head(text string) string { return text[:min(len(text), 1000)] }
