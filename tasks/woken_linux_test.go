package tasks_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestWokenEngineer has a woken engineer type lifeline status, then lifeline doctor.
// The cause stands on the screen after at most these two, whatever is broken.
func TestWokenEngineer(t *testing.T) {
	var table strings.Builder
	for _, tt := range []struct{ machine, breaks, cause string }{
		{"cron was killed", `kill -9 $cron; wait $cron || :`, `no cron daemon runs here`},
		{"cron is stopped", `kill -STOP $cron`, `is stopped \(SIGSTOP\): it starts nothing`},
		{"it was paused and forgotten", `lifeline pause web >/dev/null`, `paused`},
		{"a line was commented out by hand", `crontab -l | sed 's/^0/#0/' | crontab -`, `is commented out`},
		{"the deployment moved the program", `mv serve serve.old`, `WORK/serve`},
		{"it fails since the deployment",
			`printf '#!/bin/sh\nexit 3\n' >serve; for i in 1 2 3; do lifeline web -- ./serve || :; done`, `failing since|exit 3`},
		{"the disk of the log is full",
			`mkdir logs; mount -t tmpfs -o size=64k none logs; cat /dev/zero >logs/x 2>/dev/null || :; lifeline install --log $work/logs/web --schedule "$never" web -- $work/serve >/dev/null`, `file system of --log WORK/logs/web is full`},
		{"the password of root has expired", `cp -a /etc etc; mount --bind etc /etc; chage -d 0 root`,
			`password must be changed`},
		{"another line spoils the file", `cp $spool x; printf '99 * * * * true\n' >>x; cat x >$spool`,
			`line 4 has "99" for the minute`},
		{"the spool file's mode", `chmod 644 $spool`, `mode 0644, and cron takes only 0600`},
		{"the supervisor is stopped", `starts ./serve; kill -STOP $sup`, `its supervisor, pid \d+, is stopped`},
		{"an old version runs", `starts sleep 1000`, "it runs `sleep 1000`, and line"},
		{"a stranger holds the lock",
			`lifeline web -- true; flock $lock sleep 1000 & until_true sh -c '! flock -n '$lock' true'`, `is held by pid \d+.*isn't lifeline`},
		{"the state directory is another's", `lifeline web -- true; chown 1 /run/lifeline`, `belongs to uid 1`},
		{"cron is frozen", `freeze $cron`, `frozen with its cgroup`},
		{"the worker is frozen", `starts ./serve; freeze $worker`, `frozen with its cgroup`},
		{"cron may start no process", `again prlimit --nofile=64 cron -f; group pids; echo $cron >$group/cgroup.procs; echo 1 >$group/pids.max`,
			`may have 1 processes and threads`},
		{"the spool was mounted over", `cp $spool saved; mount -t tmpfs none /var/spool/cron; mkdir -p ${spool%/*}; chgrp crontab ${spool%/*}; chmod 1730 ${spool%/*}; crontab saved`,
			`looks into another /var/spool/cron/crontabs`},
		{"crontab -r was typed", `lifeline web -- true; crontab -r`, `no line starts web`},
		{"a worker ignores the signal", `printf '#!/bin/sh\ntrap "" TERM; touch deaf; while :; do sleep 1; done\n' >serve; lifeline --kill-after 9h web -- ./serve & until_true test -e deaf; until_true noted; timeout 1 lifeline terminate web || :; sleep 11`,
			`was asked to end`},
		{"a shared library is gone", `cp "$(command -v sleep)" serve; perl -pi -e 's/libc\.so\.6/libq.so.6/' serve; instead "$never $L web -- $work/serve"; lifeline web -- ./serve 2>/dev/null || :`,
			`it needs libq\.so\.6, which isn't there`},
		{"another user's program is gone", `crontab -r; lifeline install --cron-d --user daemon web -- ./serve >/dev/null 2>&1; rm serve`,
			`WORK/serve: no such command`},
		{"the daemon detaches itself", `printf '#!/bin/sh\nsetsid sleep 1000 </dev/null >/dev/null 2>&1 &\n' >serve; instead "* * * * * $L web -- $work/serve"; lifeline web -- ./serve 2>/dev/null`,
			`it goes into the background by itself`},
	} {
		said := inWard(t, tt.breaks+"\necho '--- one'; lifeline status web || :; echo '--- two'; lifeline doctor web "+
			"|| :; echo '--- end'", "")
		_, said, _ = strings.Cut(said, "--- one\n")
		first, rest, _ := strings.Cut(said, "--- two\n")
		second, _, _ := strings.Cut(rest, "--- end")
		cause := regexp.MustCompile(tt.cause)
		commands := 0
		switch {
		case cause.MatchString(first):
			commands = 1
		case cause.MatchString(second):
			commands = 2
		default:
			t.Errorf("%s: the cause isn't on the screen after two commands:\n%s\n%s", tt.machine, first, second)
		}
		if !strings.Contains(second, "->") && !strings.Contains(second, "; ") {
			t.Errorf("%s: doctor doesn't say what to do:\n%s", tt.machine, second)
		}
		fmt.Fprintf(&table, "%-36s %d\n", tt.machine, commands)
	}
	t.Log("commands until the cause is on the screen:\n" + table.String())
}
