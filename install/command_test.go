package install

import (
	"os"
	"path/filepath"
	"testing"
)

func TestCommandPath(t *testing.T) {
	root := t.TempDir()
	for _, file := range []string{"cron/both", "user/both", "cron/sys", "user/mine", "cwd/here"} {
		file = filepath.Join(root, file)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(root+"/cron/plain", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(root+"/user/folder", 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../cron/sys", root+"/user/sys"); err != nil {
		t.Fatal(err)
	}
	cron, user, cwd := root+"/none:"+root+"/cron", root+"/user:.", root+"/cwd"
	tests := map[string]string{
		"/bin/x":      "/bin/x",
		"./x":         cwd + "/x",
		".//./x":      cwd + "/x",
		"a/../x":      cwd + "/a/../x",
		"../x":        cwd + "/../x",
		"sys":         "sys",
		"mine":        root + "/user/mine",
		"both":        root + "/user/both",
		"here":        cwd + "/here",
		"":            "",
		"plain":       "",
		"folder":      "",
		"no-such-cmd": "",
	}
	for command, want := range tests {
		got, changed, err := CommandPath(command, cron, user, cwd)
		if got != want || changed != (want != command && want != "") || (err != nil) != (want == "") {
			t.Errorf("%q: %q, %v, %v; want %q", command, got, changed, err, want)
		}
	}
	// Only cron's PATH has the command.
	if got, changed, err := CommandPath("sys", cron, "/none", cwd); got != "sys" || changed || err != nil {
		t.Errorf("%q, %v, %v", got, changed, err)
	}
	_, _, err := CommandPath("no-such-cmd", CronPath, user, cwd)
	wantError(t, err, `"no-such-cmd"`, CronPath, "absolute path")
}
