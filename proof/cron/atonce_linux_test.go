package cron

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"lifeline/proof/build"
	"lifeline/proof/need"
)

// atOnce installs and uninstalls twelve names at once, in rounds. Its arguments are
// the directory, the rounds, and the program that is crontab(1).
const atOnce = `
dir=$1 rounds=$2
for d in /run /var/spool/cron; do mount -t tmpfs -o mode=755 none $d; done
mkdir -p /var/spool/cron/crontabs; chgrp crontab /var/spool/cron/crontabs; chmod 1730 /var/spool/cron/crontabs
[ -z "$3" ] || mount --bind "$3" "$(command -v crontab)"
PATH=$dir:$PATH
printf '# mine\n0 5 * * * true\n' | crontab -
crontab -l >before
all() {
	n=1; pids=
	while [ $n -le 12 ]; do "$@" $n >said.$n 2>&1 & pids="$pids $!"; n=$((n+1)); done
	for p in $pids; do wait $p || { echo "round $round: $1 exited with $?"; cat said.*; exit 1; }; done
}
add() { lifeline install web$1 -- sleep 1$1; }
drop() { lifeline uninstall web$1; }
told() { [ "$(grep -c ": $1" said.* | grep -c ':1$')" = 12 ] || { echo "round $round: not all said $1"; cat said.*; exit 1; }; }
round=1
while [ $round -le $rounds ]; do
	all add
	told installed
	[ "$(crontab -l | grep -c '^\* \* .* web[0-9]* -- sleep 1')" = 12 ] || { echo "round $round: lines are lost"; crontab -l; exit 1; }
	all drop
	told uninstalled
	crontab -l | cmp - before || { echo "round $round: the crontab isn't what it had been"; crontab -l; exit 1; }
	round=$((round+1))
done
ls ${TMPDIR:-/tmp}/lifeline-crontab-* 2>/dev/null && { echo "copies are left"; exit 1; }
exit 0
`

// TestInstallsAtOnce checks that simultaneous installs all arrive. Before, entries were
// lost, with exit code 0. Three rounds are the short form; LIFELINE_ROUNDS=50 is the
// long one.
func TestInstallsAtOnce(t *testing.T) {
	t.Parallel()
	rounds := os.Getenv("LIFELINE_ROUNDS")
	if rounds == "" {
		rounds = "3"
	}
	missing := machine()
	need.That(t, missing == "", missing)
	dir := t.TempDir()
	if err := build.One(filepath.Join(dir, "lifeline"), "lifeline", "urfave_cli_no_docs,osusergo,netgo"); err != nil {
		t.Fatal(err)
	}
	script := filepath.Join(dir, "busybox-crontab") // busybox finds its applet by the name that it is called by
	if err := os.WriteFile(script, []byte("#!/bin/sh\nexec busybox crontab \"$@\"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		locate  func() (string, string)
		crontab string
	}{{"debian", debian, ""}, {"busybox", busybox, script}} {
		t.Run(tt.name, func(t *testing.T) {
			_, missing := tt.locate()
			need.That(t, missing == "", missing)
			argv := append(unshare[1:len(unshare):len(unshare)], "--propagation", "private", "sh",
				"-c", atOnce, "sh", dir,
				rounds, tt.crontab)
			cmd := exec.Command(unshare[0], argv...)
			cmd.Dir = t.TempDir()
			cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "TMPDIR=" + cmd.Dir}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Logf("twelve installs and twelve uninstalls at once, %s rounds: all there, each said so", rounds)
		})
	}
}
