package process

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLimitMemory uses a directory as a cgroup with the memory controller.
func TestLimitMemory(t *testing.T) {
	c := &Cgroup{path: filepath.Join(t.TempDir(), "group")}
	if err := c.LimitMemory(1 << 20); err == nil {
		t.Error("LimitMemory finds no fault with a cgroup that isn't there")
	}
	if n := c.OOMKills(); n != 0 {
		t.Errorf("%d kills in it", n)
	}
	if err := os.Mkdir(c.path, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"memory.max": "max\n", "memory.oom.group": "0\n",
		"memory.events": "low 0\noom 5\noom_kill 2\noom_group_kill 1\n"} {
		if err := os.WriteFile(filepath.Join(c.path, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.LimitMemory(500 << 20); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"memory.max": "524288000", "memory.oom.group": "1"} {
		if text, _ := os.ReadFile(filepath.Join(c.path, name)); string(text) != want {
			t.Errorf("%s is %q, not %q", name, text, want)
		}
	}
	if n := c.OOMKills(); n != 2 {
		t.Errorf("%d kills, not 2", n)
	}
}
