package packaging

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// TestRecipes fills in the formula and the PKGBUILD, and runs them in Ruby and bash.
// PKGBUILD's function installs from the release's archive.
func TestRecipes(t *testing.T) {
	r := released(t)
	need.Programs(t, "bash", "ruby", "awk")
	archive, err := os.ReadFile(r.glob(t, "lifeline_linux_"+runtime.GOARCH+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	// This archive stands for those of the systems that the tests' release lacks.
	sums, sum := "", map[string]string{}
	for _, system := range []string{"linux_amd64", "linux_arm64", "darwin_amd64", "darwin_arm64"} {
		text := string(archive)
		if system != "linux_"+runtime.GOARCH {
			text = system
		}
		sum[system] = fmt.Sprintf("%x", sha256.Sum256([]byte(text)))
		sums += sum[system] + "  ./lifeline_" + system + ".tar.gz\n"
	}
	write("SHA256SUMS", sums)
	write("share/VERSION", "0.1.0\n")
	env := []string{"LIFELINE_URL=https://example.org/a&b/", `MAINTAINER=A \1 & B <a@example.org>`}
	run(t, env, "./recipes.sh", dir)
	read := func(name string) string {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if regexp.MustCompile("@(SUM|URL|VERSION|MAINTAINER)").Match(text) {
			t.Errorf("%s isn't filled in:\n%s", name, text)
		}
		return string(text)
	}
	formula, pkgbuild := read("lifeline.rb"), read("PKGBUILD")

	run(t, nil, "ruby", "-c", dir+"/lifeline.rb")
	for system, want := range sum {
		if !strings.Contains(formula, `"https://example.org/a&b/0.1.0/lifeline_`+system+`.tar.gz"
      sha256 "`+want+`"`) {
			t.Errorf("the formula has no %s:\n%s", system, formula)
		}
	}
	// Homebrew itself isn't run; but each file that the formula installs is in the
	// archive.
	has := run(t, nil, "tar", "-tzf", r.glob(t, "lifeline_linux_"+runtime.GOARCH+".tar.gz"))
	evaluated := run(t, nil, "ruby", "-e", homebrew, dir+"/lifeline.rb")
	for _, file := range strings.Fields(evaluated) {
		if !strings.Contains("\n"+strings.ReplaceAll(has, "./", "")+"\n", "\n"+file+"\n") {
			t.Errorf("the formula installs %s, and the archive has\n%s", file, has)
		}
	}
	if n := len(strings.Fields(evaluated)); n != 8 {
		t.Errorf("the formula installs %d files: %s", n, evaluated)
	}

	run(t, nil, "bash", "-n", dir+"/PKGBUILD")
	if !strings.Contains(pkgbuild, `# Maintainer: A \1 & B <a@example.org>`) {
		t.Errorf("PKGBUILD:\n%s", pkgbuild)
	}
	write("archive.tar.gz", string(archive))
	out := run(t, nil, "bash", "-euc", `. "$0/PKGBUILD"
srcdir=$0/src pkgdir=$0/pkg
mkdir "$srcdir" "$pkgdir"
tar -xzf "$0/archive.tar.gz" -C "$srcdir"
case $1 in
amd64) sum=$sha256sums_x86_64 source=$source_x86_64 ;;
arm64) sum=$sha256sums_aarch64 source=$source_aarch64 ;;
esac
echo "$sum  $0/archive.tar.gz" | sha256sum -c --quiet
echo "$pkgver ${source#*::}"
package
"$pkgdir/usr/bin/lifeline" --version
cd "$pkgdir" && find . -type f | LC_ALL=C sort`, dir, runtime.GOARCH)
	for _, want := range []string{"0.1.0 https://example.org/a&b/0.1.0/lifeline_linux_" + runtime.GOARCH + ".tar.gz\n",
		"\nlifeline 0.1.0",
		"./usr/bin/lifeline-remote\n", "./usr/share/man/man1/lifeline.1\n", "./usr/share/licenses/lifeline-bin/LICENSE\n",
		"./usr/share/bash-completion/completions/lifeline\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}

	write("SHA256SUMS", sum["linux_amd64"]+"  ./lifeline_linux_amd64.tar.gz\n")
	cmd := exec.Command("./recipes.sh", dir)
	cmd.Env = append(os.Environ(), env...)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "has no lifeline_") {
		t.Errorf("a missing archive: %v: %s", err, out)
	}
}

// homebrew is a stand-in for Homebrew's Formula that prints the files that a formula
// installs.
const homebrew = `
class Formula
  class << self
    %i[desc homepage version license url sha256].each { |name| define_method(name) { |*| } }
    def on_macos = yield
    alias on_linux on_macos
    alias on_arm on_macos
    alias on_intel on_macos
    def test = nil
  end
  class Place
    def install(*files) = files.each { |f| puts f.is_a?(Hash) ? f.keys : f }
  end
  %i[bin man1 bash_completion zsh_completion fish_completion doc].each { |name| define_method(name) { Place.new } }
end
load ARGV[0]
Lifeline.new.install
`
