package tasks_test

import (
	"regexp"
	"strings"
	"testing"
)

// TestDoctorFindsNothing checks that doctor finds nothing where nothing is broken.
func TestDoctorFindsNothing(t *testing.T) {
	for name, tt := range map[string]struct{ breaks, options, want string }{
		"never started": {"", "", "state: has never been started here"},
		"runs":          {`starts ./serve`, "", "state: runs, pid"},
		"orphan": {`printf '#!/usr/bin/perl\n$SIG{TERM}="IGNORE"; open my $f, ">", "deaf"; sleep 1000' >serve; starts ./serve; until_true test -e deaf; kill -9 $sup; wait $sup || :`,
			"", "the next tick takes it over"},
		"ended well":        {`lifeline web -- true`, "", "last runs: the last one: ok"},
		"terminated":        {`starts ./serve; lifeline terminate web`, "", "last runs: the last one: stopped"},
		"failed, then well": {`lifeline web -- false || lifeline web -- true`, "", "last one: ok"},
		"--exec":            {`lifeline --exec web -- ./serve & until_true holds`, "", "state: runs, pid"},
		"in /etc/cron.d": {`crontab -r; lifeline install --cron-d --no-reboot web -- serve-not-there >/dev/null 2>&1 || lifeline install --cron-d web -- ./serve >/dev/null`,
			"", "of /etc/cron.d/lifeline-web starts it"},
		"by hand": {`instead "PATH=$work/bin:$(dirname $L):/usr/bin:/bin" "$never cd $work && lifeline --respawn web -- onlyhere"`,
			"", "line 2 of your crontab"},
		"with --log":       {`instead "$never $L --log log web -- $work/serve"`, "", "log: /root/log can be written"},
		"a line of before": {`crontab -l | sed 's/exec //' | crontab -`, "", "starts it"},
		"earlier boot": {`lifeline web -- true; perl -e 'use strict; open(my $f,"+<",$ARGV[0]); read($f,my $t,256); my ($b)=split /\n/,$t; $b =~ s/ [0-9a-f]{8}$//; $b =~ s/[0-9a-f]{8}-/00000000-/; my $c=0xffffffff; for (unpack "C*",$b) { $c^=$_; $c = $c&1 ? ($c>>1)^0xedb88320 : $c>>1 for 1..8 } seek($f,0,0); printf $f "%-256s", sprintf("%s %08x\n",$b,$c^0xffffffff)' $run`,
			"", "record:"},
		"simulate a daemon": {"", "--simulate --for 1s", "started and lived for 1s; it was ended again"},
		"simulate a job": {`instead "GREETING=hello" "$never exec $L web -- /bin/sh -c 'echo \"\$GREETING \$HOME \$PATH\"; pwd'"`,
			"--simulate", "ended with 0; it said: hello /root /usr/bin:/bin / /root\n"},
		"simulate, it waits": {`instead "$never $L --jitter 9999h web -- $work/serve"`, "--simulate --for 1s",
			"hadn't started the command within 1s"},
		"simulate, it runs": {`starts ./serve`, "--simulate", "not tried: it runs (pid"},
	} {
		t.Run(name, func(t *testing.T) {
			said := inWard(t, tt.breaks, tt.options)
			content := strings.HasSuffix(said, "\nall is well\ncode 0\n") ||
				strings.HasSuffix(said,
					"\nnothing is wrong, but nothing shows yet that cron starts web: look again after "+
						"its next tick\ncode 0\n")
			if !content || strings.Contains(said, "WRONG") || !strings.Contains(said, tt.want) {
				t.Errorf("it must say %q:\n%s", tt.want, said)
			}
		})
	}
}

