package cron

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lifeline/proof/build"
	"lifeline/proof/need"
)

// A sick machine starts nothing of a user's crontab, or is no worse than it looks.
// The scene's user has `* * * * * lifeline job -- touch ran` in the crontab.
type sick struct {
	name   string
	user   string // "" is root; ann is another one
	spoil  string // shell, as root; $tab is the file in the spool, $home ann's home
	unseen bool   // no reading shows it
	fresh  bool   // it has never run; else doctor can't say that nothing shows yet that cron starts it
}

var machines = []sick{
	{name: "good"},
	{name: "good, ann", user: "ann"},
	{name: "good, fresh", user: "ann", fresh: true},
	{name: "spool file 0644", user: "ann", spoil: `chmod 644 $tab`},
	{name: "spool file 0640", spoil: `chmod 640 $tab`},
	{name: "spool file linked twice", user: "ann", spoil: `ln $tab /var/spool/cron/x`},
	{name: "spool file of another", user: "ann", spoil: `chown 1 $tab`},
	{name: "spool file a link", user: "ann", spoil: `mv $tab /var/spool/cron/x; ln -s /var/spool/cron/x $tab`},
	{name: "account expired", user: "ann", spoil: `usermod -e 2001-01-01 ann`},
	{name: "password expired", user: "ann", spoil: `chage -d 2001-01-01 -M 30 ann`},
	{name: "password to be changed", user: "ann", spoil: `chage -d 0 ann`},
	{name: "password expired long ago", user: "ann", spoil: `chage -d 2001-01-01 -M 30 -I 5 ann`},
	{name: "password expires soon", user: "ann", spoil: `chage -M 3 -d "$(date +%F)" ann`},
	{name: "root's password to be changed", spoil: `chage -d 0 root`},
	{name: "root's account expired", spoil: `usermod -e 2001-01-01 root`},
	{name: "account locked", user: "ann", spoil: `usermod -L ann`},
	{name: "shell is nologin", user: "ann", spoil: `usermod -s /usr/sbin/nologin ann`},
	{name: "uid changed", user: "ann", spoil: `usermod -u 5009 ann; chown -R 5009 $home`},
	{name: "home gone", user: "ann", spoil: `rmdir $home 2>/dev/null || mv $home $home.away`},
	{name: "tmp is full", user: "ann",
		spoil: `mount -t tmpfs -o size=4k,mode=1777 none /tmp; cat /dev/zero >/tmp/x 2>/dev/null || :`},
	{name: "tmp is read-only", user: "ann", spoil: `mount -t tmpfs -o ro none /tmp`},
	{name: "tmp has no inodes", user: "ann", spoil: `mount -t tmpfs -o nr_inodes=1,mode=1777 none /tmp`},
	{name: "tmp is closed", user: "ann", spoil: `mount -t tmpfs -o mode=700 none /tmp`},
	{name: "no processes allowed", user: "ann", spoil: `echo 'ann hard nproc 0' >/etc/security/limits.d/none.conf`},
	{name: "few processes allowed", user: "ann", spoil: `echo '@ann - nproc 6' >/etc/security/limits.d/none.conf`},
	{name: "processes allowed", user: "ann",
		spoil: `printf '%s\n' '* hard nproc 0' 'ann hard nproc 60' >/etc/security/limits.d/none.conf`},
	{name: "no processes for root",
		spoil: `printf '%s\n' '* hard nproc 0' 'root hard nproc 0' >/etc/security/limits.d/none.conf`},
	{name: "no files allowed", user: "ann", spoil: `echo 'ann hard nofile 2' >/etc/security/limits.d/none.conf`},
	{name: "no file size allowed", user: "ann", spoil: `echo 'ann hard fsize 0' >/etc/security/limits.d/none.conf`},
	{name: "memory limit", user: "ann", spoil: `echo 'ann hard as 50000' >/etc/security/limits.d/none.conf`},
	{name: "environment moves the state", user: "ann", spoil: `echo LIFELINE_DIR=/nowhere/at/all >>/etc/environment`},
	{name: "environment has a bad option", spoil: `echo LIFELINE_MAX_RUNTIME=soon >>/etc/environment`},
	{name: "lifeline is closed", user: "ann", spoil: `chmod 700 $dir/bin/lifeline`},
	{name: "lifeline's directory is closed", user: "ann", spoil: `chmod 700 $dir/bin`},
	{name: "lifeline is mounted noexec", user: "ann",
		spoil: `mount -t tmpfs none $dir/bin; cp -a $dir/keep/lifeline $dir/bin; mount -o remount,noexec $dir/bin`},
	{name: "state directory of another", user: "ann",
		spoil: `mkdir -p $home/.local/state/lifeline; chown -R ann $home/.local; for d in $home/.local/state/lifeline/*; do chown -R root $d; done; m=$(cat /etc/machine-id); mkdir -p $home/.local/state/lifeline/$m; chown root $home/.local/state/lifeline/$m`},
	{name: "home is full", user: "ann",
		spoil: `mount -t tmpfs -o size=8k,mode=755 none $home; chown ann $home; cat /dev/zero >$home/x 2>/dev/null || :`},
	{name: "home is read-only", user: "ann", spoil: `mount -t tmpfs -o ro,mode=755 none $home`},
	{name: "sh is gone", spoil: `after='mount --bind /dev/null /usr/bin/dash'`},
	{name: "cron is stopped", user: "ann", spoil: `after='kill -STOP $cron'`},
	{name: "cron is gone", user: "ann", spoil: `after='kill -KILL $cron'`},
	{name: "access is denied", user: "ann",
		spoil: `echo 'account required pam_access.so' >>/etc/pam.d/cron; echo '-:ann:ALL' >>/etc/security/access.conf`},
	{name: "pam has no such module", user: "ann", spoil: `sed -i '1i account required pam_nothing.so' /etc/pam.d/cron`},
	{name: "pam denies", user: "ann", spoil: `sed -i '1i account requisite pam_deny.so' /etc/pam.d/cron`},
	{name: "pam denies the session", user: "ann", spoil: `echo 'session requisite pam_deny.so' >>/etc/pam.d/cron`},
	{name: "nologin", user: "ann", spoil: `echo no >/etc/nologin`},
	{name: "nologin, asked for", user: "ann",
		spoil: `echo no >/etc/nologin; echo 'account required pam_nologin.so' >>/etc/pam.d/cron`},
	{name: "nologin, for root", spoil: `echo no >/etc/nologin; echo 'account required pam_nologin.so' >>/etc/pam.d/cron`},
	{name: "access for others alone", user: "ann",
		spoil: `echo 'account required pam_access.so' >>/etc/pam.d/cron; echo '-:ALL EXCEPT root:LOCAL' >>/etc/security/access.conf`},
	{name: "access for her group", user: "ann",
		spoil: `echo 'account required pam_access.so' >>/etc/pam.d/cron; printf '%s\n' '+:(ann):cron' '-:ALL:ALL' >>/etc/security/access.conf`},
	{name: "access from the console", user: "ann",
		spoil: `echo 'account required pam_access.so' >>/etc/pam.d/cron; printf '%s\n' '-:ann:tty1 192.0.2.1' >>/etc/security/access.conf`},
	{name: "pam has no module that it could do without", user: "ann",
		spoil: `echo '-session optional pam_nothing.so' >>/etc/pam.d/cron`},
	{name: "pam has no module, and says nothing", user: "ann",
		spoil: `echo '-session required pam_nothing.so' >>/etc/pam.d/cron`},
	{name: "pam denies in a substack", user: "ann",
		spoil: `echo 'account requisite pam_deny.so' >/etc/pam.d/shop; sed -i '1i account substack shop' /etc/pam.d/cron`},
	{name: "pam jumps over a denial", user: "ann",
		spoil: `sed -i '1i account [success=1 default=ignore] pam_permit.so\naccount requisite pam_deny.so' /etc/pam.d/cron`},
	{name: "pam lets a sufficient module do", user: "ann",
		spoil: `sed -i '1i account sufficient pam_permit.so\naccount requisite pam_deny.so' /etc/pam.d/cron`},
	{name: "pam asks a program", user: "ann", unseen: true,
		spoil: `echo 'account required pam_exec.so /bin/false' >>/etc/pam.d/cron`},
	{name: "pam asks a program that agrees", user: "ann",
		spoil: `echo 'account required pam_exec.so /bin/true' >>/etc/pam.d/cron`},
	{name: "cron.deny", user: "ann", spoil: `echo ann >/etc/cron.deny`},
	{name: "cron.allow without her", user: "ann", spoil: `echo root >/etc/cron.allow`},
	{name: "spool is closed to cron's group", user: "ann", spoil: `chmod 700 /var/spool/cron/crontabs`},
}

