package cron

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/build"
	"lifeline/proof/need"
)

// scene is a file in /etc/cron.d that may be broken. @ stands for the line that
// starts the scene's own name, up to the command's end.
type scene struct {
	name, text string
	after      string // shell, with $f for the file
}

// scenes are what crontab managers and people have left in /etc/cron.d.
var scenes = []scene{
	{name: "good", text: "* * * * * root @\n"},
	{name: "badminute", text: "* * * * * root @\n99 * * * * root true\n"},
	{name: "prose", text: "* * * * * root @\nhello world\n"},
	{name: "unknownuser", text: "* * * * * root @\n* * * * * nosuchuser true\n"},
	{name: "nouser", text: "* * * * * @\n"},
	{name: "othernouser", text: "* * * * * root @\n* * * * * true\n"},
	{name: "usertwice", text: "* * * * * root root @\n"},
	{name: "nonewline", text: "* * * * * root @"},
	{name: "endcomment", text: "* * * * * root @\n# the end"},
	{name: "endsetting", text: "* * * * * root @\nA=b"},
	{name: "dot", text: "* * * * * root @\n", after: `mv $f $f.conf`},
	{name: "tilde", text: "* * * * * root @\n", after: `mv $f $f~`},
	{name: "mode666", text: "* * * * * root @\n", after: `chmod 666 $f`},
	{name: "mode664", text: "* * * * * root @\n", after: `chmod 664 $f`},
	{name: "mode755", text: "* * * * * root @\n", after: `chmod 755 $f`},
	{name: "mode400", text: "* * * * * root @\n", after: `chmod 400 $f`},
	{name: "owner", text: "* * * * * root @\n", after: `chown 1 $f`},
	{name: "hardlink", text: "* * * * * root @\n", after: `mkdir -p /etc/cron.d/old; ln $f /etc/cron.d/old/x`},
	{name: "symlink", text: "* * * * * root @\n", after: `mv $f target1; ln -s $PWD/target1 $f`},
	{name: "symlinkowner", text: "* * * * * root @\n", after: `mv $f target2; chown 1 target2; ln -s $PWD/target2 $f`},
	{name: "symlinkmode", text: "* * * * * root @\n", after: `mv $f target3; chmod 666 target3; ln -s $PWD/target3 $f`},
	{name: "shellfalse", text: "SHELL=/bin/false\n* * * * * root @\n"},
	{name: "shellnologin", text: "SHELL=/usr/sbin/nologin\n* * * * * root @\n"},
	{name: "shellgone", text: "SHELL=/bin/gone\n* * * * * root @\n"},
	{name: "shellword", text: "SHELL=sh\n* * * * * root @\n"},
	{name: "pathvar", text: "PATH=/nonexistent:$PATH\n* * * * * root @\n"},
	{name: "pathquoted", text: "PATH=\"/usr/bin:/bin\"\n* * * * * root @\n"},
	{name: "crlf", text: "* * * * * root @\r\n"},
	{name: "crlfblank", text: "\r\n* * * * * root @\n"},
	{name: "bom", text: "\xef\xbb\xbf* * * * * root @\n"},
	{name: "commented", text: "#* * * * * root @\n"},
	{name: "homegone", text: "HOME=/nowhere\n* * * * * root @\n"},
	{name: "weekday8", text: "* * * * 8 root @\n"},
	{name: "backwards", text: "59-0 * * * * root @\n"},
	{name: "feb30", text: "* * 30 2 * root @\n"},
	{name: "sixfields", text: "0 * * * * * root @\n"},
	{name: "everyminute", text: "@every_minute root @\n"},
	{name: "sometimes", text: "* * * * * root @\n@sometimes root true\n"},
	{name: "longline", text: "* * * * * root @; : " + strings.Repeat("x", 1200) + "\n"},
	{name: "otherlong", text: "* * * * * root @\n* * * * * root : " + strings.Repeat("x", 1200) + "\n"},
	{name: "dash", text: "-* * * * * root @\n"},
	{name: "stepzero", text: "* * * * * root @\n*/0 * * * * root true\n"},
	{name: "nocommand", text: "* * * * * root @\n* * * * * root\n"},
	{name: "export", text: "export A=b\n* * * * * root @\n"},
	{name: "emptysetting", text: "MAILTO=\n* * * * * root @\n"},
	{name: "emptyquoted", text: "MAILTO=\"\"\n* * * * * root @\n"},
	{name: "emptyblank", text: "MAILTO = \t\n* * * * * root @\n"},
	{name: "formfeed", text: "\fA=b\n* * * * * root @\n"},
	{name: "longsetting", text: "A=" + strings.Repeat("x", 1200) + "\n* * * * * root @\n"},
	{name: "longquoted", text: "A='" + strings.Repeat("x", 1200) + "'\n* * * * * root @\n"},
	{name: "nulsetting", text: "A=b\x00c\n* * * * * root @\n"},
	{name: "condition", text: "* * * * * root test -e /nowhere && @\n"},
	{name: "percent", text: "* * * * * root @%x\n"},
	{name: "mailto", text: "MAILTO=\"\"\n* * * * * root @\n"},
	{name: "cdnowhere", text: "* * * * * root cd /nowhere && @\n"},
	{name: "wrongoption", text: "* * * * * root LIFELINE --repsawn wrongoption -- touch DIR/ran/wrongoption\n"},
	{name: "gone", text: "* * * * * root /nowhere/lifeline gone -- touch DIR/ran/gone\n"},
	{name: "commandgone", text: "* * * * * root LIFELINE commandgone -- touchh DIR/ran/commandgone\n"},
	{name: "quote", text: "* * * * * root LIFELINE quote -- touch 'DIR/ran/quote\n"},
}

