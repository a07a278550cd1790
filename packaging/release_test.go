package packaging

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// TestRelease makes a release of one system twice, and looks at what an
// unpacker checks: sums, signature, SBOM, notes, version.
func TestRelease(t *testing.T) {
	need.Time(t, "builds a release twice")
	need.Programs(t, "ssh-keygen", "sha256sum")
	src, dir := clone(t), t.TempDir()
	key := filepath.Join(dir, "key")
	run(t, nil, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", key)
	release := func(name string) string {
		out := filepath.Join(dir, name)
		run(t, []string{"LIFELINE_SIGN_KEY=" + key}, src+"/packaging/release.sh", out, "linux/"+goarch(t))
		return out
	}
	first, second := release("first"), release("second")
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if a, b := read(first+"/SHA256SUMS"), read(second+"/SHA256SUMS"); a != b {
		t.Errorf("the first time:\n%s\nthe second time:\n%s", a, b)
	}
	run(t, nil, "sh", "-c", `cd "$0" && sha256sum -c --quiet SHA256SUMS`, first)
	verify := `cd "$0" && printf 'lifeline %s\n' "$(cat "$1.pub")" >"$1.allowed" &&
ssh-keygen -Y verify -f "$1.allowed" -I lifeline -n lifeline-release -s SHA256SUMS.sig <SHA256SUMS`
	run(t, nil, "sh", "-c", verify, first, key)
	if err := os.WriteFile(second+"/SHA256SUMS", []byte(read(first+"/SHA256SUMS")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-c", verify, second, key).CombinedOutput(); err == nil {
		t.Errorf("changed sums pass: %s", out)
	}
	for program, has := range map[string]bool{"lifeline": false, "lifeline-remote": true} {
		var bom struct {
			Components []struct{ Name, Version, Purl string }
		}
		text := read(first + "/" + program + ".cdx.json")
		if err := json.Unmarshal([]byte(text), &bom); err != nil || len(bom.Components) < 3 {
			t.Errorf("%s: %v: %d components", program, err, len(bom.Components))
		}
		if strings.Contains(text, "go.etcd.io/etcd/client") != has || !strings.Contains(text, "golang.org/x/sys") {
			t.Errorf("%s's SBOM: %s", program, text)
		}
	}
	if notes := read(first + "/NOTES.md"); !strings.Contains(notes, "### ") || strings.Contains(notes, "## [") {
		t.Errorf("the notes: %.300s", notes)
	}
	if err := os.WriteFile(src+"/uncommitted", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(src+"/packaging/release.sh", filepath.Join(dir, "third"),
		"linux/"+goarch(t)).CombinedOutput(); err == nil || !strings.Contains(string(out), "uncommitted") {
		t.Errorf("a changed tree: %v: %s", err, out)
	}
}
