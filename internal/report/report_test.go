package report

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"lifeline/internal/journal"
)

var noon = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// run returns a run that ended at the time ago before noon.
func run(ago, length time.Duration, outcome string) journal.Run {
	return journal.Run{Start: noon.Add(-ago - length), End: noon.Add(-ago), Outcome: outcome}
}

const slotLetters = ".pusk" + "f"

// drawn returns a timeline as text: . none, p part, u up, s stopped, k unknown, f failed.
func drawn(t Timeline) string {
	var b strings.Builder
	for _, s := range t.Slots {
		b.WriteByte(slotLetters[s])
	}
	return b.String()
}

func TestTimeline(t *testing.T) {
	const h = time.Hour
	up := noon.Add(-90 * time.Minute)
	for name, c := range map[string]struct {
		runs     []journal.Run
		up       *time.Time
		complete bool
		want     string
		share    float64
	}{
		"nothing":        {nil, nil, true, "........", 0},
		"up by now":      {nil, &up, true, "......pu", 1.5 / 8},
		"a day and more": {[]journal.Run{run(2*h, 30*h, "ok")}, nil, true, "uuuuuup.", 6.0 / 8},
		"a short one": {[]journal.Run{run(150*time.Minute, time.Second, "ok")}, nil, true, ".....p..",
			1.0 / 3600 / 8},
		"failed":              {[]journal.Run{run(90*time.Minute, 2*h, "killed")}, nil, true, "....puf.", 2.0 / 8},
		"failed and up again": {[]journal.Run{run(90*time.Minute, h, "hung")}, &up, true, ".....pfu", 2.5 / 8},
		"stopped and lost": {[]journal.Run{run(5*h+1, h, "stopped"), run(2*h+1, h, "lost")}, nil, true, ".ps.pk..",
			2.0 / 8},
		"the worst of a slot": {[]journal.Run{run(30*time.Minute, time.Second, "failed"), run(20*time.Minute,
			time.Second, "ok")}, nil, true, ".......f", 2.0 / 3600 / 8},
		"two at once count once": {[]journal.Run{run(2*h, 2*h, "stopped"), run(h, 3*h, "ok")}, nil, true, "....uusp",
			3.0 / 8},
		"the older runs are dropped": {[]journal.Run{run(2*h+1, h, "ok")}, nil, false, "kkkkpu..", 1.0 / 8},
		"before and after": {[]journal.Run{run(20*h, h, "failed"), run(-2*h, h, "failed")}, nil, true, "........",
			0},
	} {
		line := NewTimeline(c.runs, c.up, noon, 8*h, 8, c.complete)
		if have := drawn(line); have != c.want && strings.ReplaceAll(have, "p", "u") != strings.ReplaceAll(c.want, "p",
			"u") || line.Share()-c.share > 1e-9 || c.share-line.Share() > 1e-9 {
			t.Errorf("%s: %s and %.5f, not %s and %.5f", name, have, line.Share(), c.want, c.share)
		}
	}
	line := NewTimeline([]journal.Run{{Start: noon.Add(-h), End: noon.Add(-h), Outcome: "ok", Skipped: 3}}, &up, noon,
		8*h,
		8, true)
	if !slices.Equal(line.Skipped, []bool{7: true}) || !slices.Equal(line.Coarser(4).Skipped, []bool{false, true}) {
		t.Errorf("skipped: %v", line.Skipped)
	}
	if have := drawn(line.Coarser(2)); have != "...p" {
		t.Errorf("coarser: %s", have)
	}
}

// worst returns a page of many names with every field set.
func worst(names int) *Page {
	p := &Page{Host: "h", Written: noon, Every: time.Minute}
	random := rand.New(rand.NewPCG(1, 2))
	outcomes := []string{"ok", "ok", "ok", "failed", "stopped", "killed", "lost"}
	var runs []journal.Run
	for i := range 2000 {
		r := run(time.Duration(2000-i)*5*time.Minute, time.Duration(random.IntN(300))*time.Second,
			outcomes[random.IntN(len(outcomes))])
		r.Skipped = random.IntN(2)
		runs = append(runs, r)
	}
	last, history := runs[len(runs)-1], NewHistory(runs, nil, noon, true)
	for n := range names {
		name := fmt.Sprintf("%0128d", n)
		p.Names = append(p.Names, Name{
			Name: name, State: "backing off until 12:00:00", Since: &last.End, Command: strings.Repeat("command ", 500),
			Schedule: "* * * * *", Next: &noon, Last: &last, LastOK: &noon,
			Failing: &noon, Status: strings.Repeat("<&>",
				3000), Processes: 3, Memory: 1 << 20, CPU: 3, Supervised: true,
			Totals:  journal.Totals{Runs: 500},
			History: history, Output: &journal.Output{End: noon,
				Text: strings.Repeat(strings.Repeat("\x1b&", 250)+"\n", 30)},
		})
		p.Wrong = append(p.Wrong, Wrong{Name: name, What: "failing", Text: strings.Repeat("why ", 200),
			Advice: strings.Repeat("do ", 200)})
	}
	p.Sort()
	return p
}

