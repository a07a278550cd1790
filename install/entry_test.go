package install

import (
	"strings"
	"testing"
)

func TestAddWritesTheLines(t *testing.T) {
	tests := map[string]struct {
		change func(*Entry)
		want   []string
	}{
		"plain": {func(e *Entry) {},
			[]string{"@reboot exec /usr/bin/lifeline web -- /srv/serve",
				"* * * * * exec /usr/bin/lifeline web -- /srv/serve"}},
		"options": {func(e *Entry) { e.Options = []string{"--chdir", "/my dir"} },
			[]string{"@reboot exec /usr/bin/lifeline --chdir '/my dir' web -- /srv/serve",
				"* * * * * exec /usr/bin/lifeline --chdir '/my dir' web -- /srv/serve"}},
		"schedule": {func(e *Entry) { e.Schedule = " */5\t* * * mon " },
			[]string{"@reboot exec /usr/bin/lifeline web -- /srv/serve",
				"*/5 * * * 1 exec /usr/bin/lifeline web -- /srv/serve"}},
		"no reboot": {func(e *Entry) { e.Reboot = false },
			[]string{"* * * * * exec /usr/bin/lifeline web -- /srv/serve"}},
		"reboot": {func(e *Entry) { e.Schedule = "@reboot" },
			[]string{"@reboot exec /usr/bin/lifeline web -- /srv/serve"}},
		"user": {func(e *Entry) { e.User = "www-data"; e.Reboot = false },
			[]string{"* * * * * www-data exec /usr/bin/lifeline web -- /srv/serve"}},
		"percent": {func(e *Entry) { e.Command = []string{"date", "+%F %T"}; e.Reboot = false },
			[]string{`* * * * * exec /usr/bin/lifeline web -- date +\%'F '\%T`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := web()
			test.change(&e)
			got, err := Add("", e)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(got, "\n"), "\n")
			if body := lines[1 : len(lines)-1]; strings.Join(body, "\n") != strings.Join(test.want, "\n") {
				t.Errorf("got  %q\nwant %q", body, test.want)
			}
		})
	}
}

func TestAddRefuses(t *testing.T) {
	tests := map[string]struct {
		change func(*Entry)
		parts  []string
	}{
		"name":         {func(e *Entry) { e.Name = "a/b" }, []string{`"a/b"`, "letters, digits"}},
		"long name":    {func(e *Entry) { e.Name = strings.Repeat("a", 129) }, []string{"128"}},
		"binary":       {func(e *Entry) { e.Binary = "bin/lifeline" }, []string{`"bin/lifeline"`, "begins with /"}},
		"no command":   {func(e *Entry) { e.Command = nil }, []string{"no command"}},
		"newline":      {func(e *Entry) { e.Command = []string{"sh", "-c", "a\nb"} }, []string{"newline", "script"}},
		"NUL":          {func(e *Entry) { e.Command = []string{"a\x00b"} }, []string{"NUL"}},
		"dashes":       {func(e *Entry) { e.Options = []string{"--"} }, []string{"--"}},
		"user":         {func(e *Entry) { e.User = "a b" }, []string{`"a b"`, "login name"}},
		"schedule":     {func(e *Entry) { e.Schedule = "61 * * * *" }, []string{"minute", "0 to 59"}},
		"long command": {func(e *Entry) { e.Command = []string{strings.Repeat("a", 998)} }, []string{"998", "script"}},
		"long, escaped": {func(e *Entry) { e.Command = []string{strings.Repeat("%", 490)} },
			[]string{"1010 bytes", "script"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			e := web()
			test.change(&e)
			got, err := Add("x\n", e)
			wantError(t, err, append(test.parts, "cannot")...)
			if got != "" {
				t.Errorf("a text came back with the error: %q", got)
			}
		})
	}
}