// machine is the scene. Its arguments are the work directory, the user, the spoiling.
const machineScript = `
mount --bind "$1" /mnt; dir=/mnt user=$2 # some scenes spoil /tmp
for d in /run /var/spool/cron /var/lib/lifeline /etc/cron.d /var/tmp /home /root; do mkdir -p $d; mount -t tmpfs -o mode=755 none $d; done
chmod 1777 /var/tmp
cp -a /etc $dir/etc; mount --bind $dir/etc /etc; mount -t tmpfs none /etc/cron.d
rm -f /etc/nologin /etc/cron.deny /etc/cron.allow; : >/etc/crontab
mkdir -p /var/spool/cron/crontabs; chgrp crontab /var/spool/cron/crontabs; chmod 1730 /var/spool/cron/crontabs
useradd -m -u $5 ann # one of her own, because the kernel counts a user's processes
home=/home/ann tab=/var/spool/cron/crontabs/$user out=$dir/out
mkdir -m 777 $out
L=$dir/bin/lifeline
as() { if [ $user = root ]; then (cd /root; env -i HOME=/root PATH=/usr/bin:/bin NO_COLOR=1 "$@"); else
	setpriv --reuid "$(id -u ann)" --regid "$(id -g ann)" --init-groups sh -c 'cd /home/ann 2>/dev/null || cd /; exec env -i HOME=/home/ann PATH=/usr/bin:/bin NO_COLOR=1 "$@"' sh "$@"; fi; }
echo "* * * * * $L job -- touch $out/ran" | as crontab -
echo "* * * * * root touch $out/minute" >/etc/cron.d/minute
after=
eval "$3"
while s=$(date +%S); s=${s#0}; [ "$s" -lt 3 ] || [ "$s" -gt 25 ]; do sleep .2; done
[ -n "$4" ] || as $dir/keep/lifeline job -- true
/usr/sbin/cron -f >$dir/cron.out 2>&1 & cron=$!
until [ "$(cat /proc/$cron/comm)" = cron ]; do sleep .01; done
eval "$after"
code=0; as $dir/keep/lifeline doctor job >$dir/said 2>&1 || code=$?
echo $code >$dir/code
HOME=/root NO_COLOR=1 $dir/keep/lifeline doctor job >$dir/root 2>&1
# The minute is over when cron has started root's line, or should have.
n=0; while ! [ -e $out/minute ] && [ $n -lt 650 ]; do sleep .1; n=$((n+1)); done
n=0; while ! [ -e $out/ran ] && [ $n -lt 60 ]; do sleep .1; n=$((n+1)); done
# What doctor says when the tick hasn't come.
code=0; as $dir/keep/lifeline doctor job >$dir/said2 2>&1 || code=$?
echo $code >$dir/code2
`

