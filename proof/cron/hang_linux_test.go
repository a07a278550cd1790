package cron

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/build"
	"lifeline/proof/need"
)

// hang has a job that usually takes 200 ms, and then one that never ends. Cron's
// ticks find it running.
const hang = `
dir=$1
for d in /run /var/spool/cron /var/lib/lifeline /etc/cron.d; do mkdir -p $d; mount -t tmpfs -o mode=755 none $d; done
mkdir -p /var/spool/cron/crontabs; chgrp crontab /var/spool/cron/crontabs; chmod 1730 /var/spool/cron/crontabs
: >$dir/empty; mount --bind $dir/empty /etc/crontab
PATH=$dir:$PATH
for i in 1 2 3 4; do lifeline job -- sleep 0.2; done
lifeline install job -- sleep 1000 >/dev/null 2>&1
/usr/sbin/cron -f & cron=$!
lifeline start job || exit 1
n=0; until lifeline status job | grep -q 'may hang: .* [1-9] ticks* ha'; do n=$((n+1)); [ $n -lt 250 ] || break; sleep 1; done
lifeline status job
lifeline doctor job
exit 0
`

// TestHang checks on real runs what lifeline says of a job that hangs. Before, that was
// tried on figures alone.
func TestHang(t *testing.T) {
	t.Parallel() // beside the other tests that wait for cron's minute
	_, missing := debian()
	if missing == "" {
		missing = machine()
	}
	need.That(t, missing == "", missing)
	need.Time(t, "two of cron's minutes")
	dir := t.TempDir()
	if err := build.One(filepath.Join(dir, "lifeline"), "lifeline", "urfave_cli_no_docs,osusergo,netgo"); err != nil {
		t.Fatal(err)
	}
	argv := append(unshare[1:len(unshare):len(unshare)], "--propagation", "private", "sh", "-c", hang, "sh", dir)
	cmd := exec.Command(unshare[0], argv...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "NO_COLOR=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"may hang: usually takes ", " found it running", "WRONG  state: it has run for ",
		"it may hang"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it doesn't say %q:\n%s", want, out)
		}
	}
	t.Logf("%s", out)
}
