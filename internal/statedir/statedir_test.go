package statedir

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestDefault checks that a user's directory depends on the password file alone.
func TestDefault(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	t.Setenv("XDG_RUNTIME_DIR", t.TempDir())
	if dir := Default(); strings.HasPrefix(dir, os.TempDir()+"/Test") || !filepath.IsAbs(dir) {
		t.Errorf("%s follows the environment", dir)
	}
	uid := os.Geteuid()
	if name := UserName(uid); name != "" && UserHome(uid) == "" {
		t.Errorf("%s has no home", name)
	}
	const nobody = 4294967 // in no password file
	if UserName(nobody) != "" || UserHome(nobody) != "" {
		t.Error("a user that isn't there has a name")
	}
	mine, other := t.TempDir(), uid+1
	for _, c := range []struct {
		home string
		uid  int
		fits bool
	}{{mine, uid, true}, {mine, other, false}, {mine + "/none", uid, false}, {"relative", uid,
		false}, {"", uid, false}} {
		if homeFits(c.home, c.uid) != c.fits {
			t.Errorf("%q for uid %d", c.home, c.uid)
		}
	}
	if id := machineID(); id == "" || strings.ContainsAny(id, "/\n ") {
		t.Errorf("the machine's id is %q", id)
	}
	if uid == 0 && Default() != "/run/lifeline" && Default() != "/var/run/lifeline" {
		t.Errorf("root's is %s", Default())
	}
	if uid != 0 && !strings.Contains(Default(), "lifeline") {
		t.Errorf("%s's is %s", strconv.Itoa(uid), Default())
	}
}
