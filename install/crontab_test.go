package install

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"lifeline/proof/need"
)

// fakeCrontab fails in ways the real crontab(1) can't. The shell code in write does a
// write: the new text is its standard input, and $tab its crontab.
func fakeCrontab(t *testing.T, text, write string) (c Crontab, tab string) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("TMPDIR", t.TempDir())
	tab = filepath.Join(dir, "tab")
	program := filepath.Join(dir, "crontab")
	script := `#!/bin/sh
tab='` + tab + `'
case $1 in
-l) [ -e "$tab" ] || { echo "no crontab for you" >&2; exit 1; }; cat "$tab" ;;
-e) $EDITOR "$tab" ;;
-r) rm "$tab" ;;
-) ` + write + ` ;;
esac
`
	if err := os.WriteFile(program, []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if text != "" {
		if err := os.WriteFile(tab, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Crontab{Program: program}, tab
}

func keptFiles(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "*"))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func TestAFailedWriteLosesNothing(t *testing.T) {
	tests := map[string]struct {
		write string
		parts []string
		keeps bool
	}{
		"refused": {`echo "errors in crontab file" >&2; exit 1`,
			[]string{"errors in crontab file", "exit status 1", "unchanged"}, false},
		"midway":         {`head -c 5 >"$tab"; exit 1`, []string{"exit status 1", "damaged"}, true},
		"cut, no error":  {`head -c 5 >"$tab"`, []string{"reported success", "damaged"}, true},
		"nothing done":   {`cat >/dev/null`, []string{"reported success", "unchanged"}, false},
		"killed":         {`: >"$tab"; kill -KILL $$`, []string{"killed", "damaged"}, true},
		"done and error": {`cat >"$tab"; exit 3`, []string{"exit status 3", "holds the new text"}, false},
		"unreadable now": {`rm "$tab"; mkdir "$tab"; exit 1`, []string{"exit status 1", "can't be read"}, true},
	}
	const old = "MAILTO=me\n# \xff\n"
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, _ := fakeCrontab(t, old, test.write)
			new, err := Add(old, web())
			if err != nil {
				t.Fatal(err)
			}
			err = c.Write(t.Context(), old, new)
			kept := keptFiles(t)
			wantError(t, err, append(test.parts, "cannot write the crontab")...)
			if !test.keeps {
				if len(kept) != 0 {
					t.Errorf("nothing is wrong with the crontab, and a copy was left: %q", kept)
				}
				return
			}
			if len(kept) != 1 {
				t.Fatalf("kept %q, want one file", kept)
			}
			wantError(t, err, "crontab "+kept[0])
			text, err := os.ReadFile(kept[0])
			if err != nil || string(text) != old {
				t.Errorf("kept %q, %v", text, err)
			}
			if info, err := os.Stat(kept[0]); err != nil || info.Mode() != 0o600 {
				t.Errorf("mode %v, %v", info.Mode(), err)
			}
		})
	}
}

func TestWriteStopsWithTheContext(t *testing.T) {
	// The write reports on a pipe that it has begun, and then waits for ever.
	begun := filepath.Join(t.TempDir(), "begun")
	if err := exec.Command("mkfifo", begun).Run(); err != nil {
		t.Fatal(err)
	}
	c, _ := fakeCrontab(t, "a\n", "echo >'"+begun+"'; exec tail -f /dev/null")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		os.ReadFile(begun)
		cancel(fmt.Errorf("told to stop"))
	}()
	err := c.Write(ctx, "a\n", "b\n")
	wantError(t, err, "told to stop", "unchanged")
	if len(keptFiles(t)) != 0 {
		t.Errorf("kept %q", keptFiles(t))
	}
}

func TestWrite(t *testing.T) {
	const refuseUnended = `cat >"$tab.new"; [ "$(tail -c1 "$tab.new" | od -An -c)" = "  \n" ] && mv "$tab.new" "$tab" || { echo missing newline >&2; exit 1; }`
	tests := map[string]struct{ old, new, write, want string }{
		"first":              {"", "a\n", `cat >"$tab"`, "a\n"},
		"change":             {"a\n", "\xff\r\nb\x00\\r\n", `cat >"$tab"`, "\xff\r\nb\x00\\r\n"},
		"last":               {"a\n", "", `exit 9`, ""},
		"same":               {"a\n", "a\n", `exit 9`, "a\n"},
		"unended":            {"a\n", "b", `cat >"$tab"`, "b"},
		"unended is refused": {"a", "b", refuseUnended, "b\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c, tab := fakeCrontab(t, test.old, test.write)
			if err := c.Write(t.Context(), test.old, test.new); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(tab)
			if string(got) != test.want || (err == nil) != (test.want != "") {
				t.Errorf("the crontab holds %q, %v", got, err)
			}
			if kept := keptFiles(t); len(kept) > 0 {
				t.Errorf("left behind: %q", kept)
			}
		})
	}
}

