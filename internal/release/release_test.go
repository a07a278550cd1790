package release

import (
	"os"
	"strings"
	"testing"
)

// TestChangelog checks that CHANGELOG.md begins with the section of Version.
func TestChangelog(t *testing.T) {
	text, err := os.ReadFile("../../CHANGELOG.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if section, ok := strings.CutPrefix(line, "## ["); ok {
			if !strings.Contains(section, Version) {
				t.Errorf("CHANGELOG.md begins with [%s and the version is %s", strings.TrimSpace(section), Version)
			}
			return
		}
	}
	t.Error("CHANGELOG.md has no section")
}
