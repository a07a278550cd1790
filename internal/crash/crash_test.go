package crash

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestSteps checks that Steps has every step of the code, and that the code has
// every step of Steps once.
func TestSteps(t *testing.T) {
	child := map[string]string{"Forked": "direct.forked", "Told": "direct.told", "Arranged": "direct.arranged",
		"Last": "direct.exec"}
	call := regexp.MustCompile(`crash\.(?:Point\("([a-z.]+)"\)|Child\(crash\.(\w+)\))`)
	found := map[string]int{}
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range call.FindAllStringSubmatch(string(text), -1) {
			found[m[1]+child[m[2]]]++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range Steps {
		if found[step] != 1 {
			t.Errorf("%s is %d times in the code", step, found[step])
		}
	}
	for step := range found {
		if !slices.Contains(Steps, step) {
			t.Errorf("%q isn't in the list", step)
		}
	}
}
