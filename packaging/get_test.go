package packaging

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// TestGet installs a release from a server on loopback, with curl and with wget. Damaged
// or missing files leave nothing behind.
func TestGet(t *testing.T) {
	need.Programs(t, "curl", "wget", "tar", "sha256sum", "sh")
	releases := t.TempDir()
	release := filepath.Join(releases, "0.1.0")
	system := strings.Fields(run(t, nil, "go", "env", "GOOS", "GOARCH"))
	archive := "lifeline_" + system[0] + "_" + system[1] + ".tar.gz"
	pack := func(files ...string) {
		dir := t.TempDir()
		for _, file := range files {
			if err := os.WriteFile(filepath.Join(dir, file),
				[]byte("#!/bin/sh\necho "+file+" 0.1.0\n"), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		run(t, nil, "sh", "-c", `mkdir -p "$1" && tar -czf "$1/$2" -C "$0" . && cd "$1" && sha256sum ./"$2" >SHA256SUMS`,
			dir, release, archive)
	}
	server := httptest.NewServer(http.FileServer(http.Dir(releases)))
	defer server.Close()

	// only returns a PATH with these programs and those that get.sh always needs.
	only := func(programs ...string) string {
		dir := t.TempDir()
		for _, p := range append(programs, "sh", "uname", "mktemp", "rm", "sed", "cut", "gzip", "tar",
			"mkdir", "cp", "chmod",
			"mv", "dd", "od", "tr") {
			if err := os.Symlink(need.Program(t, p), filepath.Join(dir, p)); err != nil {
				t.Fatal(err)
			}
		}
		return dir
	}
	get := func(path, url string) (bin, said string, ok bool) {
		home, tmp := t.TempDir(), t.TempDir()
		cmd := exec.Command("sh", "get.sh", "0.1.0")
		cmd.Env = []string{"PATH=" + path, "HOME=" + home, "TMPDIR=" + tmp, "LIFELINE_URL=" + url}
		out, err := cmd.CombinedOutput()
		if left, _ := os.ReadDir(tmp); len(left) > 0 {
			t.Errorf("left in TMPDIR: %v", left)
		}
		return filepath.Join(home, ".local/bin"), string(out), err == nil
	}
	refused := func(why, path, url, want string) {
		t.Helper()
		bin, said, ok := get(path, url)
		if _, err := os.Stat(bin); ok || err == nil || !strings.Contains(said, want) {
			t.Errorf("%s: done %v, %s is there: %v; it said %s", why, ok, bin, err == nil, said)
		}
	}

	pack("lifeline", "lifeline-remote")
	for _, program := range []string{"curl", "wget"} {
		bin, said, ok := get(only(program, "sha256sum"), server.URL)
		if !ok || !strings.Contains(said, "installed: lifeline 0.1.0") {
			t.Errorf("%s: %s", program, said)
		}
		files, _ := os.ReadDir(bin)
		if len(files) != 2 {
			t.Errorf("%s: installed are %v", program, files)
		}
	}
	refused("no curl", only("sha256sum"), server.URL, "neither curl nor wget")
	refused("no sums", only("curl"), server.URL, "can't be checked")
	refused("no address", only("curl", "sha256sum"), "", "LIFELINE_URL")
	refused("another release", only("curl", "sha256sum"), server.URL+"/none", "is there a release")

	sum := func(text string) {
		if err := os.WriteFile(filepath.Join(release, "SHA256SUMS"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	sum(fmt.Sprintf("%x  ./%s\n", sha256.Sum256([]byte("another")), archive))
	refused("a wrong sum", only("wget", "sha256sum"), server.URL, "nothing was installed")
	sum(fmt.Sprintf("%x  ./another.tar.gz\n", sha256.Sum256(nil)))
	refused("a system without an archive", only("curl", "sha256sum"), server.URL, "has no "+archive)
	pack("lifeline")
	refused("half an archive", only("curl", "sha256sum"), server.URL, "lacks a program")
	if err := os.Remove(filepath.Join(release, archive)); err != nil {
		t.Fatal(err)
	}
	refused("a missing file", only("curl", "sha256sum"), server.URL, "cannot fetch")
}
