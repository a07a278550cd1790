package tasks_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/await"
)

// TestUser runs commands under --user and --group. The descriptors, the marker and
// the evidence for a census are as without these options.
func TestUser(t *testing.T) {
	needRoot(t)
	opened := func(w *world) {
		if err := os.Chmod(filepath.Dir(w.work), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(w.work, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	show := `id -u; id -g; id -G; echo $HOME $USER $LOGNAME; test "$LISTEN_PID" = $$ && echo its own; test -n "$LIFELINE_ID" && echo marked`
	for name, tt := range map[string]struct {
		options []string
		want    string
	}{
		"a user": {[]string{"--user", "nobody"},
			"65534\n65534\n65534\n/nonexistent nobody nobody\nits own\nmarked\n"},
		"by number": {[]string{"--user", "65534", "--group", "daemon"},
			"65534\n1\n1 65534\n/nonexistent nobody nobody\nits own\nmarked\n"},
		"a number alone": {[]string{"--user", "54321", "--group", "54322", "--env", "HOME=/h", "--env", "USER=u",
			"--env", "LOGNAME=l"}, "54321\n54322\n54322\n/h u l\nits own\nmarked\n"},
		"a group": {[]string{"--group", "daemon", "--env", "HOME=/h", "--env", "USER=u", "--env", "LOGNAME=l"},
			"0\n1\n"},
		"the user's wins": {[]string{"--user", "nobody", "--env", "HOME=/h"},
			"65534\n65534\n65534\n/h nobody nobody\nits own\nmarked\n"},
		"death signal too": {[]string{"--user", "nobody", "--orphans", "terminate"},
			"65534\n65534\n65534\n/nonexistent nobody nobody\nits own\nmarked\n"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			opened(w)
			p := w.tick(append(tt.options, "--listen", "unix://"+w.path("s")), "web", "sh", "-c", show)
			if code := p.ends(); code != 0 && name != "a group" || !strings.HasPrefix(read(p.out), tt.want) {
				t.Errorf("exit code %d, %q, not %q; it said %q", code, read(p.out), tt.want, read(p.err))
			}
		})
	}
	t.Run("refused", func(t *testing.T) {
		w := newWorld(t)
		for text, args := range map[string][]string{
			"there is no user no-such-user":     {"--user", "no-such-user"},
			"there is no group no-such-group":   {"--group", "no-such-group"},
			"54321 has no account here, and so": {"--user", "54321"},
		} {
			p := w.tick(args, "web", "touch", w.path("wrong"))
			if code := p.ends(); code != 64 || !p.says(text) || exists(w.path("wrong")) {
				t.Errorf("exit code %d; it said %q", code, read(p.err))
			}
		}
		w = newWorld(t)
		w.public(65534)
		w.wrap = nobody
		for text, args := range map[string][]string{
			"only root can run a command as another user":                       {"--user", "daemon"},
			"cannot set --nice -5: permission denied; only root may lower it":   {"--nice", "-5"},
			"cannot set --limit nofile: operation not permitted; only root may": {"--limit", "nofile=999999999"},
		} {
			p := w.tick(args, "web", "true")
			if code := p.ends(); code != 64 && code != 125 || !p.says(text) {
				t.Errorf("exit code %d; it said %q", code, read(p.err))
			}
		}
	})
	// A worker opens its output by a name, as nginx and apache2 are told to in
	// containers. The log's pipe was root's alone.
	t.Run("its output by name", func(t *testing.T) {
		w := newWorld(t)
		opened(w)
		for _, how := range [][]string{{"--log", w.path("log")}, {"--quiet"}} {
			p := w.tick(append(how, "--user", "nobody"), "web", "sh", "-c",
				"echo one >/dev/stderr; echo two >/dev/stdout; exit 3")
			code := p.ends()
			text, _ := os.ReadFile(w.path("log"))
			if said := string(text) + read(p.out) + read(p.err); code != 3 || !strings.Contains(said, "one\n") ||
				!strings.Contains(said, "two\n") {
				t.Errorf("%s: exit code %d, %q", how, code, said)
			}
		}
	})
	// The worker has a death signal, although the change of user clears it
	// (prctl(2)).
	t.Run("ends with its supervisor", func(t *testing.T) {
		w := newWorld(t)
		opened(w)
		first := w.tick([]string{"--user", "nobody", "--orphans", "terminate"}, "web", w.bad("first")...)
		id := w.at("first")
		first.kill()
		await.That(t, "the worker's end", func() bool { return !id.Alive() })
	})
	// An orphan is adopted, also after it closed the run file or wiped its marker.
	for _, how := range [][]string{nil, {"close"}, {"wipe"}} {
		t.Run(fmt.Sprint("adopted ", how), func(t *testing.T) {
			w := newWorld(t)
			opened(w)
			first := w.tick([]string{"--user", "nobody"}, "web", w.bad("first", append([]string{"term"}, how...)...)...)
			id := w.at("first")
			first.kill()
			w.over(id, w.adopts(id, "second"))
		})
	}
}
