//go:build linux

package model

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// smallCluster is a size that Spin searches in a minute: two grants, one fault, six
// steps of time, a TTL of three.
const smallCluster = "HORIZON=6 GRANTS=2 FAULTS=1"

// processCluster has a worker that is a single process, and both guards may be out.
const processCluster = "PROCESS HORIZON=4 GRANTS=2 FAULTS=2"

// TestCluster checks the rules of the lease in every order of the steps.
func TestCluster(t *testing.T) {
	need.Time(t, "minutes")
	sizes := []string{smallCluster, processCluster}
	if os.Getenv("LIFELINE_MODEL") == "full" {
		sizes = append(sizes, smallCluster+" BEYOND", strings.Replace(processCluster, "HORIZON=4", "HORIZON=5", 1),
			"HORIZON=7 GRANTS=2 FAULTS=1 TTL=4")
	}
	for _, flags := range sizes {
		t.Run(flags, func(t *testing.T) {
			out := exhaust(t, flags)
			if !strings.Contains(out, "errors: 0") {
				t.Errorf("the promise doesn't hold:\n%s", out)
			}
			// No error proves something only after a complete search.
			for _, cut := range []string{"max search depth too small", "out of memory", "Search not completed"} {
				if strings.Contains(out, cut) {
					t.Fatalf("the search was not complete:\n%s", out)
				}
			}
			t.Log(regexp.MustCompile(`\d+ states, stored`).FindString(out))
		})
	}
}

// TestClusterRules takes out one rule at a time: the model must then fail.
func TestClusterRules(t *testing.T) {
	need.Time(t, "minutes")
	for _, rule := range []string{"REACHED", "FROM_ANSWER", "UNCONFIRMED", "MONOTONIC", "MARGIN=1", "NO_LOOK",
		"PLAIN_PUT", "PLAIN_DELETE", "EARLY_RELEASE", "ONE_GUARD", "NO_KILLTIMER", "NO_PDEATH", "BEYOND NO_FENCE"} {
		t.Run(rule, func(t *testing.T) {
			flags := smallCluster
			switch rule {
			case "PLAIN_DELETE": // a third worker takes the deleted lease
				flags = strings.Replace(flags, "GRANTS=2", "GRANTS=3", 1)
			case "NO_KILLTIMER", "NO_PDEATH":
				flags = processCluster
			case "BEYOND NO_FENCE": // both guards are stopped
				flags = strings.Replace(flags, "FAULTS=1", "FAULTS=2", 1)
			}
			if out := exhaust(t, flags+" "+rule); !strings.Contains(out, "assertion violated") {
				t.Errorf("the model passes without this rule:\n%s", out)
			}
		})
	}
}

// exhaust lets Spin visit every state of cluster.pml until an assertion fails.
func exhaust(t *testing.T, flags string) string {
	t.Helper()
	need.Programs(t, "spin", "gcc")
	model, err := filepath.Abs("cluster.pml")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	run := func(name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil && name != "./pan" {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return string(out)
	}
	args := []string{"-a"}
	for flag := range strings.FieldsSeq(flags) {
		args = append(args, "-D"+flag)
	}
	run("spin", append(args, model)...)
	run("gcc", "-w", "-O2", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=3000", "-o", "pan", "pan.c")
	return run("./pan", "-m3000000", "-w24")
}
