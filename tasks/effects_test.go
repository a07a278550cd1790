package tasks

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestEffects checks that every pair of options is either taken, or refused by the name
// of one of them. The refused pairs stand here a second time, as a person reads the
// manual.
func TestEffects(t *testing.T) {
	values := map[string]string{
		"conflict-exit-code": "75", "orphans": "adopt", "leftovers": "keep", "umask": "022", "env": "A=1", "respawn-on": "failure", "respawn-limit": "5/1m",
		"respawn-steps": "3", "ready-by": "takeover", "notify-access": "all", "on-hup": "pass", "kill-mode": "mixed", "stop-signal": "INT",
		"listen": "tcp://127.0.0.1:8080", "log-keep": "3", "log-max-size": "1M", "on-skip-after": "3", "slots": "1", "fail-after": "3", "check-failures": "2", "max-memory": "500M", "log-mode": "0600", "log-to": "syslog", "reload-retries": "3", "limit": "core=0", "nice": "5", "oom-score-adj": "5",
	}
	// An option that works only beside one of these; "-" is a second one that it
	// needs as well, so that no pair is enough.
	needs := map[string][]string{
		"respawn-on": {"respawn"}, "respawn-delay": {"respawn"}, "respawn-max-delay": {"respawn"}, "respawn-limit": {"respawn"}, "recycle-after": {"respawn"}, "respawn-steps": {"-"},
		"ready-timeout": {"notify", "ready-by", "ready-check"}, "reload-timeout": {"notify", "ready-by",
			"ready-check"}, "settle": {"notify", "ready-check"},
		"check-interval": {"ready-check", "health-check"}, "check-timeout": {"ready-check",
			"health-check"}, "check-failures": {"health-check"},
		"notify-access": {"notify", "watchdog"},
		"log-keep":      {"log"}, "log-mode": {"log"}, "log-compress": {"log"}, "log-max-size": {"log"}, "hook-timeout": {"on-start", "on-success", "on-failure", "on-skip"},
	}
	never := map[string][]string{ // pairs of which the first has no effect
		"exec": {"max-runtime", "max-memory", "min-runtime", "respawn", "notify", "ready-by", "watchdog", "ready-check",
			"health-check", "listen", "reload-on-change", "reload-retries", "ready-after", "on-hup",
			"stop-signal", "kill-after", "kill-mode"},
		"standby": {"wait", "conflict-exit-code"}, "notify": {"ready-after",
			"ready-check"}, "ready-by": {"ready-after"},
		"ready-check": {"ready-after", "ready-by"},
	}
	var names []string
	for _, o := range new(options).table() {
		names = append(names, o.name)
	}
	lacks := func(a, b string) bool { return needs[a] != nil && !slices.Contains(needs[a], b) }
	for i, a := range names {
		for _, b := range names[i:] {
			want := lacks(a, b) || lacks(b, a) || slices.Contains(never[a], b) || slices.Contains(never[b], a)
			var o options
			argv := []string{"lifeline"}
			for _, n := range slices.Compact([]string{a, b}) {
				argv = append(argv, "--"+n)
				if !find(o.table(), n).isSwitch() {
					argv[len(argv)-1] += "=" + valueOf(values, n)
				}
			}
			app := newApp(&o, append(argv, "web", "--", "true"))
			var err error
			app.Action = func(c *cli.Context) error { err = o.checkEffects(c); return nil }
			if parse := app.Run(append(argv, "web", "--", "true")); parse != nil {
				t.Fatalf("%q: %v", argv, parse)
			}
			var refused *usageError
			if got := errors.As(err, &refused); got != want {
				t.Errorf("%q: refused %v (%v), not %v", argv, got, err, want)
			} else if got && !strings.HasPrefix(refused.Text, "--"+a+" ") &&
				!strings.HasPrefix(refused.Text, "--"+b+" ") {
				t.Errorf("%q: refused without a name: %v", argv, err)
			}
		}
	}
}

func valueOf(values map[string]string, name string) string {
	if v := values[name]; v != "" {
		return v
	}
	return "5s" // also a path, a command, a name
}
