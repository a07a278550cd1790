package tasks_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// ward makes a machine on which all is well, to be broken, in namespaces of its own.
// It has a cron daemon, a crontab that starts web every New Year's morning, and a
// state directory.
const ward = `
mount -t tmpfs -o mode=755 none /run
mount -t tmpfs none /var/spool/cron
mount -t tmpfs none /etc/cron.d
mount -t tmpfs -o mode=1777 none /var/tmp
mount -t tmpfs none /var/lib
mkdir /var/spool/cron/crontabs
chgrp crontab /var/spool/cron/crontabs
chmod 1730 /var/spool/cron/crontabs
work=$1 break=$2 options=$3
cd "$work"
printf '#!/bin/sh\nexec sleep 1000\n' >serve
printf '#!/bin/sh\nexec sleep 1000\n' >bin/onlyhere
chmod +x serve bin/onlyhere
PATH=$work/bin:$PATH
cron -f >cron.out 2>&1 & cron=$!
spool=/var/spool/cron/crontabs/root
never='0 5 1 1 *'
L=$(command -v lifeline)
lifeline --dir "$work/side" web -- true
lock=/run/lifeline/$(basename "$work"/side/web-*.lock) run=${lock%.lock}.run
until_true() { n=0; until "$@"; do n=$((n+1)); [ $n -lt 1000 ] || { echo "never: $*"; exit 99; }; sleep .01; done; }
named() { [ "$(cat /proc/$1/comm 2>/dev/null)" = "$2" ]; }
until_true named $cron cron
lifeline install --schedule "$never" --no-reboot web -- "$work/serve" >/dev/null
instead() { printf '%s\n' "$@" | crontab -; }
noted() { grep -qs '"started"' /var/lib/lifeline/web-*.state; }
starts() { lifeline web -- "$@" & sup=$!; until_true holds; until_true noted; worker=$(tr -s ' ' <$run | cut -d' ' -f7 | cut -d: -f1); }
holds() { [ -s $run ] || return 1; w=$(tr -s ' ' <$run | cut -d' ' -f7 | cut -d: -f1); [ "${w:-0}" != 0 ] && [ "$(tr '\0' ' ' </proc/$w/cmdline)" != "" ]; }
lesser() { kill $cron; wait $cron || :; mkdir none; ln -s "$(command -v busybox)" crond; "$work/crond" -f -c "$work/none" & until_true named $! crond; }
bruce() { kill $cron; wait $cron || :; cp "$(command -v sleep)" bcron-sched; "$work/bcron-sched" 1000 & until_true named $! bcron-sched; }
again() { kill $cron; wait $cron || :; "$@" >cron.out 2>&1 & cron=$!; until_true named $cron cron; }
group() { top=/sys/fs/cgroup/$1; [ -d $top ] || { top=/sys/fs/cgroup; echo +$1 >$top/cgroup.subtree_control || :; }; group=$top/$(basename "$work"); mkdir $group; }
freeze() { group freezer; trap thaw EXIT; echo $1 >$group/cgroup.procs; echo FROZEN >$group/freezer.state || echo 1 >$group/cgroup.freeze; } 2>/dev/null
thaw() { echo THAWED >$group/freezer.state || echo 0 >$group/cgroup.freeze; } 2>/dev/null # a frozen process can't be killed
eval "$break"
code=0
lifeline doctor $options web || code=$?
echo "code $code"
`

func inWard(t *testing.T, breaks, options string) string {
	t.Helper()
	needRoot(t)
	for _, program := range []string{"cron", "crontab", "flock", "perl"} {
		_, err := exec.LookPath(program)
		need.That(t, err == nil, program)
	}
	work, err := os.MkdirTemp("", "ward")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		os.RemoveAll(work)
		groups, _ := filepath.Glob("/sys/fs/cgroup/*/" + filepath.Base(work))
		for _, group := range append(groups, "/sys/fs/cgroup/"+filepath.Base(work)) {
			_ = os.Remove(group)
		}
	})
	if err := os.Mkdir(filepath.Join(work, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(work, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child",
		"--mount-proc",
		"sh", "-ec", ward, "sh", work, breaks, options)
	cmd.Env = append(environ(), "GORACE=atexit_sleep_ms=0", "NO_COLOR=1", "TZ=UTC")
	output, err := os.Create(filepath.Join(work, "output"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	cmd.Stdout, cmd.Stderr = output, output // a file: what is left running holds no pipe
	_ = cmd.Run()
	text, err := os.ReadFile(output.Name())
	if err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), work, "WORK")
}
