// Package packaging tests releases: the same commit gives the same bytes, and packages can
// be installed and removed.
package packaging

import (
	"bytes"
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"lifeline/proof/need"
)

func run(t *testing.T, env []string, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
	return string(out)
}

// clone returns a clone with the present tree as a commit, because dist.sh ships commits.
func clone(t *testing.T) string {
	t.Helper()
	need.Programs(t, "git", "go", "tar")
	need.That(t, exec.Command("git", "rev-parse", "HEAD").Run() == nil, "a clone")
	dir := filepath.Join(t.TempDir(), "clone")
	if err := cloneTo(dir); err != nil {
		t.Fatal(err)
	}
	return dir
}

func cloneTo(dir string) error {
	return command("sh", "-c", `git clone -q "$(git rev-parse --show-toplevel)" "$0" && cd "$(git rev-parse --show-toplevel)" &&
git ls-files -z --cached --others --exclude-standard | tar --null --ignore-failed-read -cf - -T - 2>/dev/null | tar -C "$0" -xf - &&
cd "$0" && git add -A && git -c user.name=test -c user.email=test@localhost commit -q --allow-empty -m "the tree at hand"`, dir)
}

func command(name string, args ...string) error {
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %q: %w: %s", name, args, err, out)
	}
	return nil
}

// systems are the systems of the tests' release.
var systems = []string{"linux/" + runtime.GOARCH, "linux/mips"}

// shipped is a release of the present tree, made once for all tests: the clone, and the
// directory of the release. No test writes there.
type shipped struct{ src, out, key string }

var work string // what all tests share; removed at the end

var releaseOnce = sync.OnceValues(func() (r shipped, err error) {
	r = shipped{filepath.Join(work, "clone"), filepath.Join(work, "dist"), filepath.Join(work, "key")}
	if err = cloneTo(r.src); err == nil {
		err = command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "test", "-f", r.key)
	}
	if err == nil {
		args := []string{"LIFELINE_SIGN_KEY=" + r.key, r.src + "/packaging/release.sh", r.out}
		err = command("env", append(args, systems...)...)
	}
	return r, err
})

func released(t *testing.T) shipped {
	t.Helper()
	need.Time(t, "builds a release")
	need.Programs(t, "git", "go", "tar", "ssh-keygen", "sha256sum")
	need.That(t, exec.Command("git", "rev-parse", "HEAD").Run() == nil, "a clone")
	r, err := releaseOnce()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// glob returns the release's only file that matches.
func (r shipped) glob(t *testing.T, pattern string) string {
	t.Helper()
	found, _ := filepath.Glob(filepath.Join(r.out, pattern))
	if len(found) != 1 {
		t.Fatalf("%s: %q", pattern, found)
	}
	return found[0]
}

// roles are the test program's other roles, by its first argument.
var roles = map[string]func(args []string) error{}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && roles[os.Args[1]] != nil {
		if err := roles[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, os.Args[1], err)
			os.Exit(1)
		}
		return
	}
	os.Exit(func() int {
		var err error
		if work, err = os.MkdirTemp("", "lifeline-packaging"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(work)
		return m.Run()
	}())
}

func head(t *testing.T, clone string) string {
	t.Helper()
	return strings.TrimSpace(run(t, nil, "git", "-C", clone, "rev-parse", "HEAD"))
}