func TestAddKeepsEverythingElse(t *testing.T) {
	app := strings.ReplaceAll(webBlock, "web", "app")
	joined := strings.Replace(webBlock, "web end\n", "web end -- the newline above the block belongs to it\n", 1)
	older := strings.ReplaceAll(webBlock, "/srv/serve", "/old # by hand\n* * * * * more")
	tests := map[string]struct{ before, want string }{
		"empty":             {"", webBlock},
		"appended":          {"MAILTO=me\n\n0 1 * * * x\n", "MAILTO=me\n\n0 1 * * * x\n" + webBlock},
		"no final newline":  {"0 1 * * * x", "0 1 * * * x\n" + joined},
		"CRLF, bytes, tabs": {"# \xff\xfe\r\n0\t1 * * * x\r\n\r\n", "# \xff\xfe\r\n0\t1 * * * x\r\n\r\n" + webBlock},
		"in place":          {"a\r\n" + older + "b", "a\r\n" + webBlock + "b"},
		"in place, joined":  {"a\n" + joined, "a\n" + joined},
		"copies":            {"a\n" + older + "b\n" + older + older + "c\n", "a\n" + webBlock + "b\nc\n"},
		"markers with CRLF": {"a\r\n" + strings.ReplaceAll(older, "\n", "\r\n") + "b\r\n",
			"a\r\n" + webBlock + "b\r\n"},
		"block at the end": {"a\n" + strings.TrimSuffix(webBlock, "\n"), "a\n" + webBlock},
		"other names": {app + strings.ReplaceAll(webBlock, "web", "web2") + strings.ReplaceAll(webBlock, "web",
			"web.x"), app + strings.ReplaceAll(webBlock, "web", "web2") +
			strings.ReplaceAll(webBlock, "web", "web.x") + webBlock},
		"a comment like ours": {"# lifeline web begins at six\n# lifeline web end of story\n",
			"# lifeline web begins at six\n# lifeline web end of story\n" + webBlock},
		"another broken one": {"# lifeline app begin\n", "# lifeline app begin\n" + webBlock},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := Add(test.before, web())
			if err != nil {
				t.Fatal(err)
			}
			if got != test.want {
				t.Errorf("got:\n%q\nwant:\n%q", got, test.want)
			}
			if again, err := Add(got, web()); err != nil || again != got {
				t.Errorf("the second time: %v\n%q", err, again)
			}
		})
	}
}

