//go:build linux

package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// TestMain also runs the counter and the listener, because the demonstration starts
// its own program again.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == "publish" || os.Args[1] == "listen") {
		main()
		return
	}
	os.Exit(m.Run())
}

func TestDemo(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	_, err := exec.LookPath("initdb")
	paths, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	need.That(t, err == nil || len(paths) > 0, "initdb")
	if err := demo(context.Background()); err != nil {
		t.Error(err)
	}
	for _, name := range []string{"a", "b"} {
		if left := marked("NODE=" + name); len(left) > 0 {
			t.Errorf("left behind of node %s: %v", name, left)
		}
	}
}

func TestScore(t *testing.T) {
	for _, c := range []struct{ name, lines, wrong string }{
		{"good", "a counts 1\n    b got 1 from a\na counts 2\n    a got 2 from a\nb counts 3\nb counts 4\n", ""},
		{"twice", "a counts 1\nb counts 1\n", "1 was counted by a and by b"},
		{"back", "a counts 2\n    a got 2 from a\nb counts 1\n", "1 was counted after 2"},
		{"lost", "a counts 1\na counts 2\n    a got 2 from a\na counts 3\na counts 4\n", "1 was never received"},
	} {
		var out bytes.Buffer
		s := newScore(&out)
		for line := range strings.Lines(c.lines) {
			fmt.Fprint(s, line)
		}
		err := s.judge()
		if c.wrong == "" && err != nil || c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong)) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