// TestSameCommitSameBytes checks that a second build in another directory, with another
// cache, home, umask, time zone and language, gives the same bytes.
func TestSameCommitSameBytes(t *testing.T) {
	r := released(t)
	dir := t.TempDir()
	second, third := filepath.Join(dir, "a", "second"), filepath.Join(dir, "third")
	moved := filepath.Join(dir, "moved elsewhere")
	run(t, nil, "git", "clone", "-q", r.src, moved)
	other := []string{"TZ=Asia/Tokyo", "LC_ALL=C.UTF-8", "TMPDIR=" + t.TempDir(), "LIFELINE_SIGN_KEY=" + r.key}
	args := []string{"-c", `umask 077; "$@"`, "sh", moved + "/packaging/release.sh", second}
	run(t, other, "sh", append(args, systems...)...)
	// An empty cache makes this build compile lifeline for this machine again.
	run(t, append(other, "GOCACHE="+filepath.Join(dir, "cache"), "PROGRAMS=lifeline=."),
		moved+"/packaging/dist.sh", third,
		"linux/"+runtime.GOARCH)

	sums := func(dir string) string {
		return run(t, nil, "sh", "-c", `cd "$0" && find . -type f | LC_ALL=C sort | xargs -d '\n' sha256sum`, dir)
	}
	if a, b := sums(r.out), sums(second); a != b {
		t.Errorf("the first time:\n%s\nthe second time:\n%s", a, b)
	}
	if a, b := sums(r.out+"/linux_"+runtime.GOARCH), sums(third+"/linux_"+runtime.GOARCH); !strings.HasPrefix(a, b) {
		t.Errorf("lifeline of the second build is\n%sand was\n%s", b, a)
	}
	if n := strings.Count(sums(r.out), "/lifeline\n"); n != len(systems) {
		t.Errorf("%d systems, not %d:\n%s", n, len(systems), sums(r.out))
	}
	for _, system := range systems {
		f, err := elf.Open(r.out + "/" + strings.ReplaceAll(system, "/", "_") + "/lifeline")
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s needs a loader: it isn't static", system)
			}
		}
		f.Close()
	}
	if version := run(t, nil, r.out+"/linux_"+runtime.GOARCH+"/lifeline", "--version"); !strings.Contains(version,
		"commit "+head(t, moved)) || strings.Contains(version, "changes") {
		t.Errorf("lifeline --version says %q, and the commit is %s", version, head(t, moved))
	}
}

// story installs the package and removes it again. It runs in an overlay over this
// machine, which stays as it is.
const story = `
set -eu
deb=$1 version=$2
list() { find /etc /opt /usr /var/lib/systemd /var/spool -xdev -path /usr/local -prune -o -print | sort; }
list >/tmp/before
dpkg -i "$deb" >/tmp/installed 2>&1 || { cat /tmp/installed; exit 1; }
cd /
echo "files:"; dpkg -L lifeline | while read -r f; do [ -d "$f" ] || stat -c '%U %a %n' "$f"; done
[ "$(dpkg-query -W -f '${Version}' lifeline)" = "$version" ]
[ "$(command -v lifeline)" = /usr/bin/lifeline ]
echo "version: $(lifeline --version)"
echo "runs: $(lifeline --dir /tmp/state web -- echo it runs)"
dpkg -V lifeline
man -w lifeline 2>/dev/null | sed 's/^/man: /'
if [ -e /usr/share/bash-completion/bash_completion ]; then
	bash --norc -c '. /usr/share/bash-completion/bash_completion; _completion_loader lifeline; complete -p lifeline'
fi
if command -v zsh >/dev/null; then zsh -f -c 'autoload -U compinit; compinit -u -D; print -r zsh: $_comps[lifeline]'; fi
if command -v fish >/dev/null; then HOME=/tmp fish -c 'complete -C "lifeline termin"' | sed 's/^/fish: /'; fi
[ ! -e /usr/bin/lifeline-remote ] || lifeline-remote --help >/dev/null 2>&1 || [ $? -lt 126 ]

mkdir -p /var/spool/cron/crontabs /etc/cron.d
printf '* * * * * exec /usr/bin/lifeline web -- serve\n' >/var/spool/cron/crontabs/alice
dpkg -r lifeline >/tmp/removed 2>&1 || { cat /tmp/removed; exit 1; }
sed -n 's/^lifeline: /warned: /p' /tmp/removed
rm /var/spool/cron/crontabs/alice
! command -v lifeline
dpkg -P lifeline >/dev/null 2>&1 || true
list >/tmp/after
echo "left:"; comm -13 /tmp/before /tmp/after
echo "lost:"; comm -23 /tmp/before /tmp/after
`

const overlay = `
set -eu
top=$1; shift
mount -t tmpfs none "$top"
mkdir "$top/upper" "$top/work" "$top/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$top/upper,workdir=$top/work" "$top/root"
mount -t proc proc "$top/root/proc"
mount --rbind /dev "$top/root/dev"
mount -t tmpfs none "$top/root/tmp"
mount -t tmpfs none "$top/root/run"
cp "$1" "$top/root/tmp/lifeline.deb"
cp "$2" "$top/root/tmp/story"
version=$3
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 TERM=dumb chroot "$top/root" sh /tmp/story /tmp/lifeline.deb "$version"
`

