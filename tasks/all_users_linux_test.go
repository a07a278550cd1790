package tasks_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestStatusOfAllUsers checks that root sees every user's names at once. Before, root
// had to ask as each user, and to know which users there are.
func TestStatusOfAllUsers(t *testing.T) {
	said := inWard(t, `
cp "$L" bin/lifeline # where the others reach it
as() { setpriv --reuid "$1" --regid "$1" --clear-groups env -i PATH="$PATH" "$2" "$3" "$4" "$5"; }
chmod 755 "$(dirname "$L")" 2>/dev/null || :
as 1 lifeline x -- true # has been here
as 65534 lifeline web -- false || :
as 2 lifeline evil -- false || :
sed -i 's/"outcome": *"failed"/"outcome":"\\u001b[2J"/; s/"state": *"ended"/"state":"\\u001b[2J"/' /var/tmp/lifeline-2/evil-*
printf '* * * * * bin lifeline tab -- true\n' >/etc/cron.d/tab
echo "--- all"; lifeline status --all-users
echo "--- one"; lifeline status --all-users --json web || :
echo "--- none"; lifeline status --all-users nope || echo "code $?"
echo "--- dir"; lifeline status --all-users --dir /x || echo "code $?"
echo "--- nobody"; as 65534 lifeline status --all-users web || echo "code $?"
`, "")
	part := func(name string) string {
		_, text, _ := strings.Cut(said, "--- "+name+"\n")
		text, _, _ = strings.Cut(text, "--- ")
		return text
	}
	for name, want := range map[string]string{
		"all":    `(?s)^USER: NAME +STATE.*\nroot: web +not running, in crontab.*\ndaemon: x +not running.* ok, .*\nbin: tab +not running, in crontab.*\nnobody: web +not running .* exit 1, `,
		"one":    `(?s)"user": "root".*"user": "nobody"`,
		"none":   `(?s)nope +not running .*code 3\n`,
		"dir":    `^lifeline: --all-users looks where each user's names are: leave out --dir and --state-dir .*\ncode 64\n`,
		"nobody": `only root sees the names of other users; sudo lifeline status --all-users\ncode 4\n`,
	} {
		if got := part(name); !regexp.MustCompile(want).MatchString(got) {
			t.Errorf("%s: want %s, it said:\n%s", name, want, got)
		}
	}
	if strings.Contains(said, "\x1b") || !strings.Contains(said, ".[2J") {
		t.Errorf("root's terminal would obey what a user has written into his files: %q", said)
	}
	if t.Failed() {
		t.Log(said)
	}
}
