package cron

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/build"
	"lifeline/proof/need"
)

// generator is systemd-cron's. Its package can't stand beside cron's, so needs.sh
// only unpacks it.
const generator = "/usr/src/systemd-cron/lib/systemd/system-generators/systemd-crontab-generator"

// systemdScene installs lines, has the generator make timers of them, and looks at
// what the scripts of these print. That systemd itself runs is pretended.
const systemdScene = `
set -e
dir=$1 generator=$2
for d in /run /var/spool/cron /var/lib/lifeline /etc/cron.d; do mkdir -p $d; mount -t tmpfs -o mode=755 none $d; done
mkdir -p /var/spool/cron/crontabs /run/systemd/system /run/systemd/generator
chgrp crontab /var/spool/cron/crontabs; chmod 1730 /var/spool/cron/crontabs
: >$dir/empty; mount --bind $dir/empty /etc/crontab
mkdir -p $dir/lib; cp -a /lib/systemd $dir/lib; mkdir -p $dir/lib/systemd/system-generators
cp $generator $dir/lib/systemd/system-generators; mount --bind $dir/lib/systemd /usr/lib/systemd
printf '#!/bin/sh\necho ${STATE:-active}; [ ${STATE:-active} = active ]\n' >$dir/systemctl; chmod +x $dir/systemctl
PATH=$dir:$PATH
generate() { rm -rf /run/systemd/generator/*; rm -f /run/crond.reboot; $generator /run/systemd/generator; }
says() { code=0; lifeline doctor $2 >said || code=$?; grep -q "$1" said && [ $code = $3 ] ||
	{ echo "doctor $2 exits with $code, and doesn't say $1:"; cat said; ls /run/systemd/generator; exit 1; }; }
cd $dir
printf 'PATH=/opt/an app/bin:/usr/bin:/bin\nMAILTO=""\n' | crontab -
lifeline install words -- printf '<%s>' '50% of "it" \ costs $2' 'a  b   c' '\\two' "it's" ' x ' >/dev/null 2>&1
lifeline install --schedule '0 5 1-31/2 OCT,nov *' months -- true >/dev/null 2>&1
lifeline install --schedule '0-59/5 5 * * fri-7' days -- true >/dev/null 2>&1
lifeline install --cron-d --reboot --schedule '*/7 * * * *' file -- true >/dev/null 2>&1
generate
cd /run/systemd/generator
grep -lx '.*\* \* \* \* \* .* words -- .*' *.timer | head -1 | grep -q . || { ls; exit 1; }
script=$(grep -l ' words -- ' *.sh | head -1)
[ "$(sh $script)" = '<50% of "it" \ costs $2><a  b   c><\\two><it'"'"'s>< x >' ] || { echo "other words: $(sh $script)"; cat $script; exit 1; }
grep -qx 'OnCalendar=\*-10,11-1,3,5.*,31 5:0:00' *.timer || { echo months; grep OnC *.timer; exit 1; }
grep -qx 'OnCalendar=Sun,Fri,Sat \*-\*-\* 5:0,5,.*55:00' *.timer || { echo days; grep OnC *.timer; exit 1; }
grep -qx 'Environment="PATH=/opt/an app/bin:/usr/bin:/bin" MAILTO=' *.service
cd $dir
says 'systemd-cron makes timers' words 0
says 'nothing is wrong' months 0
says 'nothing is wrong' file 0
# What doctor sees before systemd would start nothing, or something else.
export STATE=inactive; says "WRONG  cron: systemd-cron's cron.target is inactive" words 1; unset STATE
lifeline install late -- true >/dev/null 2>&1
says 'systemd-cron has made no timer of it' late 1
crontab -l >old; { cat old; echo "* * * * * $dir/lifeline tabbed -- printf '%s' 'a	b'"; echo "0 5 1 * 1 $dir/lifeline both -- true"
	echo "* * * * * $dir/lifeline fed -- cat%a%b"; } | crontab -
generate
says 'WRONG  crontab: line .*: systemd-cron makes .* of the command' tabbed 1
says 'WRONG  crontab: line .*: systemd-cron makes .* of the command' fed 1
says 'WRONG  crontab: line .*days that are both 1 in the month and 1 in the week' both 1
says 'nothing is wrong' late 0
printf '# caf\351\n* * * * * root %s/lifeline latin -- true\n' $dir >/etc/cron.d/latin
says "isn't UTF-8, and systemd-cron's generator then makes no timer at all" latin 1
generate 2>/dev/null && { echo "the generator bears it"; exit 1; }
exit 0
`

// TestSystemdCron checks that lifeline reads lines as systemd-cron does, which has its
// own way with blanks, %, months and days.
func TestSystemdCron(t *testing.T) {
	t.Parallel()
	missing := machine()
	if _, err := os.Stat(generator); missing == "" && err != nil {
		missing = generator + " (proof/needs.sh)"
	}
	need.That(t, missing == "", missing)
	dir := t.TempDir()
	if err := build.One(filepath.Join(dir, "lifeline"), "lifeline", "urfave_cli_no_docs,osusergo,netgo"); err != nil {
		t.Fatal(err)
	}
	argv := append(unshare[1:len(unshare):len(unshare)], "--propagation", "private", "sh", "-c",
		systemdScene, "sh", dir,
		generator)
	cmd := exec.Command(unshare[0], argv...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "NO_COLOR=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, strings.TrimSpace(string(out)))
	}
}