// otherPackages checks that the packages that this machine can't install have the Debian
// package's files.
func otherPackages(t *testing.T, out string) {
	t.Helper()
	need.Programs(t, "rpm", "tar", "zstd")
	for pattern, list := range map[string]string{
		"*.rpm": `rpm -qp --list "$0"`, "*.apk": `gzip -dc "$0" | tar -it | sed 's,^,/,'`, "*.pkg.tar.zst": `zstd -dcq "$0" | tar -t | sed 's,^,/,'`,
	} {
		files, _ := filepath.Glob(filepath.Join(out, pattern))
		if len(files) != 1 {
			t.Errorf("%s: %q", pattern, files)
			continue
		}
		has := run(t, nil, "sh", "-c", list, files[0])
		for _, want := range []string{"/usr/bin/lifeline", "/usr/bin/lifeline-remote",
			"/usr/share/man/man1/lifeline.1.gz",
			"/usr/share/man/man1/lifeline-remote.1.gz", "/usr/share/doc/lifeline/copyright", "/usr/share/doc/lifeline/NOTICES",
			"/usr/share/bash-completion/completions/lifeline", "/usr/share/fish/vendor_completions.d/lifeline.fish"} {
			if !strings.Contains(has, want+"\n") {
				t.Errorf("%s isn't in %s:\n%s", want, files[0], has)
			}
		}
	}
	// rpm installs its package into a separate root, and removes it again.
	rpms, _ := filepath.Glob(filepath.Join(out, "*.rpm"))
	root := t.TempDir()
	run(t, nil, "rpm", "--root", root, "--dbpath", "/db", "-i", "--nodeps", "--noscripts", "--ignorearch", rpms[0])
	run(t, nil, root+"/usr/bin/lifeline", "--version")
	run(t, nil, "rpm", "--root", root, "--dbpath", "/db", "-e", "--noscripts", "lifeline")
	if _, err := os.Stat(root + "/usr/bin/lifeline"); err == nil {
		t.Error("rpm -e leaves lifeline")
	}
}

func TestPackageComesAndGoes(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	need.Root(t)
	need.Programs(t, "dpkg", "dpkg-deb", "unshare", "chroot")
	top := t.TempDir()
	need.That(t, exec.Command("unshare", "--mount", "sh", "-ec", `mount -t tmpfs none "$0" && cd "$0" && mkdir u w m && mount -t overlay overlay -o "lowerdir=/,upperdir=$0/u,workdir=$0/w" m`, top).Run() == nil,
		"the right to mount an overlay")
	r := released(t)
	version, err := os.ReadFile(r.out + "/share/VERSION")
	if err != nil {
		t.Fatal(err)
	}
	otherPackages(t, r.out)
	script := filepath.Join(t.TempDir(), "story")
	if err := os.WriteFile(script, []byte(story), 0o644); err != nil {
		t.Fatal(err)
	}
	said := run(t, nil, "unshare", "--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "sh", "-c",
		overlay, "sh", top, r.glob(t, "*.deb"), script, string(bytes.TrimSpace(version)))
	for _, want := range []string{
		"root 755 /usr/bin/lifeline\n",
		"root 644 /usr/share/man/man1/lifeline.1.gz\n",
		"root 644 /usr/share/man/man1/lifeline-remote.1.gz\n",
		"root 644 /usr/share/doc/lifeline/copyright\n",
		"root 644 /usr/share/doc/lifeline/NOTICES\n",
		"root 644 /usr/share/bash-completion/completions/lifeline\n",
		"root 644 /usr/share/zsh/vendor-completions/_lifeline\n",
		"root 644 /usr/share/fish/vendor_completions.d/lifeline.fish\n",
		"commit " + head(t, r.src),
		"runs: it runs\n",
		"warned: /var/spool/cron/crontabs/alice still starts it",
		"left:\nlost:\n",
	} {
		if !strings.Contains(said, want) {
			t.Errorf("%q is missing in what happened:\n%s", want, said)
		}
	}
	for program, want := range map[string]string{
		"man":  "man: /usr/share/man/man1/lifeline.1.gz\n",
		"zsh":  "zsh: _lifeline\n",
		"fish": "fish: terminate\t",
	} {
		if _, err := exec.LookPath(program); err == nil && !strings.Contains(said, want) {
			t.Errorf("%s doesn't find its file:\n%s", program, said)
		}
	}
	if _, err := os.Stat(filepath.Join(r.src, "cmd/lifeline-remote")); err == nil && !strings.Contains(said,
		"root 755 /usr/bin/lifeline-remote\n") {
		t.Errorf("lifeline-remote is missing:\n%s", said)
	}
}
