//go:build linux

// Package rounds lets many ticks of one name start at the same moment, in many
// rounds. In every round exactly one tick must run its command, with either mechanism
// of the guard and with the announcement alone. Algorithms that people use instead
// show that the test can fail.
//
//	LIFELINE_ROUNDS=1000 go test -v -run TestRounds -timeout 1h ./proof/rounds
package rounds

import (
	"os"
	"testing"

	"lifeline/proof/build"
	"lifeline/proof/need"
)

// starters is the number of ticks that start at once.
const starters = 20

var programs build.Programs

func TestMain(m *testing.M) {
	os.Exit(build.Around("rounds", func(p build.Programs) int {
		programs = p
		return m.Run()
	}))
}

// rounds returns the number of rounds to play: few by default.
func rounds(t *testing.T) int {
	return int(need.Number(t, "LIFELINE_ROUNDS", 40))
}

func TestRounds(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	for _, mode := range []struct{ name, without string }{
		{"as it is", ""},
		{"without the flock", "flock"},
		{"without run lock, record and scan", "run,scan"},
		{"without any lock", "flock,run"},
	} {
		t.Run(mode.name, func(t *testing.T) {
			a := newArena(t)
			a.argv = []string{programs.Lifeline, "--dir", a.path("state"), "web", "--",
				programs.Witness, "-log", a.path("log"), "-lock", a.path("lock")}
			a.env = []string{"LIFELINE_PROOF_WITHOUT=" + mode.without}
			c := a.play(rounds(t))
			t.Log(c)
			if c.one != c.rounds {
				t.Errorf("%s; the log is the evidence:\n%s", c, a.evidence())
			}
			if c.said != "" {
				t.Errorf("a tick printed something, and cron would mail it: %q", c.said)
			}
		})
	}
}

// TestControls plays the same rounds with other algorithms. These must fail, or
// TestRounds proves nothing.
func TestControls(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	for _, control := range []struct {
		how, what string
		failed    func(count) bool
	}{
		{"gem", "equal command lines in ps: they all see each other and give up",
			func(c count) bool { return c.none > 0 }},
		{"scan", "look for a running one, then start: several look before the first has started",
			func(c count) bool { return c.more > 0 }},
	} {
		t.Run(control.how, func(t *testing.T) {
			a := newArena(t)
			a.argv = []string{programs.Peer, "-log", a.path("log"), "-lock", a.path("lock")}
			a.env = []string{"PEER=" + control.how, "WITNESS=" + programs.Witness}
			c := a.play(min(rounds(t), 200))
			t.Logf("%s (%s)", c, control.what)
			if !control.failed(c) {
				t.Errorf("%s: the control did not fail, so these rounds prove nothing", c)
			}
		})
	}
}
