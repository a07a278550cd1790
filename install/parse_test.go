package install

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestEntriesReadsLinesByHand(t *testing.T) {
	tests := []struct {
		command string
		want    string // Dir, Argv around Name, assignments, Problem; "" if none of ours
	}{
		{`lifeline web -- serve`, `[] web [serve]`},
		{`/usr/local/bin/lifeline --chdir /srv web -- serve -p 80`, `[--chdir /srv] web [serve -p 80]`},
		{`cd /srv/web && lifeline web -- ./serve`, `dir=/srv/web [] web [./serve]`},
		{`cd /srv; cd web; lifeline web -- ./serve`, `dir=/srv/web [] web [./serve]`},
		{`cd -- '/my srv' && lifeline web -- x`, `dir=/my srv [] web [x]`},
		{`cd /lifeline || exit; lifeline web -- x`, `[] web [x]`},
		{`A=b LIFELINE_DIR='/x y' exec lifeline web -- x`, `env=A=b,LIFELINE_DIR=/x y [] web [x]`},
		{`nice -n 5 /usr/bin/env -i A=b lifeline web -- x`, `env=A=b [] web [x]`},
		{`BIN=/opt/lifeline /opt/other web -- x`, ``},
		{`sudo -u lifeline lifeline web -- x`, `[] web [x]`},
		{`lifeline lifeline -- x`, `[] lifeline [x]`},
		{`lifeline --chdir /srv/lifeline web -- x`, `[--chdir /srv/lifeline] web [x]`},
		{`test -x /usr/bin/lifeline && /usr/bin/lifeline web -- x`, `[] web [x]`},
		{`[ -x /usr/bin/lifeline ] && lifeline web -- [ a`, `[] web [[ a]`},
		{`(lifeline web -- x; echo y)`, `[] web [x]`},
		{`true|lifeline web -- x&`, `[] web [x]`},
		{`lifeline web -- x>/dev/null 2>&1`, `[] web [x]`},
		{`2>>/dev/null lifeline web -- x 3 >|log last`, `[] web [x 3 last]`},
		{`lifeline web -- a2>log`, `[] web [a2]`},
		{`lifeline web -- x # -- y`, `[] web [x]`},
		{`lifeline web -- x#y ''`, `[] web [x#y ]`},
		{`lifeline web -- "a 'b' \"c\" \x \\" 'd "e" \'`, `[] web [a 'b' "c" \x \ d "e" \] problem=two backslashes`},
		{`lifeline web -- a\ b \'c 'it'\''s'`, `[] web [a b 'c it's]`},
		{`lifeline web -- date +\%F '\%T' "\%"`, `[] web [date +%F %T %]`},
		{`lifeline web -- cat%some input -- x`, `[] web [cat]`},
		{`lifeline web -- sh -c 'a; b -- c'`, `[] web [sh -c a; b -- c]`},
		{`lifeline web -- a -- b`, `[] web [a -- b]`},
		{`lifeline web -- cost 5$ "$" $/x`, `[] web [cost 5$ $ $/x]`},
		{`lifeline web -- find -exec {} a~ {a}`, `[] web [find -exec {} a~ {a}]`},
		{`lifeline web --`, `[] web [] problem=no command`},
		{`lifeline a/b -- x`, `[] a/b [x] problem=not a name`},
		{`lifeline web -- $HOME/x`, `[] web [$HOME/x] problem=expand $ in the word $HOME/x`},
		{`lifeline web -- "a $(date "+x y") b" c`, `[] web ["a $(date "+x y") b" c] problem=expand $`},
		{`lifeline web -- ${A:-b c} d`, `[] web [${A:-b c} d] problem=expand $`},
		{"lifeline web -- `date x` d", "[] web [`date x` d] problem=expand `"},
		{`lifeline web -- *.c`, `[] web [*.c] problem=expand *`},
		{`lifeline web -- a? '*'`, `[] web [a? *] problem=expand ?`},
		{`lifeline web -- [ab]`, `[] web [[ab]] problem=expand [`},
		{`lifeline web -- ~/x`, `[] web [~/x] problem=expand ~`},
		{`lifeline web -- {a,b}`, `[] web [{a,b}] problem=expand {`},
		{`lifeline web -- $'a'`, `[] web [$'a'] problem=expand $`},
		{`lifeline --dir $D web -- x`, `[--dir $D] web [x] problem=expand $`},
		{`lifeline $NAME -- x`, `[] $NAME [x] problem=expand $`},
		{`cd $HOME/x && lifeline web -- ./x`, `[] web [./x] problem=directory $HOME/x`},
		{`A=$B lifeline web -- x`, `env=A=$B [] web [x] problem=assignment A=$B`},
		{`lifeline web -- 'x`, `[] web [x] problem=closing '`},
		{`lifeline web -- "x`, `[] web [x] problem=closing "`},
		{`lifeline web -- "$(x`, `[] web ["$(x] problem=$`},
		{"lifeline web -- x\r", "[] web [x\r] problem=carriage return"},
		{`lifeline status`, ``},
		{`lifeline check web --max-age 15m; echo -- x`, ``},
		{`grep lifeline /var/log/syslog`, ``},
		{`lifeline2 web -- x`, ``},
		{`lifeline -- x`, ``},
		{`echo "lifeline web -- x"`, ``},
		{``, ``},
	}
	for _, test := range tests {
		t.Run(test.command, func(t *testing.T) {
			lines := Entries("# c\n\n 1 2\t3 4 5\t"+test.command, UserTable)
			if test.want == "" {
				if len(lines) > 0 {
					t.Errorf("got %+v", lines)
				}
				return
			}
			if len(lines) != 1 {
				t.Fatalf("%d lines", len(lines))
			}
			l := lines[0]
			got := ""
			if l.Dir != "" {
				got += "dir=" + l.Dir + " "
			}
			if len(l.Environment) > 0 {
				var env []string
				for name, value := range l.Environment {
					env = append(env, name+"="+value)
				}
				slices.Sort(env)
				got += "env=" + strings.Join(env, ",") + " "
			}
			got += fmt.Sprintf("%s %s %s", l.Options, l.Name, l.Command)
			want, problem, _ := strings.Cut(test.want, " problem=")
			if got != want || !strings.Contains(l.Problem, problem) || (problem == "") != (l.Problem == "") {
				t.Errorf("got  %s, problem %q\nwant %s, problem %q", got, l.Problem, want, problem)
			}
			if l.Number != 3 || l.Schedule != "1 2 3 4 5" || l.Block {
				t.Errorf("number %d, schedule %q, block %v", l.Number, l.Schedule, l.Block)
			}
			want2 := append([]string{l.Argv[0]}, l.Options...)
			want2 = append(append(want2, l.Name, "--"), l.Command...)
			if !slices.Equal(l.Argv, want2) {
				t.Errorf("Argv %q does not fit %q", l.Argv, want2)
			}
		})
	}
}

