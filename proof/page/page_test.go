//go:build linux

// Package page judges the page of `lifeline report` in a browser. It is a module
// of its own, so that nothing of the browser's driver comes into lifeline's.
//
//	cd proof/page && GOWORK=off go test -count=1 .
package page

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp" // drives Debian's chromium over its own protocol
	"github.com/chromedp/chromedp/kb"

	"lifeline/proof/need"
)

var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "lifeline-page-")
	if err == nil {
		program = filepath.Join(dir, "lifeline")
		build := exec.Command("go", "build", "-trimpath", "-tags",
			"urfave_cli_no_docs,osusergo,netgo", "-o", program, ".")
		build.Dir, build.Stderr = "../..", os.Stderr
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "page:", err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

// lifeline runs the program on a state directory.
func lifeline(t *testing.T, dir string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "LIFELINE_DIR="+dir, "HOME="+dir)
	return cmd
}

// write writes the page of a state directory.
func write(t *testing.T, dir string, args ...string) (file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "page.html")
	if out, err := lifeline(t, dir,
		append([]string{"report", "--out", file}, args...)...).CombinedOutput(); err != nil ||
		len(out) > 0 {
		t.Fatalf("report: %v\n%s", err, out)
	}
	info, err := os.Stat(file)
	if err != nil || info.Size() > 1<<20 {
		t.Fatalf("the page has %d bytes, %v", info.Size(), err)
	}
	return file
}

// evil is text that must stay text.
const evil = "<script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>&lt;b&gt; " +
	"\x1b[31mred\x1b]0;title\a \u202eright to left\u2066 \u200bz\u0301\u0301\u0301\u0301\u0301\u0301 ${1} {{.}} %s"

// scene makes a state directory with a name in each state, and foreign text wherever
// text comes from.
func scene(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "state")
	run := func(args ...string) {
		t.Helper()
		_ = lifeline(t, dir, args...).Run() // its code is the command's
	}
	for range 5 {
		run("job", "--", "sh", "-c", "exit 0 # "+evil)
	}
	run("--quiet", "fails", "--", "sh", "-c", `printf '%s\n' "$1"; yes "$1" | head -c 100000; exit 3`, "sh", evil)
	run("--log", filepath.Join(dir, "log"), "fails.too", "--", "sh", "-c", "seq 100; exit 1")
	run("long-line", "--", "sh", "-c", ": "+strings.Repeat("x", 100<<10))
	run("long-line", "--", "sh", "-c", "kill -KILL $$")
	run("pause", "job.paused")
	run("job.paused", "--", "true")
	for name, status := range map[string]string{"web": "serving 12 requests", "evil": evil, "a-very-long-name-" +
		strings.Repeat("n", 110): strings.Repeat("S", 1000)} {
		up := lifeline(t, dir, "--respawn", "--notify", "--notify-access", "all", name, "--", "sh", "-c",
			`systemd-notify --ready --status="$1"; exec sleep 3600`, "sh", status)
		if err := up.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = lifeline(t, dir, "terminate", "--now", name).Run()
			_ = up.Wait()
		})
		deadline := time.Now().Add(40 * time.Second)
		for {
			out, _ := lifeline(t, dir, "status", "--json", name).Output()
			if strings.Contains(string(out), `"state": "ready"`) {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("%s never became ready: %s", name, out)
			}
			<-time.After(20 * time.Millisecond)
		}
	}
	return dir
}