// TestDoctorFinds breaks each thing that doctor promises to find. doctor finds it,
// gives the advice, and says of nothing else that it is wrong.
func TestDoctorFinds(t *testing.T) {
	for name, tt := range map[string]struct {
		breaks  string
		want    string // the finding
		advice  string
		options string
		more    int // other findings that come with it
	}{
		"cron doesn't run": {breaks: `kill $cron; wait $cron || :`,
			want: "no cron daemon runs here", advice: "start it"},
		"the machine's cron is another's": {breaks: `kill $cron; wait $cron || :; setpriv --reuid=65534 --clear-groups perl -e '$0="cron"; open(F,">/proc/self/comm"); print F "cron"; close F; sleep 1000' & until_true named $! cron`,
			want: "no cron daemon runs here", advice: "start it"},
		"cron may start no process": {breaks: `again prlimit --nofile=64 cron -f; group pids; echo $cron >$group/cgroup.procs; echo 5 >$group/pids.max`,
			want: "may have 5 processes and threads", advice: "pids.max"},
		"cron is frozen": {breaks: `freeze $cron`,
			want: "is frozen with its cgroup", advice: "systemctl thaw"},
		"cron may not change groups": {breaks: `again setpriv --bounding-set=-setgid --inh-caps=-setgid cron -f`,
			want: "lacks the capability CAP_SETGID", advice: "--cap-add SETGID"},
		"cron may open few files": {breaks: `again prlimit --nofile=8 cron -f`,
			want: "may open 8 files", advice: "cron's own"},
		"cron has little memory": {breaks: `again prlimit --as=60000000 cron -f`,
			want: "lifeline itself can't run", advice: "raise them"},
		"cron has other mounts": {breaks: `again unshare --mount sh -c 'mount --bind /dev/null '$work'/serve; mount -t tmpfs none '$work'/bin; exec cron -f'; mkdir -p bin/below; cp serve bin/below/; instead "$never $L web -- $work/bin/below/serve"`,
			want: "has mounts of its own, in which WORK/bin/below/serve isn't there", advice: "systemctl cat cron"},
		"cron has another cron.d": {breaks: `crontab -r; lifeline install --cron-d web -- ./serve >/dev/null 2>&1; again unshare --mount sh -c 'mount -t tmpfs none /etc/cron.d; exec cron -f'`,
			want: "looks into another /etc/cron.d than you", advice: "restart it"},
		"the spool was mounted over": {breaks: `cp $spool saved; mount -t tmpfs none /var/spool/cron; mkdir -p ${spool%/*}; chgrp crontab ${spool%/*}; chmod 1730 ${spool%/*}; crontab saved`,
			want: "looks into another /var/spool/cron/crontabs than you", advice: "restart it"},
		"the spool file was changed in place": {breaks: `touch -d '9 minutes ago' ${spool%/*} /etc/crontab /etc/cron.d; echo >>$spool; touch -d '5 minutes' $spool`,
			want: "it was changed in place, without crontab(1)", advice: "touch /var/spool/cron/crontabs"},
		"cron's zone": {breaks: `again env TZ=Asia/Tokyo cron -f`,
			want: "cron has TZ=Asia/Tokyo in its environment", advice: "take TZ out"},
		"cron -l": {breaks: `crontab -r; lifeline install --cron-d --no-reboot web -- ./serve >/dev/null 2>&1; mv /etc/cron.d/lifeline-web /etc/cron.d/lifeline-web__a; again cron -f -l`,
			want: "cron runs with -l", advice: "rename"},
		"lifeline is cut off": {breaks: `mkdir cut; head -c 9000 $L >cut/lifeline; chmod 755 cut/lifeline; instead "$never $work/cut/lifeline web -- $work/serve"`,
			want: "WORK/cut/lifeline, which doesn't run", advice: "install it there again"},
		"the shell's libraries": {breaks: `mkdir lib; echo x >lib/libc.so.6; instead "LD_LIBRARY_PATH=$work/lib" "$never $L web -- $work/serve"`,
			want: "runs no command under LD_LIBRARY_PATH=WORK/lib", advice: "SHELL="},
		"it goes into the background": {breaks: `printf '#!/bin/sh\nsetsid sleep 1000 </dev/null >/dev/null 2>&1 &\n' >serve; instead "* * * * * $L web -- $work/serve"; lifeline web -- ./serve 2>/dev/null`,
			want: "it goes into the background by itself", advice: "--leftovers follow"},
		"worker frozen": {breaks: `starts ./serve; freeze $worker`,
			want: "is frozen with its cgroup", advice: "systemctl thaw"},
		"the crontab was removed": {breaks: `lifeline web -- "$work/serve" 'two words' & until_true noted; until_true holds; lifeline terminate web >/dev/null; crontab -r`,
			want: "no line starts web", advice: "lifeline install web -- WORK/serve 'two words'"},
		"cron is stopped": {breaks: `kill -STOP $cron`, want: "is stopped (SIGSTOP): it starts nothing",
			advice: "kill -CONT"},
		"busybox and @": {breaks: `lesser; instead "@daily $L web -- $work/serve"`,
			want: "crashes on a line that begins with @daily", advice: "five fields"},
		"busybox and #": {breaks: `lesser; instead "$never $L web -- $work/serve 'issue #1'"`,
			want: "cuts the command at the #", advice: "script"},
		"bcron and @": {breaks: `bruce; instead "@daily $L web -- $work/serve"`,
			want: "bcron passes over a line that begins with @daily", advice: "five fields"},
		"no line": {breaks: `lifeline uninstall web >/dev/null`, want: "no line starts web",
			advice: "lifeline install web -- COMMAND"},
		"a name misspelt": {breaks: `lifeline uninstall web >/dev/null; lifeline install --schedule "$never" wbe -- ./serve >/dev/null 2>&1`,
			want: "no line starts web", advice: "or is wbe meant?"},
		"no crontab(1)": {breaks: `mount --bind /dev/null "$(command -v crontab)"`,
			want: "cannot read the crontab", more: 1},
		"a word for the shell": {breaks: `instead "$never $L web -- \$HOME/serve"`,
			want: "only a shell can expand $", advice: "write it plainly"},
		"a backward range": {breaks: `instead "5-1 5 1 1 * $L web -- $work/serve"`,
			want: "runs backwards", advice: "crontab -e"},
		"only @reboot": {breaks: `instead "@reboot $L web -- $work/serve"`, want: "has only @reboot",
			advice: "* * * * *"},
		"two lines differ": {breaks: `{ crontab -l; echo "$never $L --respawn web -- $work/serve"; } | crontab -`,
			want: "start web in different ways", advice: "take one of them out"},
		"a marker is gone": {breaks: `crontab -l | sed '/web end/d' | crontab -`,
			want: `no "end" marker`},
		"no newline": {breaks: `printf '%s' "$never $L web -- $work/serve" >$spool`,
			want: "its last line has no newline", advice: "correct that line"},
		"cron.d: mode": {breaks: `crontab -r; lifeline install --cron-d web -- ./serve >/dev/null 2>&1; chmod 666 /etc/cron.d/lifeline-web`,
			want: "others may write it (mode 0666)", advice: "chmod 644"},
		"cron.d: owner": {breaks: `crontab -r; lifeline install --cron-d web -- ./serve >/dev/null 2>&1; chown 65534 /etc/cron.d/lifeline-web`,
			want: "it belongs to uid 65534", advice: "chown root"},
		"cron.d: name": {breaks: `crontab -r; lifeline install --cron-d web -- ./serve >/dev/null 2>&1; mv /etc/cron.d/lifeline-web /etc/cron.d/lifeline.web`,
			want: "other characters than letters", advice: "rename"},
		"cron.d: no newline": {breaks: `crontab -r; printf '%s' "$never root $L web -- $work/serve" >/etc/cron.d/lifeline-web`,
			want: "its last line has no newline", advice: "correct that line"},
		"no such shell": {breaks: `{ echo SHELL=/bin/nosuch; crontab -l; } | crontab -`,
			want: "its SHELL is /bin/nosuch", advice: "SHELL="},
		"another line of its file": {breaks: `crontab -r; printf '%s\n' "$never root $L web -- $work/serve" "99 * * * * root true" >/etc/cron.d/lifeline-web`,
			want: "line 2 has \"99\" for the minute, and Debian's cron then ignores all of the file", advice: "correct that line: edit /etc/cron.d/lifeline-web"},
		"another line's user": {breaks: `crontab -r; printf '%s\n' "$never root $L web -- $work/serve" "$never nosuch true" >/etc/cron.d/lifeline-web`,
			want: "line 2 names the user \"nosuch\", whom this machine doesn't know", advice: "correct that line"},
		"another line of the crontab": {breaks: `printf '%s\n' "$never $L web -- $work/serve" "export A=b" >$spool`,
			want: "line 2 has \"export\" for the minute", advice: "crontab -e"},
		"the crontab's mode": {breaks: `printf '%s\n' "$never $L web -- $work/serve" >$spool; chmod 644 $spool`,
			want: "has mode 0644, and cron takes only 0600", advice: "chmod 600"},
		"the crontab's link": {breaks: `chmod 600 $spool; ln $spool $spool.more`,
			want: "has 2 names (hard links), and cron then ignores it", advice: "crontab -e", more: 1},
		"cron.d: hard link": {breaks: `crontab -r; lifeline install --cron-d web -- ./serve >/dev/null 2>&1; mkdir /etc/cron.d/old; ln /etc/cron.d/lifeline-web /etc/cron.d/old/`,
			want: "it has 2 names (hard links)", advice: "copy it"},
		"cron.d: link to another's": {breaks: `crontab -r; printf '%s\n' "$never root $L web -- $work/serve" >tab; chown 65534 tab; ln -s $work/tab /etc/cron.d/lifeline-web`,
			want: "it belongs to uid 65534", advice: "chown root"},
		"cron was killed, its jobs live": {breaks: `instead "* * * * * $L web -- $work/serve"; kill -9 $cron; wait $cron || :; setpriv perl -e '$0="/usr/sbin/CRON -f"; open(F,">/proc/self/comm"); print F "cron"; close F; sleep 1000' & until_true named $! cron`,
			want: "no cron daemon runs here", advice: "start it"},
		"only a container's cron": {breaks: `kill $cron; wait $cron || :; unshare --pid --fork --mount-proc sh -c 'touch inside; exec cron -f' >/dev/null 2>&1 & until_true sh -c 'for p in /proc/[0-9]*; do grep -qsx cron $p/comm && exit 0; done; exit 1'`,
			want: "no cron daemon runs here", advice: "start it"},
		"SHELL=/bin/false": {breaks: `{ echo SHELL=/bin/false; crontab -l; } | crontab -`,
			want: "its SHELL is /bin/false, which runs no command", advice: "SHELL="},
		"SHELL=sh": {breaks: `{ echo SHELL=sh; crontab -l; } | crontab -`,
			want: "its SHELL is sh, which is no path", advice: "SHELL="},
		"CRON_TZ": {breaks: `{ echo CRON_TZ=Asia/Tokyo; crontab -l; } | crontab -`,
			want: "CRON_TZ=Asia/Tokyo, which this cron doesn't know", advice: "machine's zone"},
		"a user where none goes": {breaks: `instead "$never root $L web -- $work/serve"`,
			want: "begins with root, and lifeline isn't reached", advice: "correct it"},
		"a condition": {breaks: `instead "$never test -x /nowhere && $L web -- $work/serve"`,
			want: "only where `test -x /nowhere` holds, which it doesn't now", advice: "see to that"},
		"commented out": {breaks: `crontab -l | sed 's/^0/#0/' | crontab -`, want: "is commented out",
			advice: "lifeline enable web"},
		"the disk is full": {breaks: `mkdir -m 700 /run/lifeline; mount -t tmpfs -o size=64k,mode=700 none /run/lifeline; lifeline web -- true; cat /dev/zero >/run/lifeline/filler 2>/dev/null || :`,
			want: "is full: no state and no history can be written", advice: "df /run/lifeline"},
		"the log's disk is full": {breaks: `mkdir logs; mount -t tmpfs -o size=64k none logs; cat /dev/zero >logs/filler 2>/dev/null || :; instead "$never $L --log $work/logs/web web -- $work/serve"`,
			want: "the file system of --log WORK/logs/web is full", advice: "df WORK/logs"},
		"pings don't get through": {
			breaks: `instead "$never $L --ping-url https://ping.example/x web -- $work/serve"; lifeline web -- true
echo "told: the ping (0) didn't get through: ping.example: no such host" >${lock%.lock}.ping`,
			want: "pings: the ping (0) didn't get through: ping.example: no such host", advice: "--ping-url is right"},
		"a user's option for root": {
			breaks: `instead "$never $L --nice -5x web -- $work/serve"`, want: "is refused by lifeline", advice: "crontab -e"},
		"it runs something else": {breaks: `starts sleep 1000`, want: "it runs `sleep 1000`, and line",
			advice: "lifeline restart web takes what the crontab has"},
		"it runs with other options": {breaks: `starts ./serve; { echo "$never $L --respawn web -- $work/serve"; } | crontab -`,
			want: "it runs with the options \"\", and line 1 of your crontab has \"--respawn\"", advice: "lifeline restart web takes what the crontab has"},
		"MAILTO is empty": {breaks: `{ echo 'MAILTO=""'; crontab -l; } | crontab -; lifeline web -- sh -c 'exit 3' || :`,
			want: "the last one: exit 3", advice: "because the crontab has MAILTO=\"\": give it --log FILE"},
		"its log": {breaks: `instead "$never $L --log $work/log web -- $work/serve"; lifeline --log $work/log web -- sh -c 'exit 3' || :`,
			want: "the last one: exit 3", advice: "lifeline logs web"},
		"an unknown option": {breaks: `instead "$never $L --repsawn web -- $work/serve"`,
			want: "there is no option --repsawn: did you mean --respawn?", advice: "correct it"},
		"a wrong value": {breaks: `instead "$never $L --max-runtime 10 web -- $work/serve"`,
			want: "--max-runtime 10", advice: "correct it"},
		"run, without guard": {breaks: `instead "$never $L run web -- $work/serve"`, want: "which guards",
			advice: "correct it"},
		"lifeline is gone": {breaks: `instead "$never /nowhere/lifeline web -- $work/serve"`,
			want: "can't start lifeline itself: /nowhere/lifeline", advice: "write its path"},
		"lifeline isn't on PATH": {breaks: `instead "$never lifeline web -- $work/serve"`,
			want: "lifeline: command not found on PATH=/usr/bin:/bin", advice: "write its path"},
		"no home": {breaks: `{ echo HOME=/nowhere; crontab -l; } | crontab -`,
			want: "starts in /nowhere, which is no directory", advice: "make it"},
		"cd to nowhere": {breaks: `instead "$never cd /nowhere && $L web -- $work/serve"`,
			want: "starts in /nowhere, which is no directory", advice: "make it"},
		"the command is gone": {breaks: `rm serve`, want: "WORK/serve: no such command",
			advice: "put it there"},
		"not executable": {breaks: `chmod -x serve`, want: "permission denied; chmod +x",
			advice: "correct the line"},
		"a directory": {breaks: `rm serve; mkdir serve`, want: "is a directory"},
		"no #!": {breaks: `echo sleep 1000 >serve; mount -t tmpfs none /proc/sys/fs`,
			want: "no #! in its first line"},
		"no interpreter": {breaks: `echo '#!/nowhere/sh' >serve`,
			want: "its interpreter (first line): /nowhere/sh"},
		"CRLF": {breaks: `printf '#!/bin/sh\r\n' >serve`, want: "carriage return"},
		"env's program": {breaks: `printf '#!/usr/bin/env onlyhere\n' >serve`,
			want: "onlyhere: command not found on PATH=/usr/bin:/bin"},
		"not on cron's PATH": {breaks: `instead "$never $L web -- onlyhere"`,
			want: "onlyhere: command not found on PATH=/usr/bin:/bin", advice: "write WORK/bin/onlyhere"},
		"--chdir to nowhere": {breaks: `instead "$never $L --chdir /nowhere web -- $work/serve"`,
			want: "--chdir /nowhere", advice: "make it"},
		"no --env-file": {breaks: `instead "$never $L --env-file $work/vars web -- $work/serve"`,
			want: "--env-file WORK/vars can't be read"},
		"a bad --env-file": {breaks: `echo nonsense >vars; instead "$never $L --env-file $work/vars web -- $work/serve"`,
			want: "line 1", advice: "correct that line"},
		"no directory for --log": {breaks: `instead "$never $L --log /nowhere/log web -- $work/serve"`,
			want: "--log /nowhere/log can't be made", advice: "make its directory"},
		"--log a directory": {breaks: `instead "$never $L --log $work web -- $work/serve"`,
			want: "--log WORK is neither a file", advice: "correct --log"},
		"--log read-only": {breaks: `mkdir ro; touch ro/log; mount --bind ro ro; mount -o remount,ro,bind ro; instead "$never $L --log $work/ro/log web -- $work/serve"`,
			want: "--log WORK/ro/log can't be written", advice: "correct --log"},
		"no lifeline-remote, pings": {breaks: `mkdir own; cp $L own/; instead "$never $work/own/lifeline --ping-url https://ping.example/x web -- $work/serve"`,
			want: "no pings are sent", advice: "install it there"},
		"no lifeline-remote, cluster": {breaks: `mkdir own; cp $L own/; instead "$never $work/own/lifeline --cluster etcd://localhost:2379 web -- $work/serve"`,
			want: "nothing is started", advice: "install it there"},
		"options that don't go together": {breaks: `instead "$never $L --exec --quiet web -- $work/serve"`,
			want: "is refused by lifeline: --exec", advice: "correct it"},
		"two directories": {breaks: `export LIFELINE_DIR=$work/elsewhere`,
			want: "works in /run/lifeline, and you look in WORK/elsewhere", advice: "unset LIFELINE_DIR"},
		"directory open": {breaks: `lifeline web -- true; chmod 777 /run/lifeline`,
			want: "may be written by others (mode 0777)", advice: ""},
		"directory a link": {breaks: `mkdir -m 700 real; ln -s $work/real /run/lifeline`,
			want: "is a symbolic link"},
		"directory a file": {breaks: `touch /run/lifeline`, want: "is not a directory"},
		"directory another's": {breaks: `lifeline web -- true; chown 65534 /run/lifeline`,
			want: "belongs to uid 65534"},
		"directory read-only": {breaks: `mkdir -m 700 /run/lifeline; mount -t tmpfs -o ro,mode=700 none /run/lifeline`,
			want: "can't be written: read-only file system"},
		"directory can't be made": {breaks: `mount --bind /run /run; mount -o remount,ro,bind /run`,
			want: "can't be made in /run: read-only file system"},
		"no inode": {breaks: `mkdir -m 700 /run/lifeline; mount -t tmpfs -o nr_inodes=1,mode=700 none /run/lifeline`,
			want: "has no inode left"},
		"open above": {breaks: `mkdir open; chmod 777 open; export LIFELINE_DIR=$work/open/state; instead "LIFELINE_DIR=$LIFELINE_DIR" "$never $L web -- $work/serve"`,
			want: "may be written by every user (mode 0777)"},
		"another above": {breaks: `mkdir theirs; chown 65534 theirs; export LIFELINE_DIR=$work/theirs/state; instead "LIFELINE_DIR=$LIFELINE_DIR" "$never $L web -- $work/serve"`,
			want: "belongs to uid 65534, who can put another"},
		"lock file a link": {breaks: `lifeline web -- true; rm $lock; ln -s /etc/passwd $lock`,
			want: "is a symbolic link"},
		"lock file a FIFO": {breaks: `lifeline web -- true; rm $lock; mkfifo $lock`, want: "is a FIFO"},
		"run file another's": {breaks: `lifeline web -- true; chown 65534 $run`,
			want: "belongs to uid 65534, not to uid 0"},
		"run file twice": {breaks: `lifeline web -- true; ln $run /run/lifeline/more`,
			want: "has 2 links"},
		"record damaged": {breaks: `lifeline web -- true; printf XXXX | dd of=$run conv=notrunc 2>/dev/null`,
			want: "can't be read: who the instance is", advice: "rm /run/lifeline/web-"},
		"record of elsewhere": {breaks: `unshare --pid --fork --mount-proc lifeline web -- true`,
			want: "written in another pid namespace", advice: "a state directory of its own"},
		"the lock was lost": {breaks: `starts ./serve; kill -STOP $sup; until_true sh -c "! cat /proc/$sup/task/*/status | grep ^State: | grep -vq T"; rm $lock`,
			want: "doesn't hold the lock", advice: "it puts its lock file back", more: 1},
		"lock held by another": {breaks: `lifeline web -- true; flock $lock sleep 1000 & until_true sh -c "! flock -n $lock true"`,
			want: "which isn't lifeline: nothing can start", advice: "kill"},
		"run file held": {breaks: `lifeline web -- true; flock $run sleep 1000 & until_true sh -c "! flock -n $run true"`,
			want: "shows nothing of web", advice: "kill"},
		"paused": {breaks: `lifeline pause web >/dev/null`, want: "it is paused",
			advice: "lifeline resume web"},
		"paused for a while": {breaks: `lifeline pause web --for 1h >/dev/null`,
			want: "it is paused, so cron starts nothing, until", advice: "lifeline resume web"},
		"pause can't be read": {breaks: `mkdir -m 700 -p /run/lifeline; ln -s nowhere ${lock%.lock}.paused`,
			want: "cannot tell whether it is paused", advice: "lifeline resume web"},
		"supervisor stopped": {breaks: `starts ./serve; kill -STOP $sup`, want: "its supervisor",
			advice: "kill -CONT"},
		"worker stopped": {breaks: `starts ./serve; kill -STOP $worker`,
			want: "it lives, so nothing else is started", advice: "kill -CONT"},
		"the last run failed": {breaks: `lifeline web -- sh -c 'exit 3' || :`, want: "the last one: exit 3",
			advice: "lifeline history web"},
		"due while cron was down": {breaks: `instead "$(date -d '2 hours ago' '+%M %H') * * * $L web -- $work/serve"; lifeline web -- true; touch -d '26 hours ago' /var/lib/lifeline/web-* /run/lifeline/web-* $spool`,
			want: "when the machine or its cron wasn't up (it is since ", advice: "lifeline start web starts it now"},
		"the last three failed": {breaks: `for i in 1 2 3; do lifeline web -- sh -c 'exit 4' || :; done`,
			want: "the last 3 failed, since ", advice: "what it printed is lost, because cron finds " +
				"no /usr/sbin/sendmail"},
		"the last was killed": {breaks: `lifeline web -- sh -c 'kill -9 $$' 2>/dev/null || :`,
			want: "the last one: SIGKILL", advice: "when memory ran out"},
		"the last never started": {breaks: `lifeline web -- nosuch 2>/dev/null || :`,
			want: "couldn't start (127)", advice: "give its whole path"},
		"simulate: another environment": {breaks: `printf '#!/bin/sh\n[ -n "$NEEDED" ] || { echo "NEEDED is not set" >&2; exit 5; }\n' >serve; export NEEDED=1; ./serve`,
			options: "--simulate", want: "it ended with 5", advice: "env -i"},
		"simulate: what it calls": {breaks: `printf '#!/bin/sh\nexec onlyhere\n' >serve`, options: "--simulate",
			want: "it ended with 127", advice: "put PATH= into the crontab"},
		"simulate: again and again": {breaks: `instead "$never $L --respawn --respawn-delay 100ms web -- /bin/sh -c 'echo no; exit 3'"`,
			options: "--simulate --for 2s", want: "times within 2s, at first: exit 3; it said: no", advice: "what it printed is lost, because cron finds no /usr/sbin/sendmail"},
		"simulate: never starts": {breaks: `instead "$never sleep 60; $L web -- $work/serve"`,
			options: "--simulate --for 1s", want: "after 1s nothing of it ran yet", advice: "by hand"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			said := inWard(t, tt.breaks, tt.options)
			wrong := strings.Count(said, "\nWRONG") + strings.Count(said[:min(len(said), 5)], "WRONG")
			line, rest := "", said
			for l := range strings.Lines(said) {
				_, rest, _ = strings.Cut(rest, "\n")
				if strings.HasPrefix(l, "WRONG") && strings.Contains(l, tt.want) {
					line = l
					break
				}
			}
			advice, _, _ := strings.Cut(rest, "\n")
			switch {
			case line == "":
				t.Errorf("it doesn't find %q:\n%s", tt.want, said)
			case wrong != 1+tt.more:
				t.Errorf("%d findings, not %d:\n%s", wrong, 1+tt.more, said)
			case tt.advice == "" && !strings.HasPrefix(advice, "       -> ") &&
				!regexp.MustCompile(`remove|rm /|give|chmod|put the marker|install cron`).MatchString(line):
				t.Errorf("it doesn't say what to do: %q", line)
			case tt.advice != "" && (!strings.HasPrefix(advice, "       -> ") || !strings.Contains(advice, tt.advice)):
				t.Errorf("the advice is %q, without %q", advice, tt.advice)
			case !strings.HasSuffix(said, "\ncode 1\n"):
				t.Errorf("the exit code isn't 1:\n%s", said)
			}
		})
	}
}

