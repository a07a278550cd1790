package tasks

import (
	"context"
	"fmt"
	"testing"

	"github.com/urfave/cli/v2"
)

// Leaving out the options that nobody has given changes nothing: neither what
// is typed, nor what the environment says, nor what holds otherwise.
func TestMentioned(t *testing.T) {
	for _, test := range []struct {
		env  [2]string
		argv []string
	}{
		{argv: []string{"web", "--", "x"}},
		{argv: []string{"-E", "9", "-v", "--kill-after=3s", "--respawn", "--log", "file", "--listen", "tcp://127.0.0.1:1", "web", "--", "x", "--quiet"}},
		{argv: []string{"--env", "--quiet=x", "--on-failure", "--respawn", "web", "--", "x"}},
		{argv: []string{"--watchdog", "5s", "--stop-signal", "INT", "--umask", "022", "--log-max-size", "3M", "web", "--", "x"}},
		{env: [2]string{"LIFELINE_KILL_AFTER", "7s"}, argv: []string{"web", "--", "x"}},
		{env: [2]string{"LIFELINE_RESPAWN", "true"}, argv: []string{"web", "--", "x"}},
		{env: [2]string{"LIFELINE_LOG_KEEP", "2"}, argv: []string{"--log", "l", "web", "--", "x"}},
		{env: [2]string{"LIFELINE_STOP_SIGNAL", "HUP"}, argv: []string{"web", "--", "x"}},
		{env: [2]string{"LIFELINE_QUIET", ""}, argv: []string{"web", "--", "x"}},
	} {
		if test.env[0] != "" {
			t.Setenv(test.env[0], test.env[1])
		}
		argv := append([]string{"lifeline"}, test.argv...)
		got := func(all bool) string {
			var o options
			app := newApp(&o, argv)
			if all {
				o = options{}
				app.Flags = o.flags()
			}
			var args []string
			app.Action = func(c *cli.Context) error { args = c.Args().Slice(); return nil }
			if err := app.RunContext(context.Background(), argv); err != nil {
				t.Errorf("%q: %v", argv, err)
			}
			return fmt.Sprintf("%+v %q", o, args)
		}
		if a, b := got(true), got(false); a != b {
			t.Errorf("%s %q: with all options\n%s\nwith those that are mentioned\n%s", test.env, argv, a, b)
		}
	}
}
