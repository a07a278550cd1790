package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

// TestModules tests the other modules of go.work, because ./... ends where they
// begin. The Makefile names them itself, by the pattern work, and says so in
// LIFELINE_MODULES.
func TestModules(t *testing.T) {
	if os.Getenv("LIFELINE_MODULES") == "tested" {
		return
	}
	out, err := exec.Command("go", "work", "edit", "-json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var work struct{ Use []struct{ DiskPath string } }
	if err := json.Unmarshal(out, &work); err != nil {
		t.Fatal(err)
	}
	args := []string{"test", "-short", "-tags", tags} // the long ones are for make test-all
	for _, module := range work.Use {
		if module.DiskPath != "." {
			args = append(args, module.DiskPath+"/...")
		}
	}
	if len(args) < 8 {
		t.Fatalf("only %q are to be tested", args)
	}
	if out, err := exec.Command("go", args...).CombinedOutput(); err != nil {
		t.Errorf("go %q: %v\n%s", args, err, out)
	}
}
