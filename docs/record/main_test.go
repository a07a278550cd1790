package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"lifeline/proof/engine"
	"lifeline/proof/need"
)

const page = "../sessions.md"

func read(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestThePageIsTrue shows that the page has what the program prints.
func TestThePageIsTrue(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	need.Root(t)
	need.Programs(t, "go", "tmux", "crontab", "bash", "ip")
	need.Namespaces(t)
	need.NoError(t, engine.MissingEtcd())
	old := read(t)
	fresh, err := record(old)
	if err != nil {
		t.Fatal(err)
	}
	if masked(fresh) == masked(old) {
		return
	}
	was, is := strings.Split(masked(old), "\n"), strings.Split(masked(fresh), "\n")
	for i := range min(len(was), len(is)) {
		if was[i] != is[i] {
			t.Errorf("the page shows %q\nwhere there is %q: if that is right, run make docs", was[i], is[i])
			break
		}
	}
	if len(was) != len(is) {
		t.Errorf("the page has %d lines, and there are %d: run make docs", len(was), len(is))
	}
}

// TestEveryCommandIsShown shows that the page has each command that the help names.
func TestEveryCommandIsShown(t *testing.T) {
	text := read(t)
	found := regexp.MustCompile(`(?m)^  lifeline (\w+) `).FindAllStringSubmatch(text, -1)
	if len(found) < 10 {
		t.Fatalf("the help names %d commands", len(found))
	}
	for _, m := range found {
		command := m[1]
		shown := regexp.MustCompile(`(?m)^\$ (.*\W)?lifeline ([^|;&\n]* )?` + command + `\b`).MatchString(text)
		if !shown {
			t.Errorf("lifeline %s isn't on the page: write a block with it, and run make docs", command)
		}
	}
}

// TestMasks shows that the masks remove times and pids, but no difference that matters.
func TestMasks(t *testing.T) {
	block := func(s string) string { return masked("```console\n" + s + "\n```\n") }
	for _, pair := range [][2]string{
		{"web: restarted in 4ms, pid 149", "web: restarted in 1.204s, pid 1"},
		{"web running 103 1.2s 0 - 1.6M 0.0%", "web   running   7   1h2m   0   -   12.0G   99.9%"},
		{"runs already: pid 103, since 2026-11-22 09:45:24: x", "runs already: pid 9, since 2027-01-02 23:59:59: x"},
		{"last hour  ······▌ 0.1%", "last hour  ··█···· 12.0%"},
		{"lifeline, an unknown commit (x), go1.26.8 linux/amd64", "lifeline v1.2.3, commit 8f, go1.27 linux/arm64"},
	} {
		if block(pair[0]) != block(pair[1]) {
			t.Errorf("%q and %q differ: %q, %q", pair[0], pair[1], block(pair[0]), block(pair[1]))
		}
	}
	for _, pair := range [][2]string{
		{"exit code 1", "exit code 2"},
		{"web running 103 1.2s 0", "web stopping 103 1.2s 0"},
		{"all is well", "one thing is wrong"},
		{"* * * * * exec", "*/5 * * * * exec"},
		{"line 3 of your crontab", "line 4 of your crontab"},
	} {
		if block(pair[0]) == block(pair[1]) {
			t.Errorf("%q and %q are the same", pair[0], pair[1])
		}
	}
	if masked("$ lifeline x 10s\n") == masked("$ lifeline x 11s\n") {
		t.Error("outside of a block nothing is masked")
	}
}