// TestSickMachines asks doctor in every scene, before cron's next minute and after it.
// doctor must not say "all is well" where cron then starts nothing, nor be alarmed
// where it does.
func TestSickMachines(t *testing.T) {
	_, missing := debian()
	if missing == "" {
		missing = machine()
	}
	need.That(t, missing == "", missing)
	need.Time(t, "two of cron's minutes")
	top, err := os.MkdirTemp("", "sick")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	if err := os.Chmod(top, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(top, "lifeline")
	if err := build.One(program, "lifeline", "urfave_cli_no_docs,osusergo,netgo"); err != nil {
		t.Fatal(err)
	}
	// doctor is stricter than cron in these.
	stricter := map[string]bool{"home gone": true,
		// The crontab can't be read by the user.
		"cron.deny": true, "cron.allow without her": true, "spool is closed to cron's group": true,
		// Nothing can be written down.
		"home is full": true}
	var all sync.WaitGroup
	results := make([]string, len(machines))
	for i, m := range machines {
		all.Go(func() {
			user := m.user
			if user == "" {
				user = "root"
			}
			fresh := ""
			if m.fresh {
				fresh = "fresh"
			}
			dir := filepath.Join(top, fmt.Sprint(i))
			setup := `mkdir -p "$1/bin" "$1/keep"; cp "$2" "$1/bin/lifeline"; cp "$2" "$1/keep/lifeline"`
			if out, err := exec.Command("sh", "-ec", setup, "sh", dir, program).CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", m.name, err, out)
				return
			}
			argv := append(unshare[1:len(unshare):len(unshare)], "--propagation", "private", "sh",
				"-c", machineScript, "sh",
				dir, user, m.spoil, fresh, fmt.Sprint(5100+i))
			cmd := exec.Command(unshare[0], argv...)
			cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Errorf("%s: %v: %s", m.name, err, out)
				return
			}
			read := func(name string) string {
				text, _ := os.ReadFile(filepath.Join(dir, name))
				return strings.TrimSpace(string(text))
			}
			_, statErr := os.Stat(filepath.Join(dir, "out/ran"))
			ran := statErr == nil
			isContent := func(said string) bool { return strings.HasSuffix(read(said), "all is well") }
			results[i] = fmt.Sprintf("%-30s ran=%-5v before: %s | root: %s | after: %s", m.name, ran,
				verdict(read("said")),
				verdict(read("root")), verdict(read("said2")))
			if !ran && (isContent("said") || isContent("said2") || isContent("root")) {
				t.Errorf("%s: doctor is content, and cron started nothing:\n%s\n%s\n%s\n%s", m.name,
					read("said"), read("root"),
					read("said2"), out)
			}
			// What the user can't see, the user says so, and root sees it.
			if !ran && !m.unseen && !strings.Contains(read("said")+read("root"), "WRONG") {
				t.Errorf("%s: neither %s nor root saw it:\n%s\n%s", m.name, user, read("said"), read("root"))
			}
			if ran && (read("code") != "0" || read("code2") != "0") && !stricter[m.name] {
				t.Errorf("%s: doctor is alarmed, and cron started it:\n%s\n%s", m.name, read("said"), read("said2"))
			}
			if strings.HasPrefix(m.name, "good") && !ran {
				t.Errorf("%s: cron started nothing, so nothing is shown: %s\n%s", m.name, out, read("cron.out"))
			}
		})
	}
	all.Wait()
	t.Log("\n" + strings.Join(results, "\n"))
}

// verdict returns what doctor found, else its last line.
func verdict(said string) string {
	if _, wrong, ok := strings.Cut(said, "WRONG  "); ok {
		first, _, _ := strings.Cut(wrong, "\n")
		return first
	}
	return said[strings.LastIndex(said, "\n")+1:]
}