// TestSimulateIsCron compares cron's environment, as --simulate knows it, with what a
// real cron gives.
func TestSimulateIsCron(t *testing.T) {
	said := inWard(t, `
kill $cron; wait $cron || :
printf '#!/bin/sh\n{ env; echo umask=$(umask); echo tty=$(ps -o tty= -p $$); echo pwd=$(pwd); echo arg0=$(tr "\\0" " " </proc/$PPID/cmdline | cut -c 1-10); } | grep -v -e ^LIFELINE_ -e ^_= -e ^OLDPWD= -e ^PWD= | sort >$1.new\nmv $1.new $1\n' >serve
chmod +x serve
instead "A=b c" 'MAILTO=""' "LOGNAME=other" "HOME=/usr" "@reboot exec $L web -- $work/serve $work/real"
rm -f /run/crond.reboot
printf 'FROM_PAM="two words"\nA=not this\nPATH=/nor/this\n' >environment
printf 'LANG=C.UTF-8\n' >locale
[ ! -e /etc/environment ] || mount --bind environment /etc/environment
[ ! -e /etc/default/locale ] || mount --bind locale /etc/default/locale
export STRANGE=1 LANG=C PATH
umask 022
cron -f >cron.out 2>&1 &
until_true [ -e real ]
until_true sh -c '! lifeline -v web -- true 2>&1 | grep -q runs'
instead "A=b c" 'MAILTO=""' "LOGNAME=other" "HOME=/usr" "$never exec $L web -- $work/serve $work/simulated"
lifeline doctor --simulate web
echo "--- what differs:"; diff real simulated && echo nothing
echo "--- real:"; cat real
`, "")
	if !strings.Contains(said, "--- what differs:\nnothing\n") || !strings.Contains(said, "\nFROM_PAM=two words\n") &&
		exists("/etc/environment") && exists("/etc/pam.d/cron") || !strings.Contains(said, "\nHOME=/usr\n") ||
		!strings.Contains(said, "\nA=b c\n") {
		t.Errorf("%s", said)
	}
}

