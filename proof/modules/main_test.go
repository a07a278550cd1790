package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// TestList checks that MODULES.md lists what is linked in.
func TestList(t *testing.T) {
	t.Chdir("../..")
	want, err := list()
	if err != nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile("MODULES.md")
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("MODULES.md is out of date: run make modules, and look at the difference")
	}
}

// TestLicence checks that an unknown or forbidden licence is an error.
func TestLicence(t *testing.T) {
	own, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	if got, err := licenceOf(own); err != nil || got == "" {
		t.Errorf("our own: %q, %v", got, err)
	}
	for name, text := range map[string]string{"none": "", "unknown": "You may do with it what I say on Tuesdays.\n",
		"never": "GNU General Public License\nPermission is hereby granted, free of charge, to any person obtaining " +
			"a copy of this software"} {
		dir := t.TempDir()
		if text != "" {
			if err := os.WriteFile(filepath.Join(dir, "LICENSE"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := licenceOf(dir); err == nil {
			t.Errorf("%s passes for %q", name, got)
		}
	}
}
