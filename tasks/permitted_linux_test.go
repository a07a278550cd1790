package tasks_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"lifeline/proof/await"
)

// TestNotPermitted checks that an ordinary user's lifeline says at once that it can't
// end a worker that has become root. Before, it found out by waiting: 40 s, and "still
// alive after SIGKILL".
func TestNotPermitted(t *testing.T) {
	needRoot(t)
	for name, tt := range map[string]struct {
		options, command []string
		code             int
		stays            bool // the supervisor goes on
	}{
		"restart":     {nil, []string{"restart"}, 1, true},
		"reload":      {nil, []string{"reload"}, 1, true},
		"signal":      {nil, []string{"signal"}, 125, true},
		"terminate":   {nil, []string{"terminate"}, 125, false},
		"now":         {nil, []string{"terminate", "--now"}, 125, false},
		"max-runtime": {[]string{"--max-runtime", "500ms"}, nil, 125, false},
		"group":       {[]string{"--max-runtime", "500ms", "--kill-mode", "control-group"}, nil, 125, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.public(65534)
			w.wrap = nobody
			real, err := exec.LookPath("setpriv")
			if err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(real)
			become := filepath.Join(filepath.Dir(w.lifeline), "become")
			if err = errors.Join(err, os.WriteFile(become, text, 0o755),
				os.Chmod(become, 0o755|os.ModeSetuid)); err != nil {
				t.Fatal(err)
			}
			// Waiting for --kill-after would take longer than the test does.
			p := w.tick(append([]string{"--kill-after", "10m"}, tt.options...), "web",
				append([]string{become, "--reuid=0", "--clear-groups"}, w.bad("first")...)...)
			id := w.at("first")
			t.Cleanup(func() { _ = unix.Kill(id.PID, unix.SIGKILL) })
			says := p
			if tt.command != nil {
				args := append(append([]string{tt.command[0], "--dir", w.dir}, tt.command[1:]...), "web")
				if tt.command[0] == "signal" {
					args = append(args, "HUP")
				}
				says = w.run(args...)
			}
			code := says.ends()
			lines := strings.Count(read(says.err), "\n")
			if code != tt.code || lines != 1 || !says.says("not permitted") && !says.says("runs as another user") {
				t.Errorf("exit code %d; it said %q", code, read(says.err))
			}
			if !id.Alive() {
				t.Error("the worker was ended after all, so this shows nothing")
			}
			if !tt.stays {
				if code := p.ends(); code != 125 {
					t.Errorf("the supervisor's exit code is %d", code)
				}
				return
			}
			await.That(t, "status", func() bool {
				s := w.run("status", "--dir", w.dir, "web")
				return s.ends() == 0 && strings.Contains(read(s.out), "running")
			})
		})
	}
}