// TestInstallKnowsLesserCrons checks install where the only cron daemon is a lesser
// one. One of busybox's dies of an @. bcron knows no @ word, and never started what
// --schedule @daily installed.
func TestInstallKnowsLesserCrons(t *testing.T) {
	for name, tt := range map[string]struct{ breaks, want string }{
		"@reboot is left out": {`lesser; lifeline uninstall web; lifeline install web -- ./serve; crontab -l | grep -c @`,
			"web: left out the @reboot line, because this busybox crond crashes on a line that begins with @reboot, " +
				"and then runs nothing at all; the next minute after a boot starts it\n0\n"},
		"bcron's @reboot": {`bruce; lifeline uninstall web; lifeline install web -- ./serve; crontab -l | grep -c @`,
			"web: left out the @reboot line, because bcron passes over a line that begins with @reboot; the next " +
				"minute after a boot starts it\n0\n"},
		"bcron's @daily": {`bruce; lifeline install --schedule @daily web -- ./serve; echo $?`,
			"web: bcron passes over a line that begins with @daily: give the schedule in five fields"},
		"bcron's /etc/cron.d": {`bruce; lifeline install --cron-d web -- ./serve 'issue #1' && echo fine`, "fine\n"},
		"asked for": {`lesser; lifeline uninstall web; lifeline install --no-reboot web -- ./serve && echo fine`,
			"fine\n"},
		"@daily is refused": {`lesser; lifeline install --schedule @daily web -- ./serve; echo $?`,
			"crashes on a line that begins with @daily, and then runs nothing at all: give the " +
				"schedule in five fields"},
		"# is refused": {`lesser; lifeline install web -- ./serve 'issue #1' || echo refused $?`,
			"put the command into a script, and give that\nrefused 64\n"},
		"--cron-d is refused": {`lesser; lifeline install --cron-d web -- ./serve || echo refused $?`,
			"which doesn't read /etc/cron.d: leave out --cron-d\nrefused 64\n"},
		"beside a real one": {`ln -s "$(command -v busybox)" crond; mkdir none; "$work/crond" -f -c "$work/none" & until_true named $! crond; lifeline install web -- ./serve 'issue #1' && crontab -l | grep -c @`,
			"1\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out := inWard(t, "set +e; "+tt.breaks+"; echo; exit", "")
			plain := regexp.MustCompile(`web: installed.*\n`).ReplaceAllString(out, "")
			if !strings.Contains(plain, tt.want) {
				t.Errorf("it must say %q:\n%s", tt.want, out)
			}
		})
	}
}

