package install

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"lifeline/proof/need"
)

func TestCronDPath(t *testing.T) {
	tests := map[string]string{
		"web":     "lifeline-web",
		"Web-1":   "lifeline-Web-1",
		"app.x":   "lifeline-app_dx",
		"app_x":   "lifeline-app__x",
		"app_dx":  "lifeline-app__dx",
		"a:b@c+d": "lifeline-a_cb_ac_pd",
	}
	for name, want := range tests {
		if got, err := (CronD{Dir: "/d"}).Path(name); err != nil || got != "/d/"+want {
			t.Errorf("%s: %s, %v", name, got, err)
		}
	}
	if got, err := (CronD{}).Path("web"); err != nil || got != "/etc/cron.d/lifeline-web" {
		t.Errorf("%s, %v", got, err)
	}
	_, err := CronD{}.Path("../x")
	wantError(t, err, `"../x"`, "letters")
	_, err = CronD{}.Path("a" + strings.Repeat(".", 127))
	wantError(t, err, "255", "shorter")
}

func TestCronDPathsNeverMeet(t *testing.T) {
	allowed := regexp.MustCompile(`^/d/[A-Za-z0-9_-]+$`)
	seen := map[string]string{}
	const alphabet = "ad_.:@+c-p"
	var try func(name string, left int)
	try = func(name string, left int) {
		if validName().MatchString(name) {
			path, err := CronD{Dir: "/d"}.Path(name)
			if err != nil || !allowed.MatchString(path) {
				t.Fatalf("%s: %s, %v", name, path, err)
			}
			if other, ok := seen[path]; ok {
				t.Fatalf("%s and %s have the file %s", name, other, path)
			}
			seen[path] = name
		}
		if left > 0 {
			for _, c := range alphabet {
				try(name+string(c), left-1)
			}
		}
	}
	try("", 5)
}

func addTo(d CronD, e Entry) (old, new string, err error) {
	if old, err = d.Read(e.Name); err == nil {
		new, err = AddSystem(old, e)
	}
	return old, new, err
}

func removeFrom(d CronD, name string) (old, new string, found bool, err error) {
	if old, err = d.Read(name); err == nil {
		new, found, err = RemoveSystem(old, name)
	}
	return old, new, found, err
}

func TestCronD(t *testing.T) {
	need.Root(t) // cron's directory is root's
	d := CronD{Dir: t.TempDir()}
	e := web()
	e.User = "www-data"

	old, new, err := addTo(d, e)
	want := cronDHeader + strings.NewReplacer(" exec /usr/bin", " www-data exec /usr/bin", "uninstall web",
		"uninstall --cron-d web").Replace(webBlock)
	if old != "" || new != want || err != nil {
		t.Fatalf("%q, %q, %v", old, new, err)
	}
	if names, _ := filepath.Glob(d.Dir + "/*"); len(names) > 0 {
		t.Fatalf("Add wrote %q", names)
	}
	if err := d.Write("web", new); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(d.Dir, "lifeline-web")
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if s := info.Sys().(*syscall.Stat_t); info.Mode() != 0o644 || s.Uid != 0 || s.Gid != 0 {
		t.Errorf("mode %v, owner %d:%d", info.Mode(), s.Uid, s.Gid)
	}
	if entries, _ := os.ReadDir(d.Dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
	text, err := d.Read("web")
	line, found, findErr := Find(text, "web", SystemTable)
	if err != nil || findErr != nil || !found || line.User != "www-data" || line.Environment["PATH"] != CronDPath ||
		line.Environment["SHELL"] != "/bin/sh" {
		t.Errorf("%+v, %v, %v, %v", line, found, err, findErr)
	}

	// A setting added by hand stays, a job added by hand keeps the file.
	if err := d.Write("web", "MAILTO=me\n"+new); err != nil {
		t.Fatal(err)
	}
	e.Options = []string{"--respawn"}
	old, new, err = addTo(d, e)
	if err != nil || !strings.HasPrefix(new, "MAILTO=me\n") || !strings.Contains(new, "--respawn") ||
		old != "MAILTO=me\n"+want {
		t.Errorf("%q, %q, %v", old, new, err)
	}
	if err := d.Write("web", new+"0 1 * * * root true\n"); err != nil {
		t.Fatal(err)
	}
	_, rest, found, err := removeFrom(d, "web")
	if err != nil || !found || rest != "MAILTO=me\n"+cronDHeader+"0 1 * * * root true\n" {
		t.Errorf("%q, %v, %v", rest, found, err)
	}

	if err := d.Write("web", new); err != nil {
		t.Fatal(err)
	}
	old, rest, found, err = removeFrom(d, "web")
	if old != new || rest != "" || !found || err != nil {
		t.Errorf("%q, %q, %v, %v", old, rest, found, err)
	}
	for range 2 {
		if err := d.Write("web", rest); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("still there: %v", err)
	}
	if _, rest, found, err = removeFrom(d, "web"); rest != "" || found || err != nil {
		t.Errorf("%q, %v, %v", rest, found, err)
	}
}

func TestCronDRefuses(t *testing.T) {
	_, err := AddSystem("", web())
	wantError(t, err, `"web"`, "user")
	err = CronD{Dir: filepath.Join(t.TempDir(), "none")}.Write("web", "x\n")
	if os.Geteuid() != 0 {
		wantError(t, err, "run it as root")
		return
	}
	wantError(t, err, "none/lifeline-web", "is there a cron")

	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lifeline-web"), 0o755); err != nil {
		t.Fatal(err)
	}
	wantError(t, CronD{Dir: dir}.Write("web", "x\n"), "as it was")
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("left behind: %v", entries)
	}
}