func TestBrokenMarkersAreLeftAlone(t *testing.T) {
	tests := map[string]struct {
		text  string
		parts []string
	}{
		"no end":      {"a\n# lifeline web begin\nb\n", []string{"line 2", `"end" marker`}},
		"no begin":    {"# lifeline web end\nb\n", []string{"line 1", `"begin" marker`}},
		"begin twice": {"# lifeline web begin\n# lifeline web begin\n# lifeline web end\n", []string{"line 1"}},
		"end twice":   {webBlock + "# lifeline web end\n", []string{"line 5"}},
		"another inside": {"# lifeline web begin\n# lifeline app begin\n# lifeline app end\n# lifeline web end\n",
			[]string{"line 1"}},
		"interleaved": {"# lifeline app begin\n# lifeline web begin\n# lifeline app end\n# lifeline web end\n",
			[]string{"line 2"}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			parts := append(test.parts, `"web"`, "crontab -e")
			_, err := Add(test.text, web())
			wantError(t, err, parts...)
			rest, found, err := Remove(test.text, "web")
			wantError(t, err, parts...)
			if found || rest != test.text {
				t.Errorf("Remove changed it: %v %q", found, rest)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	web2 := strings.ReplaceAll(webBlock, "web", "web2")
	tests := map[string]struct {
		before, want string
		found        bool
	}{
		"none":       {"a\n", "a\n", false},
		"other name": {web2, web2, false},
		"only":       {webBlock, "", true},
		"between":    {"a\r\n" + webBlock + "b", "a\r\nb", true},
		"beside":     {web2 + webBlock + web2, web2 + web2, true},
		"copies":     {webBlock + "a\n" + webBlock, "a\n", true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			got, found, err := Remove(test.before, "web")
			if err != nil || got != test.want || found != test.found {
				t.Errorf("got %q, %v, %v; want %q, %v", got, found, err, test.want, test.found)
			}
		})
	}
}

// TestBlocksGoInAnyOrder checks that the crontab is byte for byte what it was, after
// blocks are added and removed in any order.
func TestBlocksGoInAnyOrder(t *testing.T) {
	orders := [][]string{{"a", "b", "c"}, {"a", "c", "b"}, {"b", "a", "c"}, {"b", "c", "a"},
		{"c", "a", "b"}, {"c", "b", "a"}}
	for _, text := range []string{"", "0 1 * * * x", "0 1 * * * x\n", "x\r\n\r\ny", "\n", "# lifeline d begin",
		"# lifeline d begin\n# lifeline d end"} {
		for _, come := range orders {
			for _, goes := range orders {
				got, err := text, error(nil)
				for _, name := range come {
					e := web()
					e.Name = name
					if got, err = Add(got, e); err != nil {
						t.Fatal(err)
					}
				}
				for _, name := range goes {
					if got, _, err = Remove(got, name); err != nil {
						t.Fatal(err)
					}
				}
				if got != text {
					t.Errorf("installed as %v, taken out as %v: %q, not %q", come, goes, got, text)
				}
			}
		}
	}
}

// TestANewlineThatIsNeededStays checks that a handwritten line behind a block keeps the
// newline above the block.
func TestANewlineThatIsNeededStays(t *testing.T) {
	block := func(name string) string { return strings.ReplaceAll(webBlock, "web", name) }
	joined := func(name string) string {
		return strings.Replace(block(name), name+" end\n",
			name+" end -- the newline above the block belongs to it\n", 1)
	}
	for before, want := range map[string]string{
		"x\n" + joined("web") + "y\n":                  "x\ny\n",
		"x\n" + joined("web") + "y":                    "x\ny",
		"x\n" + joined("web") + block("b"):             "x\n" + joined("b"),
		"x\n" + joined("web") + block("b") + "y":       "x\n" + joined("b") + "y",
		"x\n" + joined("web") + "\n" + block("b"):      "x\n\n" + block("b"),
		"x\n" + joined("web") + webBlock + block("b"):  "x\n" + joined("b"),
		"x\n" + joined("web") + webBlock:               "x",
		"x\n" + joined("web") + "# lifeline b begin\n": "x\n# lifeline b begin\n",
		"x\r\n" + joined("web") + "# lifeline b begin\r\n# lifeline b end \r\n": "x\r\n# lifeline b begin\r\n# " +
			"lifeline b end -- the newline above the block belongs to it \r\n",
	} {
		if got, found, err := Remove(before, "web"); got != want || !found || err != nil {
			t.Errorf("%q\nbecame %q\nnot    %q (%v)", before, got, want, err)
		}
	}
}

func FuzzAddRemove(f *testing.F) {
	for _, text := range []string{"", "a", "a\n", "a\r\n\r\n", "\r", "\n", "# lifeline app begin\n", "\xff\x00"} {
		f.Add(text, "sh", "-c", "date +%F")
	}
	f.Add("x", `\\`, `\%`, "'")
	f.Fuzz(func(t *testing.T, text, a, b, c string) {
		if found, err := blocks(text, "web"); err != nil || len(found) > 0 {
			return
		}
		e := web()
		e.Command = []string{a, b, c}
		added, err := Add(text, e)
		if err != nil {
			return
		}
		if again, err := Add(added, e); err != nil || again != added {
			t.Fatalf("adding twice: %v\n%q\n%q", err, added, again)
		}
		rest, found, err := Remove(added, "web")
		if err != nil || !found || rest != text {
			t.Fatalf("removing: %v %v\n%q\n%q", found, err, rest, text)
		}
	})
}
