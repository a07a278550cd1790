//go:build linux

// Package model checks the algorithms, not the code, with Spin: every order in which
// the steps can happen. README.md tells how to read the models.
package model

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"lifeline/proof/need"
)

// result is what Spin found. The model holds if fails is empty.
type result struct {
	fails   string // the assertion, or the deadlock
	trail   string // the model's steps up to the failure
	states  int
	seconds float64
}

var (
	failure = regexp.MustCompile(`(?m)^pan:\d+: (assertion violated .*|invalid end state.*)$`)
	stored  = regexp.MustCompile(`(?m)^ *(\d+) states, stored`)
	step    = regexp.MustCompile(`(?m)^.*\(([A-Za-z]+):1\).*\[((?:sup|wrk)\[[^\]]*\] = .*|(?:announced|stopped|wiped)\[[^\]]*\] = .*|(?:kills|deaths|removals|damages|stops|hides) = .*)\]$`)
)

// check lets Spin visit every state of a model. Each flag is a macro of the model. A
// search takes up to 1.5 GB of memory, so only one runs at a time.
func check(t *testing.T, model, flags string) result {
	t.Helper()
	known, _ := checked.LoadOrStore(model+" "+flags, new(once))
	o := known.(*once)
	o.Do(func() { o.result = look(t, model, flags) })
	return o.result
}

type once struct {
	sync.Once
	result
}

var checked sync.Map // by model and flags, because several tests need the same search

func look(t *testing.T, model, flags string) result {
	t.Helper()
	need.Programs(t, "spin", "gcc")
	dir := t.TempDir()
	text, err := os.ReadFile(model)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, model), text, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Minute)
	defer cancel()
	run := func(argv ...string) string {
		t.Helper()
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil && argv[0] != "./pan" {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return string(out)
	}
	var defines []string
	for flag := range strings.FieldsSeq(flags) {
		defines = append(defines, "-D"+flag)
	}
	run(append(append([]string{"spin", "-a"}, defines...), model)...)
	// Most searches take less time than an optimising compiler.
	optimise := "-O0"
	if strings.Contains(flags, "TICKS=3") || strings.Contains(flags, "REMOVALS=2") {
		optimise = "-O1"
	}
	run("gcc", "-w", optimise, "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=3500", "-o", "pan", "pan.c")
	began := time.Now()
	out := run("./pan", "-m100000", "-w22")
	r := result{seconds: time.Since(began).Seconds()}
	if m := stored.FindStringSubmatch(out); m != nil {
		r.states, _ = strconv.Atoi(m[1])
	}
	if m := failure.FindStringSubmatch(out); m != nil {
		r.fails = m[1]
		for _, m := range step.FindAllStringSubmatch(run(append(append([]string{"spin", "-t", "-p"}, defines...),
			model)...), -1) {
			r.trail += m[1] + " " + m[2] + "\n"
		}
		return r
	}
	// No error proves something only after a complete search.
	if !strings.Contains(out, "errors: 0") || strings.Contains(out, "out of memory") ||
		strings.Contains(out, "max search depth too small") || strings.Contains(out, "Search not completed") ||
		r.states == 0 {
		t.Fatalf("the search was not complete:\n%s", out)
	}
	return r
}