func TestEntriesKnowsWhereALineStands(t *testing.T) {
	crontab := strings.Join([]string{
		`PATH = /bin`,
		`* * * * * lifeline one -- a`,
		`'MAILTO'="me "`,
		`  PATH=/opt/bin:$HOME/bin  ` + "\r",
		`EMPTY=`,
		`BAD="x" y`,
		`* * * * * A=b lifeline two -- a`,
		`# * * * * * lifeline three -- a`,
		`@every_minute lifeline four -- a`,
		`* * * * *`,
		strings.ReplaceAll(strings.TrimSuffix(webBlock, "\n"), "/usr/bin/lifeline", "/opt/ll-1.2"),
		`* * * * * /opt/ll-1.2 five -- a`,
	}, "\n")
	type place struct {
		number   int
		name     string
		schedule string
		block    bool
		env      map[string]string
	}
	late := map[string]string{"PATH": "/opt/bin:$HOME/bin", "MAILTO": "me ", "EMPTY": ""}
	want := []place{
		{2, "one", "* * * * *", false, map[string]string{"PATH": "/bin"}},
		{7, "two", "* * * * *", false, map[string]string{"PATH": "/opt/bin:$HOME/bin", "MAILTO": "me ", "EMPTY": "", "A": "b"}},
		{9, "four", "@every_minute", false, late},
		{12, "web", "@reboot", true, late},
		{13, "web", "* * * * *", true, late},
	}
	var got []place
	for _, l := range Entries(crontab, UserTable) {
		got = append(got, place{l.Number, l.Name, l.Schedule, l.Block, l.Environment})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// TestAnOlderBlock checks that Find reads old blocks, whose lines have no exec.
func TestAnOlderBlock(t *testing.T) {
	for _, older := range []string{webBlock, strings.ReplaceAll(webBlock, "exec ", "")} {
		older = strings.ReplaceAll(older, "/usr/bin/lifeline", "/opt/ll-1.2 --respawn")
		line, found, err := Find(older, "web", UserTable)
		if !found || err != nil || !slices.Equal(line.Argv, []string{"/opt/ll-1.2", "--respawn", "web", "--", "/srv/serve"}) {
			t.Errorf("%q: %t, %v, %q", older, found, err, line.Argv)
		}
	}
}

func TestBusyboxProblem(t *testing.T) {
	for crontab, want := range map[string]string{
		webBlock:                                 "crashes on a line that begins with @reboot",
		"@daily lifeline web -- x":               "@daily",
		"* * * * * lifeline web -- x":            "",
		"* * * * * lifeline web -- x 'issue #1'": "cuts the command at the #",
		`* * * * * lifeline web -- date +\%F`:    "",
	} {
		line := Entries(crontab, UserTable)[0]
		if got := line.BusyboxProblem(true); (want == "") != (got == "") || !strings.Contains(got, want) {
			t.Errorf("%q: %q", crontab, got)
		}
		if got := line.BusyboxProblem(false); strings.Contains(got, "crash") {
			t.Errorf("%q: %q", crontab, got)
		}
	}
}

func TestEntriesWithUserColumn(t *testing.T) {
	lines := Entries("@daily\troot  lifeline web -- a\n1 2 3 4 5 www lifeline app -- b\n", SystemTable)
	if len(lines) != 2 || lines[0].User != "root" || lines[0].Schedule != "@daily" || lines[1].User != "www" || lines[1].Name != "app" {
		t.Errorf("got %+v", lines)
	}
}

func TestFind(t *testing.T) {
	line, found, err := Find("* * * * * lifeline app -- x\n"+webBlock, "web", UserTable)
	if err != nil || !found || line.Number != 4 || line.Schedule != "* * * * *" || !slices.Equal(line.Command, []string{"/srv/serve"}) {
		t.Errorf("got %+v, %v, %v", line, found, err)
	}
	_, found, err = Find(webBlock, "we", UserTable)
	if found || err != nil {
		t.Errorf("got %v, %v", found, err)
	}
	line, found, err = Find("@reboot lifeline web -- ~/x", "web", UserTable)
	if !found || line.Name != "web" {
		t.Errorf("got %+v, %v", line, found)
	}
	wantError(t, err, `"web"`, "line 1", "~/x", "COMMAND")
	_, found, err = Find(webBlock+"0 1 * * * lifeline web -- other\n", "web", UserTable)
	if !found {
		t.Error("not found")
	}
	wantError(t, err, `"web"`, "lines 2 and 5", "COMMAND")
}

// TestLexAgreesWithSh compares lex with the real sh, on texts made of the
// bytes that quoting is about.
func TestLexAgreesWithSh(t *testing.T) {
	const alphabet = `'"\ aab#$/=]`
	random := rand.New(rand.NewPCG(3, 4))
	var script strings.Builder
	var want, texts []string
	for len(texts) < 2000 {
		text := make([]byte, 1+random.IntN(14))
		for i := range text {
			text[i] = alphabet[random.IntN(len(alphabet))]
		}
		// The word in front keeps a # from being the first.
		s := lex("x " + string(text))
		if s.unclosed != "" || strings.HasSuffix(string(text), `\`) || slices.ContainsFunc(s.commands[0], func(w word) bool { return w.shell != "" }) {
			continue
		}
		texts = append(texts, string(text))
		for _, w := range s.commands[0] {
			want = append(want, w.text)
		}
		want = append(want, "end")
		script.WriteString(`printf '%s\0' x ` + string(text) + "\nprintf '%s\\0' end\n")
	}
	got := runShell(t, []string{"sh"}, script.String())
	if slices.Equal(got, want) {
		return
	}
	for i, n := 0, 0; i < min(len(got), len(want)); i++ {
		if got[i] != want[i] {
			t.Fatalf("text %q: sh has the word %q, lex %q", texts[n], got[i], want[i])
		}
		if want[i] == "end" {
			n++
		}
	}
	t.Fatalf("sh has %d words, lex %d", len(got), len(want))
}

func FuzzEntries(f *testing.F) {
	for _, text := range []string{
		webBlock, "A='", `A="b" c`, "* * * * * lifeline web -- a'b\\", "@reboot lifeline $( -- ${", "* * * * * x 2>", "* * * * * lifeline lifeline --", "# lifeline web begin",
		"* * * * * cd && lifeline [ -- `", "* * * * * root lifeline {x,} -- y%z",
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, kind := range []Kind{UserTable, SystemTable, Supercronic} {
			for _, l := range Entries(text, kind) {
				if len(l.Argv) != len(l.Options)+len(l.Command)+3 {
					t.Fatalf("Argv does not fit: %+v", l)
				}
				Find(text, l.Name, kind)
			}
		}
	})
}

func FuzzQuoteComesBack(f *testing.F) {
	f.Add("", "a b")
	f.Add(`\\`, `\%`)
	f.Add("it's", "{a,b}~$x`*")
	f.Fuzz(func(t *testing.T, a, b string) {
		e := web()
		e.Command = []string{a, b}
		e.Options = []string{"-o", b + "="}
		crontab, err := Add("", e)
		if err != nil {
			return
		}
		l, found, err := Find(crontab, "web", UserTable)
		if err != nil || !found || !slices.Equal(l.Command, e.Command) || !slices.Equal(l.Options, e.Options) {
			t.Fatalf("%v %v\n%q\n%+v", found, err, crontab, l)
		}
	})
}