// TestInstallKnowsUsers checks that install refuses a user that isn't there, who would
// make cron ignore the whole file.
func TestInstallKnowsUsers(t *testing.T) {
	out := inWard(t, `set +e; lifeline install --cron-d --user nosuchuser web -- ./serve; echo "code $?"; ls /etc/cron.d; exit`,
		"")
	if !strings.Contains(out, "--user nosuchuser: this machine has no such user") ||
		!strings.HasSuffix(out, "code 64\n") {
		t.Errorf("%s", out)
	}
}

// TestMemorySurvivesAReboot checks that journals and pauses of root's names survive a
// reboot: a fresh /run, and another boot id. Others read them where the administrator
// lets them.
func TestMemorySurvivesAReboot(t *testing.T) {
	out := inWard(t, `set +e
starts ./serve
lifeline pause --for 9h app
lifeline --state-group daemon job -- true
kill -9 $sup $worker; wait $sup
umount /run; mount -t tmpfs -o mode=755 none /run
sed 's/^......../00000000/' /proc/sys/kernel/random/boot_id >boot; mount --bind boot /proc/sys/kernel/random/boot_id
lifeline status | sed 's/  */ /g'
lifeline check --max-age 25h job; echo "check $?"
lifeline app -- touch started; ls started 2>&1
lifeline --orphans terminate web -- true; lifeline history web
stat -c '%A %G' /var/lib/lifeline /var/lib/lifeline/job-*
mkdir own; cp $L own/lifeline; chmod 755 own own/lifeline
setpriv --reuid=daemon --regid=daemon --clear-groups own/lifeline check --state-dir /var/lib/lifeline --max-age 25h job; echo "theirs $?"
setpriv --reuid=65534 --regid=65534 --clear-groups own/lifeline check --state-dir /var/lib/lifeline --max-age 25h job; echo "others' $?"
exit`, "")
	for _, want := range []string{
		"\napp paused", "\njob not running", "\nLIFELINE OK - job: last success", "check 0\n", "cannot access 'started'",
		"the machine went down", "drwxr-s--- daemon\n-rw-r----- daemon\n-rw-r----- daemon\n", "theirs 0\n", "others' 3\n",
	} {
		if !strings.Contains(out, want) {
			t.Errorf("it doesn't say %q:\n%s", want, out)
		}
	}
}

