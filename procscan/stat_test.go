package procscan

import (
	"fmt"
	"math"
	"strings"
	"testing"
)

// statText returns the text of /proc/PID/stat of a process called comm that was
// started 4711 ticks after boot.
func statText(comm string) string {
	return "1234 (" + comm + ") S 1 1230 1229 34816 1234 4194304 100 0 0 0 7 5 0 0 20 0 3 0 4711 2527232 200 " +
		"18446744073709551615 94 95 140 0 0 0 0 4096 1 0 0 0 17 1 0 0 0 0 0 96 97 98 140721 140722 140723 140800 0\n"
}

func TestParseStat(t *testing.T) {
	for _, comm := range []string{"sleep", "", "a b", ")", "(", "a) R 1 (", "x) S 1 1 1 1 1 1", "two\nlines", "tab\t",
		"(sd-pam)", "\xff\xfe", "kworker/0:1-events"} {
		s, err := ParseStat([]byte(statText(comm)))
		want := Stat{
			ID:      ID{1234, 4711},
			PPID:    1,
			PGID:    1230,
			SID:     1229,
			State:   'S',
			Threads: 3,
			Comm:    comm,
			Ticks:   12,
			RSS:     200,
			loaded:  true,
			envSize: 77,
		}
		if err != nil || s != want {
			t.Errorf("%q:\n got %+v, %v\nwant %+v", comm, s, err, want)
		}
	}
	edit := func(field int, value string) []byte {
		words := strings.Fields(statText("c"))
		words[field-1] = value
		return []byte(strings.Join(words, " ") + "\n")
	}
	check := func(what string, text []byte, ok func(Stat) bool) {
		t.Helper()
		if s, err := ParseStat(text); err != nil || !ok(s) {
			t.Errorf("%s: %+v, %v", what, s, err)
		}
	}
	check("kernel thread", edit(9, "2129984"), func(s Stat) bool { return s.Kernel })
	check("not one", edit(9, "4194304"), func(s Stat) bool { return !s.Kernel })
	check("start of 64 bits", edit(22, "18446744073709551615"), func(s Stat) bool { return s.Start == math.MaxUint64 })
	check("no terminal", edit(8, "-1"), func(s Stat) bool { return s.PID == 1234 })
	check("stopped", edit(3, "T"), func(s Stat) bool { return s.Stopped() && !s.Dead() })
	check("traced", edit(3, "t"), func(s Stat) bool { return !s.Stopped() })
	check("zombie with threads", edit(3, "Z"), func(s Stat) bool { return !s.Dead() })
	check("dead", edit(3, "X"), func(s Stat) bool { return s.Dead() })
	check("zombie", []byte(strings.Replace(string(edit(3, "Z")), " 20 0 3 0 ", " 20 0 1 0 ", 1)),
		func(s Stat) bool { return s.Dead() })
	check("in exec", edit(27, "0"), func(s Stat) bool { return !s.loaded })
	check("an empty environment", []byte(strings.Replace(statText("c"), "140723 140800", "140800 140800", 1)),
		func(s Stat) bool { return s.loaded })
	check("an old kernel's shorter line", []byte(strings.Join(strings.Fields(statText("c"))[:44], " ")),
		func(s Stat) bool { return s.Start == 4711 && s.loaded })

	whole := strings.TrimSuffix(statText("c"), "\n")
	for _, bad := range []string{"", "\n", "1", "1 (", "1 (a", "1 a) S", "(a) S 1 2 3", "x (a)" + whole[8:], "0 (a)" +
		whole[8:], "-1 (a)" + whole[8:],
		"99999999999999999999 (a)" + whole[8:], ") 1234 (a S 1 1", whole[:40], strings.Replace(whole, " S ", " SS ", 1),
		string(edit(22, "soon")), string(edit(4, "1x"))} {
		if s, err := ParseStat([]byte(bad)); err == nil {
			t.Errorf("%q was taken for %+v", bad, s)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	for _, comm := range []string{"a) R 1 (", "two\nlines", "", statText("x")} {
		f.Add([]byte(comm), 1, uint64(4711))
	}
	f.Fuzz(func(t *testing.T, text []byte, ppid int, start uint64) {
		// Any text is parsed without a panic, and each process has a pid.
		if s, err := ParseStat(text); err == nil && s.PID <= 0 {
			t.Errorf("%q gives pid %d", text, s.PID)
		}
		// The name that a process gives itself changes no other field.
		line := strings.Replace(statText("COMM"), ") S 1 ", fmt.Sprintf(") S %d ", ppid), 1)
		line = strings.Replace(line, " 4711 ", fmt.Sprintf(" %d ", start), 1)
		s, err := ParseStat([]byte(strings.Replace(line, "COMM", string(text), 1)))
		if err != nil || s.ID != (ID{1234, start}) || s.PPID != ppid || s.Comm != string(text) || s.Threads != 3 {
			t.Errorf("a process called %q, child of %d, started at %d: %+v, %v", text, ppid, start, s, err)
		}
	})
}

func TestOlder(t *testing.T) {
	ids := []ID{{1, 1}, {2, 1}, {1, 2}, {9, 2}, {3, 100}, {0, math.MaxUint64}}
	for i, a := range ids {
		for j, b := range ids {
			if a.Older(b) != (i < j) {
				t.Errorf("%v.Older(%v) is %v", a, b, a.Older(b))
			}
		}
	}
}