// TestJudge checks that a page that has each of the faults is found guilty of each.
func TestJudge(t *testing.T) {
	axe := readAxe(t)
	file := filepath.Join(t.TempDir(), "bad.html")
	err := os.WriteFile(file, []byte(`<!doctype html><html lang=en><title>x</title><main><h1>x</h1><p>one text<p style="position:relative;top:-2em">another text<p style="color:#aaa;background:#fff">pale
<svg role=img width=50 height=50></svg><p style="width:2000px">wide<p style="position:absolute;left:3000px">far away<img alt="" src="file:///no/such.png"><script>console.log("words")</script></main>`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	b := open(t)
	b.show(file, 800, "light")
	found := strings.Join(b.faults(axe), "\n")
	for _, want := range []string{"one text / another text", "beyond the edge: far away", "it scrolls sideways",
		"axe: color-contrast", "axe: svg-img-alt"} {
		if !strings.Contains(found, want) {
			t.Errorf("%q isn't found, but\n%s", want, found)
		}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Contains(b.requests, "file:///no/such.png") || !strings.Contains(strings.Join(b.said, ""), "log: ") {
		t.Errorf("requests %q, words %q", b.requests, b.said)
	}
}

func TestPage(t *testing.T) {
	need.Program(t, "chromium")
	need.Program(t, "systemd-notify")
	axe := readAxe(t)
	file := write(t, scene(t))
	b := open(t)
	for _, width := range []int64{360, 800, 1400} {
		for _, scheme := range []string{"light", "dark"} {
			b.show(file, width, scheme)
			for _, what := range b.faults(axe) {
				t.Errorf("at %d, %s: %s", width, scheme, what)
			}
		}
	}
	// On paper: A4 less its margins, in CSS pixels.
	command(b, emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: 718, Height: 1047,
		DeviceScaleFactor: 1})
	command(b, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Media: "print"})
	for _, what := range ask[[]string](b, overlaps) {
		t.Errorf("on paper: %s", what)
	}
	if ask[bool](b, "document.querySelector('#tools').checkVisibility()") {
		t.Error("on paper there are controls")
	}
	if ask[bool](b, "'hacked' in window") || ask[int](b, "document.querySelectorAll('img').length") > 0 {
		t.Error("foreign text became markup")
	}
	if text := ask[string](b, "document.body.innerText"); strings.ContainsAny(text, "\x1b\a\u202e\u2066\u200b") ||
		!strings.Contains(text, "<script>window.hacked=1</script>") || !strings.Contains(text, "‹U+202E›") {
		t.Error("foreign text isn't shown as it is")
	}
	b.isQuiet(file)
}

// TestFleet checks a page of machines, one of which is hostile and one of which sends
// nothing that can be used.
func TestFleet(t *testing.T) {
	axe := readAxe(t)
	dir, fleet := scene(t), t.TempDir()
	good, err := lifeline(t, dir, "status", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	hostile, err := json.Marshal([]map[string]any{{"name": "web", "state": evil, "status": strings.Repeat(evil, 50),
		"command": []string{evil, strings.Repeat("w", 5000)}, "schedule": evil, "problem": evil, "node": evil,
		"failing_since": "9999-12-31T23:59:59Z", "last": map[string]any{"start": "0001-01-01T00:00:00Z",
			"end": "9999-12-31T23:59:59Z", "outcome": evil, "why": strings.Repeat(evil, 50)},
		"memory_bytes": uint64(1<<64 - 1), "processes": -1, "cpu_seconds": -1e308}})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"web1": string(good), "web2": string(good), "hostile": string(hostile),
		"damaged": "[{" + evil, evil[:len("<script>window.hacked=1<")]: "{}", strings.Repeat("long", 50): "[]"} {
		if err := os.WriteFile(filepath.Join(fleet, name+".json"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := write(t, dir, "--fleet", fleet)
	b := open(t)
	for _, width := range []int64{360, 1400} {
		b.show(file, width, "light")
		for _, what := range b.faults(axe) {
			t.Errorf("at %d: %s", width, what)
		}
	}
	if ask[bool](b, "'hacked' in window") || ask[int](b, "document.querySelectorAll('img').length") > 0 {
		t.Error("foreign text became markup")
	}
	if n := ask[int](b, "document.querySelectorAll('tbody tr').length"); n != 17 {
		t.Errorf("%d names are shown", n)
	}
	if text := ask[string](b, "document.querySelector('.wrong').innerText"); !strings.Contains(text,
		"damaged.json can't be used") {
		t.Errorf("what is wrong: %s", text)
	}
	b.isQuiet(file)
}

// TestCluster checks a page of nodes, as an engine may tell of them. A script stands in
// for lifeline-remote.
func TestCluster(t *testing.T) {
	axe := readAxe(t)
	ago := func(d time.Duration) string { return time.Now().Add(-d).Format(time.RFC3339) }
	var many []string
	for n := range 80 {
		many = append(many, fmt.Sprintf("customer-%03d.import", n))
	}
	name := func(name string) map[string]any {
		return map[string]any{"name": name, "state": "running", "running": true, "command": []string{"/srv/" + name},
			"up_since": ago(3 * time.Hour), "totals": map[string]int{"runs": 7, "ok": 7}}
	}
	failing := name("web")
	failing["failing_since"], failing["status"], failing["schedule"] = ago(time.Hour), evil, evil
	failing["last"] = map[string]any{"start": ago(time.Hour), "end": ago(time.Minute), "outcome": "failed",
		"code": 3, "why": evil}
	answer, err := json.Marshal([]map[string]any{
		{"node": "a", "holds": many, "stands_by": []string{"web"}, "clock_skew_seconds": 12, "present": true,
			"heard": ago(time.Minute), "version": "0.2.0", "names": []any{name(many[0]), "no object", 7}},
		{"node": strings.Repeat("long", 50), "holds": []string{"web"}, "stands_by": many, "clock_skew_seconds": -1,
			"present": true, "heard": ago(time.Minute), "version": evil, "names": []any{failing}},
		{"node": evil, "holds": []string{}, "stands_by": []string{}, "heard": ago(70 * time.Hour), "version": "0.1.0",
			"names": []any{name("web"), map[string]any{"name": evil}}},
		{"node": "drained", "holds": []string{}, "stands_by": []string{}, "drained": true}})
	if err != nil {
		t.Fatal(err)
	}
	bin, file := t.TempDir(), filepath.Join(t.TempDir(), "page.html")
	for name, text := range map[string]string{"answer": string(answer),
		"lifeline-remote": "#!/bin/sh\nexec cat " + filepath.Join(bin, "answer") + "\n"} {
		if err := os.WriteFile(filepath.Join(bin, name), []byte(text), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	cmd := lifeline(t, t.TempDir(), "report", "--cluster", "etcd://h", "--out", file)
	cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	b := open(t)
	for _, width := range []int64{360, 800, 1400} {
		b.show(file, width, "light")
		for _, what := range b.faults(axe) {
			t.Errorf("at %d: %s", width, what)
		}
	}
	if ask[bool](b, "'hacked' in window") || ask[int](b, "document.querySelectorAll('img').length") > 0 {
		t.Error("foreign text became markup")
	}
	if n := ask[int](b, "document.querySelectorAll('table.nodes tbody tr').length"); n != 4 {
		t.Errorf("%d nodes are shown", n)
	}
	text := ask[string](b, "[...document.querySelectorAll('.wrong')].map(e => e.innerText).join('\\n')")
	for _, want := range []string{"a is 13s ahead of longlong", "versions apart: 0.2.0 on a; ", "not heard of: ",
		"its last word came 2d22h ago",
		"failing since "} {
		if !strings.Contains(text, want) {
			t.Errorf("%q isn't among what is wrong: %s", want, text)
		}
	}
	if keep := os.Getenv("LIFELINE_PAGE"); keep != "" { // for a look
		_ = exec.Command("cp", file, keep).Run()
	}
	b.isQuiet(file)
}

// TestKeyboard checks that Tab comes to each control, and shows where it is.
func TestKeyboard(t *testing.T) {
	need.Program(t, "systemd-notify")
	file := write(t, scene(t))
	b := open(t)
	b.show(file, 1400, "light")
	// A caption that lies off the screen is there for a reader who tabs to it.
	want := ask[[]string](b, `[...document.querySelectorAll('a[href], button, input, [tabindex="0"]')].map((e, i) => e.dataset.i = i + ' ' + e.textContent.slice(0, 30))`)
	if len(want) < 20 {
		t.Fatalf("only %d controls: %q", len(want), want)
	}
	var have []string
	for range len(want) + 5 {
		b.do(chromedp.KeyEvent(kb.Tab))
		at := ask[string](b, `document.activeElement.dataset.i ?? ''`)
		if at == "" {
			break
		}
		have = append(have, at)
		if !ask[bool](b, `(() => { const s = getComputedStyle(document.activeElement), r = document.activeElement.getBoundingClientRect(); return s.outlineStyle != 'none' && parseFloat(s.outlineWidth) >= 2 && r.left >= 0 && r.top >= 0 && r.bottom <= innerHeight })()`) {
			t.Errorf("at %q nothing shows that it has the focus", at)
		}
	}
	if !slices.Equal(have, want) {
		t.Errorf("Tab comes to %q, not to %q", have, want)
	}
	// Sorting and filtering by the keyboard alone.
	b.do(chromedp.Focus("th:first-child button"), chromedp.KeyEvent(kb.Enter))
	names := `[...document.querySelectorAll('tbody th')].filter(e => e.checkVisibility()).map(e => e.textContent)`
	if list := ask[[]string](b, names); !slices.IsSorted(list) || len(list) != 8 {
		t.Errorf("sorted by name: %q", list)
	}
	if sort := ask[string](b, `document.querySelector('th').getAttribute('aria-sort')`); sort != "ascending" {
		t.Errorf("aria-sort is %q", sort)
	}
	b.do(chromedp.Focus("#filter"), chromedp.KeyEvent("fails"))
	if list := ask[[]string](b, names); !slices.Equal(list, []string{"fails", "fails.too"}) {
		t.Errorf("filtered: %q", list)
	}
	if count := ask[string](b, `document.querySelector('#count').textContent`); count != "2 of 8 names" {
		t.Errorf("it says %q", count)
	}
	b.isQuiet(file)
}

// TestOld checks that a page of yesterday says so in large letters. Without the script
// the time of writing stands there.
func TestOld(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	_ = lifeline(t, dir, "job", "--", "true").Run()
	file := write(t, dir)
	b := open(t)
	b.show(file, 800, "light")
	if text := ask[string](b, "document.querySelector('#old').textContent"); text != "" {
		t.Errorf("a fresh page says %q", text)
	}
	size := func() float64 {
		return ask[float64](b, "parseFloat(getComputedStyle(document.querySelector('#written')).fontSize)")
	}
	fresh := size()
	later := command(b, page.AddScriptToEvaluateOnNewDocument,
		page.AddScriptToEvaluateOnNewDocumentParams{Source: "const now = Date.now; Date.now = () => now() + 86400e3"})
	b.show(file, 800, "light")
	if text := ask[string](b, "document.querySelector('#old').innerText"); !strings.Contains(text, "written 1d ago") {
		t.Errorf("a page of yesterday says %q", text)
	}
	if size() < 1.3*fresh {
		t.Errorf("the time of writing has %g pixels, and had %g", size(), fresh)
	}
	command(b, page.RemoveScriptToEvaluateOnNewDocument,
		page.RemoveScriptToEvaluateOnNewDocumentParams{Identifier: later.Identifier})
	command(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	b.show(file, 800, "light")
	command(b, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{})
	if text := ask[string](b, "document.body.innerText"); !strings.Contains(text,
		"Written "+time.Now().Format("2006-01-")) || strings.Contains(text, " ago)") ||
		ask[bool](b, "document.querySelector('#tools').checkVisibility()") {
		t.Errorf("without a script: %s", text)
	}
	b.isQuiet(file)
}