// TestDoctorLooksAtAll checks that doctor without a name looks at all that are known.
func TestDoctorLooksAtAll(t *testing.T) {
	out := inWard(t, `set +e; lifeline install --schedule "$never" --no-reboot app -- ./gone >/dev/null 2>&1; lifeline other -- true; lifeline doctor; echo "code $?"; exit`,
		"")
	for _, want := range []string{"\napp\n", "WORK/gone: no such command", "\nother\n",
		"no line starts other", "\nweb\n",
		"WORK/serve is found", "\n2 things are wrong\ncode 1\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("it doesn't say %q:\n%s", want, out)
		}
	}
	if n := strings.Count(out, "directory: "); n != 1 {
		t.Errorf("the directory is looked at %d times:\n%s", n, out)
	}
	out = inWard(t, `set +e; crontab -r; lifeline install --cron-d --user daemon web -- ./serve >/dev/null 2>&1; `+
		`lifeline status web; lifeline doctor web; echo "code $?"; exit`, "")
	if !strings.Contains(out, "it is a name of daemon's: lifeline status --all-users web\n") ||
		!strings.Contains(out, "\ndaemon: web\n") || !strings.HasSuffix(out, "\nnothing is wrong, but nothing shows yet "+
		"that cron starts daemon's web: look again after its next tick\ncode 0\n") {
		t.Errorf("of another user's line it says:\n%s", out)
	}
	if out := inWard(t, `set +e; crontab -r; rm -rf /run/lifeline; lifeline doctor; echo "code $?"; exit`,
		""); !strings.Contains(out, "nothing has ever been here\n       -> lifeline install") ||
		!strings.HasSuffix(out, "\ncode 1\n") {
		t.Errorf("with nothing there:\n%s", out)
	}
}

