package install

import (
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/need"
)

func TestDiff(t *testing.T) {
	const head = "--- crontab\n+++ crontab\n"
	tests := map[string]struct{ old, new, want string }{
		"same":    {"a\n", "a\n", ""},
		"first":   {"", "a\nb\n", head + "@@ -0,0 +1,2 @@\n+a\n+b\n"},
		"last":    {"a\n", "", head + "@@ -1,1 +0,0 @@\n-a\n"},
		"context": {"1\n2\n3\n4\n5\n", "1\n2\n3\n4\n5\n6\n", head + "@@ -3,3 +3,4 @@\n 3\n 4\n 5\n+6\n"},
		"middle": {"1\n2\n3\n4\nx\n5\n6\n7\n8\n", "1\n2\n3\n4\ny\n5\n6\n7\n8\n",
			head + "@@ -2,7 +2,7 @@\n 2\n 3\n 4\n-x\n+y\n 5\n 6\n 7\n"},
		"two hunks": {"x\n1\n2\n3\n4\n5\n6\n7\nx\n", "1\n2\n3\n4\n5\n6\n7\n",
			head + "@@ -1,4 +1,3 @@\n-x\n 1\n 2\n 3\n@@ -6,4 +5,3 @@\n 5\n 6\n 7\n-x\n"},
		"near": {"x\n1\n2\n3\n4\n5\n6\nx\n", "1\n2\n3\n4\n5\n6\n",
			head + "@@ -1,8 +1,6 @@\n-x\n 1\n 2\n 3\n 4\n 5\n 6\n-x\n"},
		"no newline":   {"a", "a\nb\n", head + "@@ -1,1 +1,2 @@\n-a\n\\ No newline at end of file\n+a\n+b\n"},
		"bytes, CR":    {"\xff\r\n", "\xff\n", head + "@@ -1,1 +1,1 @@\n-\xff\r\n+\xff\n"},
		"moved inside": {"a\nb\nc\n", "c\na\nb\n", head + "@@ -1,3 +1,3 @@\n+c\n a\n b\n-c\n"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := Diff(test.old, test.new, "crontab"); got != test.want {
				t.Errorf("got:\n%s\nwant:\n%s", got, test.want)
			}
		})
	}
}

func TestDiffOfManyLinesIsBounded(t *testing.T) {
	old := strings.Repeat("a\n", 3000)
	new := strings.Repeat("b\n", 3000)
	if got := Diff(old, new, "t"); strings.Count(got, "\n") != 3+6000 {
		t.Errorf("%d lines", strings.Count(got, "\n"))
	}
}

func TestPatchTakesTheDiff(t *testing.T) {
	need.Program(t, "patch")
	random := rand.New(rand.NewPCG(7, 8))
	text := func() string {
		var out strings.Builder
		for range random.IntN(40) {
			out.WriteString(string("abcdefg"[random.IntN(7)]) + "\n")
		}
		return strings.TrimSuffix(out.String(), "\n"[:random.IntN(2)])
	}
	for range 60 {
		old, new := text(), text()
		if random.IntN(2) == 0 {
			// Far apart, for several hunks.
			new = "x\n" + old[:len(old)/2] + "y\n" + old[len(old)/2:]
		}
		file := filepath.Join(t.TempDir(), "f")
		if err := os.WriteFile(file, []byte(old), 0o600); err != nil {
			t.Fatal(err)
		}
		diff := Diff(old, new, "f")
		cmd := exec.Command("patch", "-s", "-f", "-F0", file)
		cmd.Stdin = strings.NewReader(diff)
		if out, err := cmd.CombinedOutput(); err != nil && diff != "" {
			t.Fatalf("patch: %v: %s\n%s", err, out, diff)
		}
		if got, err := os.ReadFile(file); string(got) != new && !os.IsNotExist(err) {
			t.Fatalf("patch made %q of %q, want %q with\n%s", got, old, new, diff)
		}
	}
}
