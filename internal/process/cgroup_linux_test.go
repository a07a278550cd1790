package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"lifeline/procscan"
)

// TestRemoveEmpty checks that a start removes the cgroups that a killed supervisor of
// its name has left, and nothing else.
func TestRemoveEmpty(t *testing.T) {
	ended := exec.Command("true")
	if err := ended.Run(); err != nil {
		t.Fatal(err)
	}
	dead, self := ended.Process.Pid, procscan.Self()
	all := []string{
		fmt.Sprintf("lifeline-one-%d-1-0", dead),
		fmt.Sprintf("lifeline-one-%d-%d-0", self.PID, self.Start),
		fmt.Sprintf("lifeline-one-%d-%d-0", self.PID, self.Start+1), // the pid was used again
		fmt.Sprintf("lifeline-two-%d-1-0", dead),
		"lifeline-one-more",
	}
	parent := t.TempDir()
	for _, name := range all {
		if err := os.Mkdir(filepath.Join(parent, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	removeEmpty(parent, "lifeline-one-")
	var left []string
	for _, name := range all {
		if _, err := os.Stat(filepath.Join(parent, name)); err == nil {
			left = append(left, name)
		}
	}
	if want := []string{all[1], all[3], all[4]}; !slices.Equal(left, want) {
		t.Errorf("left are %v, not %v", left, want)
	}
}