// TestDoctorForAUser checks that an ordinary user, who sees less of the machine, is
// told the same.
func TestDoctorForAUser(t *testing.T) {
	const as = `set +e; mkdir own; cp $L own/lifeline; chmod 755 own/lifeline
user() { setpriv --reuid=daemon --regid=daemon --init-groups env LIFELINE_DIR= HOME=/ "$@"; }
user own/lifeline install --schedule "$never" --no-reboot job -- "$work/serve"; `
	for name, tt := range map[string]struct{ breaks, want string }{
		"all is well": {`user own/lifeline job -- true; user own/lifeline doctor job; echo "code $?"`,
			"nothing is wrong that daemon can see; root sees more: sudo lifeline doctor job\ncode 0\n"},
		"cron": {`kill $cron; wait $cron; user own/lifeline doctor job; echo "code $?"`,
			"no cron daemon runs here"},
		"root's file": {`user own/lifeline job -- true; chown root /var/tmp/lifeline-1/job-*.lock; user own/lifeline doctor job`,
			"belongs to uid 0, not to uid 1: refused; rm /var/tmp/lifeline-1/job-"},
		"root has taken it": {`user own/lifeline job -- true; chown root /var/tmp/lifeline-1; user own/lifeline doctor job`,
			"belongs to uid 0, not to uid 1: refused"},
		"root's lock": {`user own/lifeline job -- true; flock /var/tmp/lifeline-1/job-*.lock sleep 1000 & until_true sh -c '! flock -n /var/tmp/lifeline-1/job-*.lock true'; user own/lifeline doctor job`,
			"is held by"},
		"not for him": {`chmod 700 serve; user own/lifeline doctor job`, "permission denied"},
		"simulate": {`user own/lifeline doctor --simulate --for 1s job; echo "code $?"`,
			"started and lived for 1s; it was ended again"},
		"busybox": {`lesser; user own/lifeline install job -- "$work/serve" 'issue #1' || echo "refused $?"`,
			"refused 64\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if out := inWard(t, as+tt.breaks+"; echo; exit", ""); !strings.Contains(out, tt.want) {
				t.Errorf("it must say %q:\n%s", tt.want, out)
			}
		})
	}
}
