package install

import (
	"strings"
	"testing"
	"time"
)

// TestDisableAndEnable checks that Enable restores byte for byte what Disable has
// commented out.
func TestDisableAndEnable(t *testing.T) {
	web := Entry{Name: "web", Binary: "/bin/lifeline", Command: []string{"/srv/web"}, Reboot: true}
	foreign := "# lifeline is great -- really\nA=b\n0 3 * * * lifeline app -- /srv/app\n"
	text, err := Add(foreign, web)
	if err != nil {
		t.Fatal(err)
	}
	without, n := Disable(text, "web", UserTable)
	if n != 2 || len(Entries(without, UserTable)) != 1 || len(Disabled(without, UserTable)) != 2 {
		t.Errorf("%d lines, still in force %v:\n%s", n, Entries(without, UserTable), without)
	}
	if back, n, err := Enable(without, "web", UserTable); err != nil || n != 2 || back != text {
		t.Errorf("%d, %v:\n%s", n, err, back)
	}
	// A block that is replaced stays as it was: commented out.
	web.Command = []string{"/srv/new"}
	again, err := Add(without, web)
	if lines := Disabled(again, UserTable); err != nil || len(lines) != 2 || lines[0].Command[0] != "/srv/new" {
		t.Errorf("%v:\n%s", err, again)
	}
	if rest, found, err := Remove(again, "web"); err != nil || !found || rest != foreign {
		t.Errorf("%v %v:\n%s", found, err, rest)
	}
	two := "#* * * * * lifeline web -- a\n#* * * * * lifeline web -- b\n"
	if _, _, err := Enable(two, "web", UserTable); err == nil {
		t.Error("one of two was chosen")
	}
	if rest, n, err := Enable("# * * * * * lifeline web -- a\n", "web", UserTable); err != nil || n != 1 ||
		rest != "* * * * * lifeline web -- a\n" {
		t.Errorf("%q, %d, %v", rest, n, err)
	}
}

func TestTimes(t *testing.T) {
	at := time.Date(2024, 2, 28, 10, 30, 30, 0, time.UTC) // a Wednesday
	for schedule, want := range map[string][2]string{
		"* * * * *":        {"2024-02-28 10:30", "2024-02-28 10:31"},
		"30 10 * * *":      {"2024-02-28 10:30", "2024-02-29 10:30"},
		"0 3 * * *":        {"2024-02-28 03:00", "2024-02-29 03:00"},
		"@weekly":          {"2024-02-25 00:00", "2024-03-03 00:00"},
		"0 0 29 2 *":       {"2020-02-29 00:00", "2024-02-29 00:00"},
		"0 0 1 * mon":      {"2024-02-26 00:00", "2024-03-01 00:00"},
		"0 0 */2 * 7":      {"2024-02-25 00:00", "2024-03-03 00:00"},
		"*/20 8-9 * jan *": {"2024-01-31 09:40", "2025-01-01 08:00"},
	} {
		s, err := ParseTimes(schedule)
		if err != nil {
			t.Errorf("%s: %v", schedule, err)
			continue
		}
		const form = "2006-01-02 15:04"
		if last, next := s.Last(at).Format(form), s.Next(at).Format(form); last != want[0] || next != want[1] {
			t.Errorf("%s: last %s, next %s; want %s", schedule, last, next, want)
		}
	}
	if _, err := ParseTimes("@reboot"); err == nil {
		t.Error("@reboot has a time")
	}
}

// TestCheckFile has the cases that were put before Debian's cron 3.0pl1-162, each
// beside a good line.
func TestCheckFile(t *testing.T) {
	users := func(name string) bool { return name == "root" }
	const good = "* * * * * root true\n"
	for _, ignored := range []string{
		"99 * * * * root true\n", "hello world\n", "* * * * * nosuch true\n", "* * * * * true\n", "* * * * * root\n",
		"* * * * *\n",
		"@sometimes root true\n", "@REBOOT root true\n", "@daily\n", "@daily root\n", "\r\n", "export A=b\n", `A="b" c` + "\n", "A=\"b\n",
		"* * * * Monday root true\n", "1,,2 * * * * root true\n", "1, * * * * root true\n", "5/10 * * * * root true\n",
		"1-5/0 * * * * root true\n", "~ * * * * root true\n",
		"* * 0 * * root true\n", "* * * 13 * root true\n", "* 24 * * * root true\n", "-1 * * * * root true\n",
		"? * * * * root true\n", "* * L * * root true\n",
		"* * * * * 0 true\n", "* * * * * root:staff true\n", "-* * * * * root true\n", "0 0 * * 8 root true\n",
		"MAILTO=\n", "A = \t\n", "A=\r\n", "=\n", "\fA=b\n", "A=b\x00c\n", "A='" + strings.Repeat("x", 1200) + "'\n",
		strings.Repeat("A", 1200) + "=b\n", `'A=b'=c` + "\n", `"A" b=c` + "\n",
		"\xef\xbb\xbf# hello\n", "A=b", "* * * * * root true",
	} {
		if CheckFile(good+ignored, true, users) == nil {
			t.Errorf("cron ignores all for %q, and that isn't seen", ignored)
		}
	}
	for _, taken := range []string{
		"", "# a comment", "\n", "  ", "5* * * * * root true\n", "5-1 * * * * root true\n", "*/100 * * * * root true\n",
		"0~30 * * * * root true\n", "* * * * 1#1 root true\n",
		"* * * * MON-FRI root true\n", "* * * * 5-7 root true\n", "*\t*\t*\t*\t*\troot true\n", "A-B=c\n", "  A=b\n", "A = b\n", "A=b # c\n", `"A"=b` + "\n", "=b\n", `""=b` + "\n", "@annually root true\n", "1A=b\n",
		`MAILTO=""` + "\n", "A=''\n", "A='b'\t\n", "A=" + strings.Repeat("x", 5000) + "\n", `'A' = "b c"` + "\n",
	} {
		if err := CheckFile(good+taken, true, users); err != nil {
			t.Errorf("cron takes %q: %v", taken, err)
		}
	}
	if err := CheckFile("* * * * * true\n@daily x\n", false, users); err != nil {
		t.Error(err)
	}
}

// TestEntriesOfOtherTools checks that Entries reads lines in which other tools wrap
// lifeline.
func TestEntriesOfOtherTools(t *testing.T) {
	for command, want := range map[string]Line{
		`/bin/bash -l -c 'cd /srv/app && lifeline web -- bin/serve'`: {Dir: "/srv/app",
			Before: "/bin/bash -l -c"},
		`cd /srv && bash -lc "RAILS_ENV=production lifeline --respawn web -- x"`:     {Dir: "/srv", Before: "bash -lc"},
		`env A=b nice -n 5 lifeline web -- x`:                                        {Before: "env A=b nice -n 5"},
		`sh -c 'sudo -u app lifeline web -- x'`:                                      {Before: "sh -c sudo -u app"},
		`/bin/bash -l -c 'cd /srv/app && RAILS_ENV=production bundle exec rake web'`: {Problem: "none"},
	} {
		lines := Entries("* * * * * "+command+"\n", UserTable)
		if want.Problem == "none" {
			if len(lines) != 0 {
				t.Errorf("%s is taken for %+v", command, lines[0])
			}
			continue
		}
		if len(lines) != 1 || lines[0].Name != "web" || lines[0].Dir != want.Dir || lines[0].Before != want.Before {
			t.Errorf("%s: %+v", command, lines)
		}
	}
}