// TestBrokenCrontabs asks doctor in every scene before cron's next minute. doctor must
// never say "all is well" where cron then starts nothing. Its alarms where cron starts
// the command are counted, and named here.
func TestBrokenCrontabs(t *testing.T) {
	t.Parallel() // beside the other tests that wait for cron's minute
	program, missing := debian()
	if missing == "" {
		missing = machine()
	}
	need.That(t, missing == "", missing)
	need.Time(t, "one of cron's minutes")
	dir, err := os.MkdirTemp("", "broken")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := build.One(filepath.Join(dir, "lifeline"), ".", "urfave_cli_no_docs,osusergo,netgo"); err != nil {
		t.Fatal(err)
	}
	var script strings.Builder
	script.WriteString(`set -e
for d in /run /var/spool/cron /var/lib /etc/cron.d; do mount -t tmpfs -o mode=755 none $d; done
mkdir -p /var/spool/cron/crontabs ran; chgrp crontab /var/spool/cron/crontabs; chmod 1730 /var/spool/cron/crontabs
[ ! -e /etc/crontab ] || mount --bind /dev/null /etc/crontab
`)
	for _, s := range scenes {
		line := "LIFELINE " + s.name + " -- touch DIR/ran/" + s.name
		text := strings.ReplaceAll(s.text, "@", line)
		if strings.HasPrefix(s.text, "@") {
			text = "@" + strings.ReplaceAll(s.text[1:], "@", line)
		} else if s.name == "sometimes" {
			text = strings.Replace(s.text, "@", line, 1)
		}
		text = strings.NewReplacer("LIFELINE", dir+"/lifeline", "DIR", dir).Replace(text)
		if err := os.WriteFile(filepath.Join(dir, s.name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&script, "f=/etc/cron.d/%s; cp %s $f; %s\n", s.name, s.name, s.after)
	}
	script.WriteString(program + ` -f >cron.out 2>&1 &
until [ "$(cat /proc/$!/comm)" = cron ]; do sleep .01; done
# Between two minutes: doctor has the time for all of them.
while s=$(date +%S); s=${s#0}; [ "$s" -lt 3 ] || [ "$s" -gt 10 ]; do sleep .2; done
minute=$(date +%M)
`)
	for _, s := range scenes {
		fmt.Fprintf(&script, "code=0; ./lifeline doctor %s >%s.said || code=$?; echo $code >%s.code\n", s.name, s.name,
			s.name)
	}
	script.WriteString(`[ "$minute" = "$(date +%M)" ] || { echo "doctor took longer than the minute"; exit 3; }
until [ -e ran/good ]; do sleep .05; done
# The other lines of that minute have been started, too; what they start is short.
n=0; while [ $n -lt 100 ] && pgrep -x lifeline >/dev/null; do n=$((n+1)); sleep .05; done
sleep 2
`)
	cmd := exec.Command(unshare[0], append(unshare[1:len(unshare):len(unshare)], "--propagation", "private", "sh", "-c",
		script.String())...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "NO_COLOR=1"}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	// doctor is stricter than cron in these. A carriage return goes to the command,
	// and a HOME or directory that isn't there is no place to work in.
	stricter := map[string]bool{"crlf": true, "homegone": true}
	for _, s := range scenes {
		code, _ := os.ReadFile(filepath.Join(dir, s.name+".code"))
		said, _ := os.ReadFile(filepath.Join(dir, s.name+".said"))
		list, _ := filepath.Glob(filepath.Join(dir, "ran", s.name+"*"))
		ran, content := len(list) > 0, strings.TrimSpace(string(code)) == "0"
		what := "all is well"
		if _, wrong, ok := strings.Cut(string(said), "WRONG"); ok {
			what, _, _ = strings.Cut(strings.TrimSpace(wrong), "\n")
		}
		t.Logf("%-14s ran=%-5v doctor: %s", s.name, ran, what)
		if content && !ran {
			t.Errorf("%s: doctor is content, and cron started nothing:\n%s", s.name, said)
		}
		if !content && ran && !stricter[s.name] {
			t.Errorf("%s: doctor is alarmed, and cron started it:\n%s", s.name, said)
		}
	}
}
