package guard

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestOpenDir checks that each kind of directory that another user could tamper with
// is refused with its own reason.
func TestOpenDir(t *testing.T) {
	top := t.TempDir()
	at := func(name string) string { return filepath.Join(top, name) }
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(at("mine"), 0o700))
	must(os.Mkdir(at("open"), 0o700))
	must(os.Chmod(at("open"), 0o770))
	must(os.Symlink("mine", at("link")))
	must(os.WriteFile(at("file"), nil, 0o600))
	for _, c := range []struct{ dir, why string }{
		{"mine", ""},
		{"deep/er", ""}, // made
		{"open", "may be written by others (mode 0770)"},
		{"link", "is a symbolic link"},
		{"file", "is not a directory"},
		{"file/below", "not a directory"},
		{"mine/../link/x", ""}, // only the directory itself mustn't be a link
	} {
		d, err := openDir(at(c.dir), false)
		if c.why == "" {
			if err != nil {
				t.Errorf("%s: %v", c.dir, err)
			} else if info, err := os.Lstat(d.path); err != nil || info.Mode().Perm() != 0o700 {
				t.Errorf("%s: %v, %v", c.dir, info, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.why) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v; want %q", c.dir, err, c.why)
		}
	}
	if os.Geteuid() == 0 {
		must(os.Chown(at("mine"), 65534, 65534))
		if _, err := openDir(at("mine"), false); err == nil ||
			!strings.Contains(err.Error(), "belongs to uid 65534, not to uid 0") {
			t.Errorf("another's: %v", err)
		}
	}
	// Two ways to write one directory are one namespace.
	must(os.Symlink(top, at("round")))
	one, err1 := openDir(at("deep/er"), false)
	two, err2 := openDir(at("round/deep/er"), false)
	if err1 != nil || err2 != nil || one.space != two.space || one.path == two.path {
		t.Errorf("%+v, %v; %+v, %v", one, err1, two, err2)
	}
}