func TestWriteSeesAChangeInTheMeantime(t *testing.T) {
	c, tab := fakeCrontab(t, "theirs\n", `cat >"$tab"`)
	wantError(t, c.Write(t.Context(), "a\n", "b\n"), "another program", "nothing was written", "try again")
	if got, err := os.ReadFile(tab); err != nil || string(got) != "theirs\n" {
		t.Errorf("%q, %v", got, err)
	}
}

func TestReadFails(t *testing.T) {
	tests := map[string]struct {
		script string
		parts  []string
	}{
		"denied": {`echo "You (web) are not allowed to use this program" >&2; exit 1`,
			[]string{"not allowed", "crontab"}},
		"half an answer": {`echo a; echo "no crontab for x" >&2; exit 1`, []string{"exit status 1"}},
		"no spool": {`echo "crontab: can't change directory to '/var/spool/cron/crontabs': No such file or directory" >&2; exit 1`,
			[]string{"No such file"}},
		"no editor": {`case $1 in -l) printf 'a\\r\n';; *) echo "no terminal" >&2; exit 1;; esac`,
			[]string{`\r`, "exactly", "no terminal"}},
		"unrelated editor": {`case $1 in -l) printf 'a\\r\n';; *) echo "editing";; esac`,
			[]string{"exactly", "by hand"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			program := filepath.Join(t.TempDir(), "crontab")
			if err := os.WriteFile(program, []byte("#!/bin/sh\n"+test.script+"\n"), 0o755); err != nil {
				t.Fatal(err)
			}
			_, err := Crontab{Program: program}.Read(t.Context())
			wantError(t, err, append(test.parts, "cannot read the crontab")...)
		})
	}
	_, err := Crontab{Program: "no-such-crontab", User: "web"}.Read(t.Context())
	wantError(t, err, "of web", "no-such-crontab", "install cron")
}

