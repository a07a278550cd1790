//go:build linux

package model

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Sizes of the guard's model: how much may happen.
const (
	small = "REMOVALS=1 KILLS=1 DEATHS=0"
	usual = "REMOVALS=1 KILLS=1 DEATHS=1"
	again = "REMOVALS=1 KILLS=1 DEATHS=1 RESPAWNS=1"
)

// TestGuard checks every interleaving of three ticks and one more.
func TestGuard(t *testing.T) {
	for _, size := range []struct {
		flags string
		long  bool // takes minutes: LIFELINE_MODEL=full
	}{
		{flags: usual},
		{flags: "REMOVALS=0 KILLS=2 DEATHS=2"},
		{flags: small + " CLOSEFROM"},
		{flags: small + " LATE"},
		{flags: again},
		{flags: again + " CLOSEFROM", long: true},
		{flags: "REMOVALS=1 KILLS=2 DEATHS=1 CLOSEFROM", long: true},
		{flags: "REMOVALS=2 KILLS=1 DEATHS=0", long: true},
		{flags: "REMOVALS=1 KILLS=1 DEATHS=2 RESPAWNS=2", long: true},
	} {
		if size.long && os.Getenv("LIFELINE_MODEL") != "full" || testing.Short() && size.flags == again {
			continue
		}
		t.Run(size.flags, func(t *testing.T) {
			t.Parallel()
			r := check(t, "guard.pml", size.flags)
			if r.fails != "" {
				t.Errorf("it doesn't hold: %s\n%s", r.fails, r.trail)
			}
			t.Logf("%d states, %.1f s", r.states, r.seconds)
		})
	}
}

// TestGuardParts takes one step out at a time. Where the two mechanisms each
// suffice alone, the other one is out already: with it the model holds, and
// with the step out as well it fails.
func TestGuardParts(t *testing.T) {
	for _, part := range []struct {
		step, with, without string
		none                bool // nobody runs; else two do
	}{
		{step: "the flock", with: "REMOVALS=0 KILLS=1 DEATHS=0 NO_SCAN", without: "NO_LOCK"},
		{step: "the look at the inode", with: "REMOVALS=1 KILLS=0 DEATHS=0 UNHELD NO_SCAN", without: "NO_INODE_CHECK"},
		{step: "the run lock and its record", with: "REMOVALS=0 KILLS=1 DEATHS=0 NO_SCAN", without: "NO_RUN_LOCK"},
		{step: "the record", with: "REMOVALS=0 KILLS=1 DEATHS=0 NO_SCAN", without: "NO_RECORD"},
		{step: "the record, for a worker that closes its descriptors", with: "REMOVALS=0 KILLS=1 DEATHS=0 NO_SCAN CLOSEFROM", without: "NO_RECORD"},
		{step: "the put-back", with: "REMOVALS=1 KILLS=0 DEATHS=0 QUIET NO_SCAN", without: "NO_PUTBACK"},
		{step: "the scan", with: small, without: "NO_SCAN"},
		{step: "the scan, with no lock at all", with: small + " NO_LOCK NO_RUN_LOCK", without: "NO_SCAN"},
		{step: "announce before look", with: small, without: "NO_ANNOUNCE"},
		{step: "announce before look, with no lock at all", with: small + " NO_LOCK NO_RUN_LOCK", without: "NO_ANNOUNCE"},
		{step: "the older one wins", with: small, without: "NO_TIEBREAK"},
		{step: "only the older one wins", with: "REMOVALS=0 KILLS=0 DEATHS=0 NO_LOCK NO_RUN_LOCK", without: "YIELD_BOTH", none: true},
		{step: "wait for the younger", with: small, without: "NO_WAIT"},
		{step: "the look at the parent", with: small + " LATE", without: "NO_PARENT_CHECK"},
		{step: "only a stub that has looked settles the name", with: again, without: "NO_SETTLED"},
		{step: "a start without a stub looks at K.run once it is seen", with: again, without: "NO_PLACE"},
	} {
		t.Run(part.step, func(t *testing.T) {
			t.Parallel()
			if part.with != again { // TestGuard's
				if r := check(t, "guard.pml", part.with); r.fails != "" {
					t.Fatalf("with the step it fails as well, so this shows nothing: %s", r.fails)
				}
			}
			r := check(t, "guard.pml", part.with+" "+part.without)
			switch {
			case r.fails == "":
				t.Error("without it nothing fails: what is it good for?")
			case strings.Contains(r.fails, "removals||") != part.none:
				t.Errorf("it fails otherwise than it should: %s", r.fails)
			default:
				t.Logf("%s after %d states", r.fails, r.states)
			}
		})
	}
}

// TestGuardNames holds the table of steps at the top of the model to the code:
// every function that it names is in the file that it names.
func TestGuardNames(t *testing.T) {
	text, err := os.ReadFile("guard.pml")
	if err != nil {
		t.Fatal(err)
	}
	row := regexp.MustCompile(`(?m)^ \* {3}(\w*) +(.*?) {2,}((?:\w+/)?\w+\.go)$`)
	rows := row.FindAllStringSubmatch(string(text), -1)
	if len(rows) < 25 {
		t.Fatalf("only %d rows of the table are understood", len(rows))
	}
	for _, m := range rows {
		step, what, file := m[1], m[2], m[3]
		code, err := os.ReadFile(filepath.Join("../../lifeline", file))
		if err != nil {
			t.Errorf("%s: %v", step, err)
			continue
		}
		if function, _, ok := strings.Cut(what, ":"); ok {
			for name := range strings.FieldsFuncSeq(function, func(r rune) bool { return strings.ContainsRune(" .,", r) }) {
				if !strings.Contains(string(code), name) {
					t.Errorf("%s: %s isn't in %s any more", step, name, file)
				}
			}
		}
		if step != "" && step != "putBack" && !regexp.MustCompile(`(sup|wrk)\[i\] == `+step+`\b`).Match(text) {
			t.Errorf("the model has no step %s", step)
		}
	}
}
