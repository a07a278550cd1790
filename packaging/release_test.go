package packaging

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestRelease checks the sums, the signature, the SBOM and the notes of a release.
func TestRelease(t *testing.T) {
	r, dir := released(t), t.TempDir()
	first, key := r.out, r.key
	read := func(path string) string {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	run(t, nil, "sh", "-c", `cd "$0" && sha256sum -c --quiet SHA256SUMS`, first)
	verify := `cd "$0" && printf 'lifeline %s\n' "$(cat "$1.pub")" >"$2/allowed" &&
ssh-keygen -Y verify -f "$2/allowed" -I lifeline -n lifeline-release -s SHA256SUMS.sig <"$3"`
	run(t, nil, "sh", "-c", verify, first, key, dir, first+"/SHA256SUMS")
	changed := filepath.Join(dir, "changed")
	if err := os.WriteFile(changed, []byte(read(first+"/SHA256SUMS")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("sh", "-c", verify, first, key, dir, changed).CombinedOutput(); err == nil {
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
	src := filepath.Join(dir, "clone")
	run(t, nil, "git", "clone", "-q", r.src, src)
	if err := os.WriteFile(src+"/uncommitted", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(src+"/packaging/release.sh", filepath.Join(dir, "out")).CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "uncommitted") {
		t.Errorf("a changed tree: %v: %s", err, out)
	}
}
