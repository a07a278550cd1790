//go:build linux

package page

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/accessibility"

	"lifeline/proof/need"
)

// heard returns what a screen reader says of the page, in its order: "role: name".
func (b *browser) heard() (list []string) {
	b.Helper()
	tree := command(b, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	nodes := map[accessibility.NodeID]*accessibility.Node{}
	for _, n := range tree.Nodes {
		nodes[n.NodeID] = n
	}
	text := func(v *accessibility.Value) (s string) {
		if v != nil {
			_ = json.Unmarshal(v.Value, &s)
		}
		return s
	}
	var walk func(*accessibility.Node)
	walk = func(n *accessibility.Node) {
		if n == nil {
			return
		}
		if role := text(n.Role); !n.Ignored && role != "InlineTextBox" && role != "generic" && role != "none" {
			list = append(list, role+": "+text(n.Name))
		}
		for _, id := range n.ChildIDs {
			walk(nodes[id])
		}
	}
	walk(tree.Nodes[0])
	return list
}

// TestReading checks that a screen reader says first what is wrong and why. It goes
// from landmark to landmark and from heading to heading, and knows the name of each
// row. Before, the heading of a name was missing until it was on the screen.
func TestReading(t *testing.T) {
	need.Program(t, "systemd-notify")
	file := write(t, scene(t))
	b := open(t)
	for _, width := range []int64{1400, 360} {
		b.show(file, width, "light")
		list := b.heard()
		at := 0
		for _, want := range []string{"RootWebArea: To be looked at: ", "link: To the list of names", "banner: ",
			"heading: lifeline on ", "StaticText: To be looked at: ", "StaticText: Written ", "main: ", "region: What is wrong",
			"heading: What is wrong", "StaticText: In the last 24 hours, ", "list: ", "link: fails", "StaticText: failing",
			"StaticText: : the last one: exit 3", "StaticText: To do: ", "region: All names: 8", "heading: All names: 8",
			"table: All names: 8", "columnheader: Name", "rowheader: fails", "cell: not running; failing, " +
				"crontab", "region: Each name",
			"heading: Each name", "heading: fails", "heading: fails.too", "heading: job", "contentinfo: "} {
			if width < 800 && strings.HasPrefix(want, "columnheader") {
				continue // on a phone the cells say themselves what they are
			}
			next := slices.IndexFunc(list[at:], func(one string) bool { return strings.HasPrefix(one, want) })
			if next < 0 {
				t.Fatalf("at %d: %q isn't heard after %q", width, want, list[max(0, at-1):min(len(list), at+40)])
			}
			at += next
		}
		named := 0
		for _, one := range list {
			if strings.HasPrefix(one, "heading: ") {
				named++
			}
		}
		if named < 3+8 {
			t.Errorf("at %d: %d headings", width, named)
		}
	}
}

// TestThreeReaders opens a page of 300 names, of which all have failed in the last day, as
// three people do. What each looks for is on the first screen, or among the first words:
// on a phone, a cron that doesn't run stood below twenty names that had failed.
func TestThreeReaders(t *testing.T) {
	dir, bin, file := many(t), t.TempDir(), filepath.Join(t.TempDir(), "page.html")
	// No process is seen, so that no cron runs, whatever this machine has.
	if err := os.WriteFile(filepath.Join(bin, "crontab"), []byte("#!/bin/sh\nexit 0\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := lifeline(t, dir, "report", "--out", file)
	cmd.Env = append(cmd.Env, "PATH="+bin+":"+os.Getenv("PATH"))
	namespace := []string{"unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	cmd.Args, cmd.Path = append(namespace, append([]string{program}, cmd.Args[1:]...)...), need.Program(t, "unshare")
	need.Root(t)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b := open(t)
	for _, size := range [][2]int64{{1400, 900}, {360, 740}} {
		b.show(file, size[0], "light")
		bottom := func(element string) float64 {
			return ask[float64](b, fmt.Sprintf("(%s).getBoundingClientRect().bottom", element))
		}
		for reader, element := range map[string]string{
			"the administrator: is something wrong?":  "document.querySelector('.verdict')",
			"the administrator: what comes first?":    "document.querySelector('ul.wrong li')",
			"the administrator: what is to be done?":  "document.querySelector('ul.wrong .do')",
			"the manager: how did the last day's go?": "[...document.querySelectorAll('p')].find(p => p.textContent.includes('In the last 24 hours, ')).previousElementSibling",
		} {
			if at := bottom(element); at > float64(size[1]) {
				t.Errorf("at %d by %d, %s stands %.0f pixels down", size[0], size[1], reader, at)
			}
		}
		// A screen reader says some five words a second.
		words := 0
		for _, one := range b.heard() {
			words += len(strings.Fields(one)) - 1 // less the role
			if strings.Contains(one, "no cron daemon runs here") {
				break
			}
		}
		t.Logf("at %d, cron's fault is heard after %d words", size[0], words)
		if words > 150 {
			t.Errorf("at %d, cron's fault is heard after %d words", size[0], words)
		}
	}
}