// TestSizes checks that pages stay within MaxSize, and say what they leave out.
func TestSizes(t *testing.T) {
	for _, names := range []int{0, 1, 30, 300, 1200} {
		text := worst(names).HTML()
		t.Logf("%d names: %d kB, %d rows, %d articles, %d drawings", names, len(text)>>10, strings.Count(string(text),
			"<tr ")-1, strings.Count(string(text), "<article"), strings.Count(string(text), "<figure"))
		if len(text) > MaxSize {
			t.Errorf("%d names make %d bytes", names, len(text))
		}
		if rows := strings.Count(string(text), "scope=row"); rows != min(names, 500) && rows < min(names, 300) {
			t.Errorf("of %d names %d are shown", names, rows)
		}
		if left := strings.Contains(string(text), "are left out"); left != (strings.Count(string(text),
			"scope=row") < names) {
			t.Errorf("%d names: left out: %v", names, left)
		}
	}
}

func TestVisible(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                  "plain",
		"a\x00b\x1b[0m\x7f\n\r":  "a␀b␛[0m␡␊␍",
		"\u202eevil\u2066\u200b": "‹U+202E›evil‹U+2066›‹U+200B›",
		"é漢שלום":                 "é漢שלום",
		"z\u0301\u0301\u0301":    "z\u0301\u0301‹U+0301›",
		"\xff":                   "�",
		strings.Repeat("x", 21):  strings.Repeat("x", 20) + "… (1 bytes more)",
		strings.Repeat("é", 22):  strings.Repeat("é", 20) + "… (4 bytes more)",
		"\ufeff\u00ad\U000e0041": "‹U+FEFF›‹U+00AD›‹U+E0041›",
	} {
		if have := visible(text, 20); have != want {
			t.Errorf("%q becomes %q, not %q", text, have, want)
		}
	}
}

// TestOnlyWrong checks that "only what is wrong" shows each name of the list above, also
// a paused name, whose row isn't red.
func TestOnlyWrong(t *testing.T) {
	p := &Page{Host: "h", Written: noon, Names: []Name{{Name: "a", Kind: KindUp}, {Name: "b", Kind: KindPaused,
		State: "paused"}, {Name: "c", Kind: KindUp}},
		Wrong: []Wrong{{Name: "b", What: "paused"}, {Name: "c", What: "crontab"}}}
	p.Sort()
	text := string(p.HTML())
	for _, want := range []string{"To be looked at: 2 of 3 names",
		"<tr class=bad data-w><th scope=row><a href=#n0>c</a>",
		"<tr class=ok><th scope=row><a href=#n1>a</a>", "<tr class=warn data-w><th scope=row><a href=#n2>b</a>"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q isn't there", want)
		}
	}
}

// TestLastNight checks that a job that failed last night and is well again counts as
// well, but is named among last night's failures.
func TestLastNight(t *testing.T) {
	night := []journal.Run{run(9*time.Hour, time.Minute, "failed"), run(8*time.Hour, time.Minute, "ok")}
	p := &Page{Host: "h", Written: noon, Names: []Name{{Name: "day", Kind: KindIdle}, {Name: "night", Kind: KindIdle,
		History: NewHistory(night, nil, noon, true)}}}
	p.Sort()
	text := string(p.HTML())
	for _, want := range []string{"All is well: 2 names", "Nothing is wrong",
		"In the last 24 hours, 2 runs ended: 1 ok, 1 failed. Failed: <a href=#n1>night</a> (1).",
		"last failed run ended at 2026-11-30 03:00"} {
		if !strings.Contains(text, want) {
			t.Errorf("%q isn't there", want)
		}
	}
}

// FuzzVisible checks that visible's output is visible text.
func FuzzVisible(f *testing.F) {
	f.Add("plain")
	f.Add("\x1b[31m\u202e\u0301\u0301\u0301\xff</pre><script>")
	f.Fuzz(func(t *testing.T, text string) {
		w := &writer{page: &Page{}, limits: limits{text: 100}}
		w.f("%", text)
		out := w.String()
		if strings.ContainsAny(out, "<>\"'") {
			t.Errorf("%q becomes markup: %q", text, out)
		}
		marks := 0
		for _, r := range out {
			if marks++; !unicode.Is(unicode.M, r) {
				marks = 0
			}
			if !strconv.IsPrint(r) || unicode.Is(unicode.Bidi_Control, r) || marks > maxMarks {
				t.Errorf("%q becomes %q, with %U", text, out, r)
			}
		}
		if n := utf8.RuneCountInString(html.UnescapeString(out)); n > 100*10+30 {
			t.Errorf("%q becomes %d characters", text, n)
		}
	})
}

// TestHashes checks the hashes, because the browser refuses a style or script with
// another hash.
func TestHashes(t *testing.T) {
	for _, c := range []struct{ name, text, hash string }{{"styleHash", style, styleHash}, {"scriptHash", script,
		scriptHash}} {
		sum := sha256.Sum256([]byte(c.text))
		if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; c.hash != want {
			t.Errorf("%s is to be %q", c.name, want)
		}
	}
}