func TestNoCrontabIsEmpty(t *testing.T) {
	for _, message := range []string{"no crontab for web", "crontab: no crontab for web",
		"crontab: can't open 'web': No such file or directory"} {
		program := filepath.Join(t.TempDir(), "crontab")
		if err := os.WriteFile(program, []byte("#!/bin/sh\necho \""+message+"\" >&2; exit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		if text, err := (Crontab{Program: program}).Read(t.Context()); text != "" || err != nil {
			t.Errorf("%s: %q, %v", message, text, err)
		}
	}
}

// realCrontab makes a user, and removes it after the test.
func realCrontab(t *testing.T) Crontab {
	t.Helper()
	need.Root(t) // to make a user to whom nothing can happen
	need.Programs(t, "crontab", "useradd")
	user := fmt.Sprintf("llcron%d", os.Getpid())
	if out, err := exec.Command("useradd", "-r", "-M", "-s", "/usr/sbin/nologin", user).CombinedOutput(); err != nil {
		t.Fatalf("useradd: %v: %s", err, out)
	}
	t.Cleanup(func() {
		// It fails when the test left no crontab.
		exec.Command("crontab", "-u", user, "-r").Run()
		if out, err := exec.Command("userdel", user).CombinedOutput(); err != nil {
			t.Errorf("userdel: %v: %s", err, out)
		}
	})
	t.Setenv("TMPDIR", t.TempDir())
	return Crontab{User: user}
}

func TestRealCrontab(t *testing.T) {
	c := realCrontab(t)
	ctx := t.Context()
	write := func(old, new string) {
		t.Helper()
		if err := c.Write(ctx, old, new); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Read(ctx); err != nil || got != new {
			t.Fatalf("read back %q, %v", got, err)
		}
	}

	if text, err := c.Read(ctx); text != "" || err != nil {
		t.Fatalf("a new user has %q, %v", text, err)
	}
	write("", webBlock)
	write(webBlock, "")

	// crontab -l shows the carriage returns of this as \r, and its \r too.
	before := "# \xff\xfe caf\xe9\r\nA=\"b\"\r\n*/5\t* * * *  x\\r \b \ty \xff\r\n\n0 1 * * * printf 'a\\r\\bc'\n"
	for _, s := range goodSchedules {
		before += s + " true\n"
	}
	write("", before)
	e := web()
	e.Command = []string{"a\rb", `\r`, `\\%`}
	after, err := Add(before, e)
	if err != nil {
		t.Fatal(err)
	}
	write(before, after)
	rest, found, err := Remove(after, "web")
	if err != nil || !found {
		t.Fatal(found, err)
	}
	write(after, rest)
	if spool, err := os.ReadFile("/var/spool/cron/crontabs/" + c.User); err == nil &&
		!bytes.HasSuffix(spool, []byte("\n"+before)) {
		t.Errorf("the spool file holds %q", spool)
	}

	// The longest command that Add lets through.
	e = web()
	e.Command = []string{"x"}
	short, err := e.lines()
	if err != nil {
		t.Fatal(err)
	}
	free := maxCommand - len(strings.TrimPrefix(strings.Split(short, "\n")[0], "@reboot "))
	e.Command[0] += strings.Repeat("x", free)
	long, err := Add(before, e)
	if err != nil {
		t.Fatal(err)
	}
	write(before, long)

	bad := strings.Replace(long, "@hourly", "61 * * * *", 1)
	err = c.Write(ctx, long, bad)
	wantError(t, err, "of "+c.User, "bad minute", "unchanged")
	if kept := keptFiles(t); len(kept) != 0 {
		t.Errorf("nothing is wrong with the crontab, and a copy was left: %q", kept)
	}
}

// TestManyAtOnce checks that concurrent installs keep all entries. Once six of them lost
// entries with exit code 0, or reported "the crontab is damaged".
func TestManyAtOnce(t *testing.T) {
	const rounds, writers = 5, 12
	for name, write := range map[string]string{
		"rename": `cat >"$tab.$$" && mv "$tab.$$" "$tab"`,   // Debian's, cronie's
		"shared": `cat >"$tab.new" && mv "$tab.new" "$tab"`, // busybox's: all writers have one temporary file
	} {
		t.Run(name, func(t *testing.T) {
			c, tab := fakeCrontab(t, "# mine\n", write)
			c.Lock = filepath.Join(t.TempDir(), "crontab")
			for range rounds {
				var all sync.WaitGroup
				for i := range writers {
					e := web()
					e.Name = fmt.Sprintf("web%d", i)
					all.Go(func() {
						_, new, err := c.Edit(t.Context(), func(text string) (string, error) { return Add(text, e) })
						if _, found, _ := Find(new, e.Name, UserTable); !found || err != nil {
							t.Errorf("%s: %v", e.Name, err)
						}
					})
				}
				all.Wait()
				text, err := os.ReadFile(tab)
				if err != nil {
					t.Fatal(err)
				}
				if n := len(Entries(string(text), UserTable)); n != 2*writers {
					t.Fatalf("%d lines of %d are there:\n%s", n, 2*writers, text)
				}
				if err := os.WriteFile(tab, []byte("# mine\n"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			if kept := keptFiles(t); len(kept) > 0 {
				t.Errorf("left behind: %q", kept)
			}
		})
	}
}

// TestAnotherProgramWrites checks Edit beside a program that ignores the lock, such as
// crontab -e.
func TestAnotherProgramWrites(t *testing.T) {
	// Another program writes during the first write.
	c, tab := fakeCrontab(t, "# mine\n",
		`cat >"$tab"; [ -e "$tab.once" ] || { echo "# theirs" >"$tab"; : >"$tab.once"; }`)
	old, new, err := c.Edit(t.Context(), func(text string) (string, error) { return Add(text, web()) })
	if err != nil || old != "# mine\n" || new != "# theirs\n"+webBlock {
		t.Errorf("%q, %q, %v", old, new, err)
	}
	if text, err := os.ReadFile(tab); string(text) != new || err != nil {
		t.Errorf("%q, %v", text, err)
	}
	c, _ = fakeCrontab(t, "# mine\n", `echo "# theirs $$" >"$tab"`)
	_, _, err = c.Edit(t.Context(), func(text string) (string, error) { return Add(text, web()) })
	wantError(t, err, "another program changed it at the same moment", "5 times", "try again")
	if kept := keptFiles(t); len(kept) > 0 {
		t.Errorf("left behind: %q", kept)
	}
}

// TestRemoveTheLast checks that the last line goes, where crontab(1) has another option
// for it: dcron's -r is an error, and the line stayed.
func TestRemoveTheLast(t *testing.T) {
	for name, option := range map[string]string{"most": "-r", "dcron": "-d"} {
		t.Run(name, func(t *testing.T) {
			c, tab := fakeCrontab(t, "", `cat >"$tab"`)
			script, err := os.ReadFile(c.Program)
			if err != nil {
				t.Fatal(err)
			}
			script = []byte(strings.Replace(string(script), "-r) rm", "-[rd]) [ $1 = "+option+" ] || exit 2; rm", 1))
			if err := os.WriteFile(c.Program, script, 0o755); err != nil {
				t.Fatal(err)
			}
			if _, _, err := c.Edit(t.Context(), func(string) (string, error) { return Add("", web()) }); err != nil {
				t.Fatal(err)
			}
			_, _, err = c.Edit(t.Context(), func(text string) (string, error) {
				rest, _, err := Remove(text, web().Name)
				return rest, err
			})
			if err != nil {
				t.Fatal(err)
			}
			if text, err := os.ReadFile(tab); err == nil {
				t.Errorf("it has still %q", text)
			}
		})
	}
}
