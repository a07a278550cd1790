package tasks_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/await"
	"lifeline/proof/need"
)

// TestShellsComplete presses TAB in bash, zsh and fish with lifeline's completions.
func TestShellsComplete(t *testing.T) {
	dir, err := os.MkdirTemp("", "shells")
	if err != nil {
		t.Fatal(err)
	}
	// A shell may write its history here after its terminal has gone.
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	t.Setenv("LIFELINE_DIR", filepath.Join(dir, "state"))
	for _, name := range []string{"a:b@c", "web2"} {
		if out, err := exec.Command("lifeline", name, "--", "true").CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	wants := map[string]string{
		"lifeline termi":                    "lifeline terminate ",
		"lifeline terminate a":              "lifeline terminate a:b@c ",
		"lifeline terminate a:b":            "lifeline terminate a:b@c ",
		"lifeline --orphans=ad":             "lifeline --orphans=adopt ",
		"lifeline --orphans ad":             "lifeline --orphans adopt ",
		"lifeline web2 -- onlyher":          "lifeline web2 -- onlyhere ",
		"lifeline --chdir " + dir + "/stat": "lifeline --chdir " + dir + "/state/",
	}
	bin := filepath.Join(dir, "bin")
	if err := os.Mkdir(bin, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(bin, "onlyhere"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	scripts, err := filepath.Abs("../packaging/completions")
	if err != nil {
		t.Fatal(err)
	}
	for shell, start := range map[string][]string{
		"bash": {"bash", "--norc", "--noprofile", "-i"},
		"zsh":  {"zsh", "-f", "-i"},
		"fish": {"fish", "--no-config", "-i"},
	} {
		t.Run(shell, func(t *testing.T) {
			_, err := exec.LookPath(shell)
			need.That(t, err == nil, shell)
			_, err = exec.LookPath("tmux")
			need.That(t, err == nil, "tmux")
			t.Setenv("HOME", dir)
			load := map[string]string{
				"bash": ". " + scripts + "/lifeline.bash; PS1='> '",
				"zsh":  "fpath=(" + scripts + " $fpath); autoload -U compinit; compinit -u -D; PS1='> '",
				"fish": "source " + scripts + "/lifeline.fish; function fish_prompt; echo '> '; end; function " +
					"fish_right_prompt; end; set fish_autosuggestion_enabled 0",
			}[shell]
			term := newTerminal(t, filepath.Join(dir, shell), start)
			term.types(load + "; clear")
			term.keys("Enter") // the prompt of PS1 comes after it
			term.until("the prompt", func(screen string) bool { return strings.TrimSpace(screen) == ">" })
			for typed, want := range wants {
				term.types(typed)
				term.until(typed+" is typed", func(screen string) bool { return strings.HasPrefix(screen, "> "+typed) })
				term.keys("Tab")
				term.until(typed+" becomes "+want, func(screen string) bool {
					line, _, _ := strings.Cut(screen, "\n")
					return strings.TrimRight(line, " ") == strings.TrimRight("> "+want, " ")
				})
				term.keys("C-a", "C-k")
				term.until("the line is taken back", func(screen string) bool {
					line, _, _ := strings.Cut(screen, "\n")
					return strings.TrimSpace(line) == ">"
				})
				term.types("clear")
				term.until("clear is typed", func(screen string) bool { return strings.HasPrefix(screen, "> clear") })
				term.keys("Enter")
				term.until("a clear prompt", func(screen string) bool { return strings.TrimSpace(screen) == ">" })
			}
		})
	}
}

// terminal is a screen of tmux, with a program in it.
type terminal struct {
	t      *testing.T
	socket string
}

func newTerminal(t *testing.T, socket string, argv []string) *terminal {
	t.Helper()
	term := &terminal{t, socket}
	term.tmux(append([]string{"-f", "/dev/null", "new-session", "-d", "-x", "150", "-y", "40"}, argv...)...)
	t.Cleanup(func() { _ = exec.Command("tmux", "-S", socket, "kill-server").Run() })
	return term
}

func (term *terminal) tmux(args ...string) string {
	term.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", term.socket}, args...)...).CombinedOutput()
	if err != nil {
		term.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

func (term *terminal) types(text string) {
	term.t.Helper()
	term.tmux("send-keys", "-l", text)
}

func (term *terminal) keys(names ...string) {
	term.t.Helper()
	term.tmux(append([]string{"send-keys"}, names...)...)
}

func (term *terminal) until(what string, ok func(screen string) bool) {
	term.t.Helper()
	screen := ""
	defer func() {
		if term.t.Failed() {
			term.t.Logf("on the screen:\n%s", screen)
		}
	}()
	await.That(term.t, what, func() bool {
		screen = term.tmux("capture-pane", "-p")
		return ok(screen)
	})
}
