//go:build linux

package model

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// Sizes of the guard's model: how many of each event may happen.
const (
	two   = "TICKS=2 REMOVALS=1 KILLS=1"
	life  = two + " DEATHS=1 RESPAWNS=1"
	hide  = two + " HIDES=1"
	again = "TICKS=2 REMOVALS=1 DEATHS=1 RELOADS=1"
	bare  = "TICKS=2 HIDES=2 BOTH"
)

// TestGuard checks every interleaving of the ticks, and one more tick at the end.
func TestGuard(t *testing.T) {
	for _, size := range []struct {
		flags string
		long  bool // takes minutes: LIFELINE_MODEL=full
	}{
		{flags: "TICKS=3 REMOVALS=1 KILLS=1 DEATHS=1 RESPAWNS=1"},
		{flags: "TICKS=3 NO_LOCK NO_RUN_LOCK KILLS=1 DEATHS=1 RESPAWNS=1"},
		{flags: "TICKS=2 REMOVALS=2 KILLS=1 DEATHS=1 RESPAWNS=1 HIDES=1"},
		{flags: life + " DAMAGES=1 HIDES=1"},
		{flags: life + " STOPS=1"},
		{flags: life + " RELOADS=1"},
		{flags: life + " HIDES=2 BOTH"},
		{flags: "TICKS=3 REMOVALS=1 KILLS=1 DEATHS=1 RESPAWNS=1 DAMAGES=1 HIDES=1", long: true},
		{flags: "TICKS=3 REMOVALS=2 KILLS=1 DEATHS=1 RESPAWNS=1", long: true},
		{flags: "TICKS=3 REMOVALS=1 KILLS=1 DEATHS=1 RESPAWNS=1 STOPS=1", long: true},
		{flags: life + " RELOADS=2 HIDES=1 STOPS=1", long: true},
		{flags: "TICKS=3 REMOVALS=1 KILLS=1 DEATHS=1 RESPAWNS=1 RELOADS=1", long: true},
		{flags: "TICKS=2 REMOVALS=2 KILLS=1 DEATHS=2 RESPAWNS=2 HIDES=1 DAMAGES=1 STOPS=1", long: true},
	} {
		if size.long && os.Getenv("LIFELINE_MODEL") != "full" {
			continue
		}
		t.Run(size.flags, func(t *testing.T) {
			if strings.Contains(size.flags, "TICKS=3") {
				need.Time(t, "a minute")
			}
			t.Parallel()
			r := check(t, "guard.pml", size.flags)
			if r.fails != "" {
				t.Errorf("a promise doesn't hold: %s\n%s", r.fails, r.trail)
			}
			t.Logf("%d states, %.1f s", r.states, r.seconds)
		})
	}
}

// How a part's absence may show: a second command, no command.
const (
	doubled = "<2)"
	missing = ">0)"
	allDown = "removals||"
)

// TestGuardParts takes out one part at a time. With the part the model holds, without
// the part it fails. Where both mechanisms are each enough, the other mechanism is
// taken out in both cases.
func TestGuardParts(t *testing.T) {
	need.Time(t, "minutes")
	for _, part := range []struct {
		part, with, without string
		fails               string
	}{
		{"the lock file", "TICKS=2 NO_SCAN NO_RUN_LOCK", "NO_LOCK", doubled},
		{"the run file", "TICKS=2 KILLS=1 NO_SCAN", "NO_RUN_LOCK", doubled},
		{"the look at the inode, without the verification",
			"TICKS=2 REMOVALS=1 UNHELD NO_SCAN NO_RUN_LOCK NO_VERIFY", "NO_INODE_CHECK", doubled},
		{"the put-back", "TICKS=2 REMOVALS=1 QUIET NO_SCAN", "NO_PUTBACK", doubled},
		{"the record, for a worker that hides twice", bare + " KILLS=1", "NO_RECORD", doubled},
		{"the look at another's record, for a worker that hides twice", life + " HIDES=2 BOTH", "NO_LOST", doubled},
		{"the verification", life, "NO_VERIFY", doubled},
		{"announce before verify", life, "VERIFY_FIRST", doubled},
		{"the census after a put-back", life + " DAMAGES=1 HIDES=1", "NO_REPLACED", doubled},
		{"the census", life, "NO_SCAN", doubled},
		{"announce", life, "NO_ANNOUNCE", doubled},
		{"announce, with no lock at all", "TICKS=2 NO_LOCK NO_RUN_LOCK", "NO_ANNOUNCE", doubled},
		{"announce before the census", life, "CENSUS_FIRST", doubled},
		{"the older one wins", life, "NO_TIEBREAK", doubled},
		{"only the older one wins", "TICKS=2 NO_LOCK NO_RUN_LOCK", "STAND_DOWN_BOTH", allDown},
		{"wait for the younger", life, "NO_WAIT", doubled},
		{"the census after that wait", life, "NO_AGAIN", doubled},
		{"those that are born during the census", life, "NO_NEWBORN", doubled},
		{"those in execve", life, "NO_EXEC", doubled},
		{"those in execve at a later census", life, "NO_RETAKE", doubled},
		{"withdraw after the fork", life, "WITHDRAW_FIRST", doubled},
		{"the marker", hide, "NO_MARKER", doubled},
		{"the descriptor", hide, "NO_DESCRIPTOR", doubled},
		{"the parent, for a worker that hides twice", bare + " REMOVALS=1 NO_RECORD", "NO_PARENT", doubled},
		{"verify before a second generation", again, "NO_REVERIFY", doubled},
		{"SIGCONT", "TICKS=2 REMOVALS=1 STOPS=1", "NO_WAKE", missing},
	} {
		t.Run(part.part, func(t *testing.T) {
			t.Parallel()
			if r := check(t, "guard.pml", part.with); r.fails != "" {
				t.Fatalf("the model fails with the part too, so this shows nothing: %s", r.fails)
			}
			r := check(t, "guard.pml", part.with+" "+part.without)
			switch {
			case r.fails == "":
				t.Error("the model holds without the part, so the part isn't needed")
			case !strings.Contains(r.fails, part.fails):
				t.Errorf("the model fails in another way: %s", r.fails)
			default:
				t.Logf("%s after %d states", r.fails, r.states)
			}
		})
	}
}

// TestGuardEarly checks that the thread name may be given back when the fork returns,
// before the record is written, because a worker in execve counts.
func TestGuardEarly(t *testing.T) {
	t.Parallel()
	if r := check(t, "guard.pml", life+" HIDES=1 WITHDRAW_AT_EXEC"); r.fails != "" {
		t.Errorf("a promise doesn't hold: %s\n%s", r.fails, r.trail)
	}
}

// TestGuardNames checks that the model has every step and every part that the table
// at its top names.
func TestGuardNames(t *testing.T) {
	text, err := os.ReadFile("guard.pml")
	if err != nil {
		t.Fatal(err)
	}
	head, body, ok := strings.Cut(string(text), "*/\n")
	if !ok {
		t.Fatal("the model begins with no table")
	}
	_, steps, _ := strings.Cut(head, "* Steps.")
	steps, parts, ok := strings.Cut(steps, "* Parts to take out")
	rows := regexp.MustCompile(`(?m)^ \*   (\w+(?:, \w+)*)(?:  |$)`).FindAllStringSubmatch(steps, -1)
	if !ok || len(rows) < 20 {
		t.Fatalf("cannot read more than %d rows of the table", len(rows))
	}
	for _, row := range rows {
		if row[1] == "worker" { // a heading
			continue
		}
		for name := range strings.SplitSeq(row[1], ", ") {
			if !regexp.MustCompile(`IS\(` + name + `\)|(?:sup|wrk)\[\w\] == ` + name + `\b`).MatchString(body) {
				t.Errorf("the model has no step %s", name)
			}
		}
	}
	words := regexp.MustCompile(`\b[A-Z]{2,}(?:_[A-Z]+)*\b`).FindAllString(parts, -1)
	if len(words) < 30 {
		t.Fatalf("cannot read more than %d parts of the table", len(words))
	}
	for _, word := range words {
		if word != "SIGCONT" && !regexp.MustCompile(`(?m)^#(?:if|elif|ifdef|ifndef).*\b`+word+`\b`).MatchString(body) {
			t.Errorf("the model has no part %s", word)
		}
	}
}
