package packaging

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// TestFresh installs lifeline by one line on machines that have only a cron: a new Debian
// with its own cron and with cronie, and a root of busybox without a C library. The real
// cron starts a daemon, and again after a kill. The removal leaves nothing behind.
func TestFresh(t *testing.T) {
	need.Root(t)
	need.Namespaces(t)
	need.Programs(t, "chroot", "busybox")
	t.Parallel() // it waits for minutes to begin, and takes no processor's time
	r := released(t)
	version := strings.TrimSpace(run(t, nil, "cat", r.out+"/share/VERSION"))

	t.Run("debian", func(t *testing.T) {
		t.Parallel()
		suite := strings.TrimSpace(run(t, nil, "sh", "-c", `. /etc/os-release; echo "${VERSION_CODENAME:-stable}"`))
		fresh(t, debian(t, suite, "cron"), r.glob(t, "*.deb"), "dpkg -i /tmp/lifeline.deb", "cron -f",
			"dpkg --purge lifeline", dpkgs)
	})
	t.Run("cronie", func(t *testing.T) {
		t.Parallel()
		// Debian has cronie, which RHEL, Fedora and Arch have, since trixie.
		fresh(t, debian(t, "trixie", "cronie"), r.glob(t, "*.deb"), "dpkg -i /tmp/lifeline.deb", "crond -n",
			"dpkg --purge lifeline", dpkgs)
	})
	t.Run("busybox", func(t *testing.T) {
		t.Parallel()
		root := t.TempDir()
		run(t, nil, "sh", "-c", `cd "$0" && mkdir -p bin dev proc etc tmp root var/spool/cron/crontabs usr/bin &&
cp "$1" bin/busybox &&
for a in $(bin/busybox --list); do [ -e bin/$a ] || ln -s busybox bin/$a; done
echo root:x:0:0:root:/root:/bin/sh >etc/passwd; echo root:x:0: >etc/group`, root, need.Program(t, "busybox"))
		releases := t.TempDir()
		if err := os.Symlink(r.out, filepath.Join(releases, version)); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(http.FileServer(http.Dir(releases)))
		t.Cleanup(server.Close)
		fresh(t, root, "", "wget -qO- "+server.URL+"/"+version+"/get.sh | LIFELINE_URL="+server.URL+" sh -s "+version,
			"crond -f -c /var/spool/cron/crontabs",
			"rm -r ~/.local/bin/lifeline ~/.local/bin/lifeline-remote /run/lifeline "+
				"/run/lifeline.crontab /var/lib/lifeline",
			// Directories that a system has, and the file by which busybox's crontab notifies crond.
			`^/root/.local\(/bin\)\?$\|^/run$\|^/var/lib$\|/cron.update$`)
	})
}

// dpkgs matches dpkg's own files, and those of any package's installation.
const dpkgs = `^/var/lib/dpkg/\|^/var/cache/\|^/var/log/\|^/run/crond\|^/run/cron.reboot\|^/var/lib/systemd`

// debian returns the root of a new Debian of a suite, with a cron's package. The root is
// kept for later runs. (mmdebstrap takes 25 s of a processor, debootstrap 62.)
func debian(t *testing.T, suite, cron string) string {
	t.Helper()
	need.Program(t, "mmdebstrap")
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Join(cache, "lifeline-tests", "debian-"+suite+"-"+cron)
	if _, err := os.Stat(root); err == nil {
		return root
	}
	if err := os.MkdirAll(filepath.Dir(root), 0o755); err != nil {
		t.Fatal(err)
	}
	made := fmt.Sprint(root, ".", os.Getpid())
	defer os.RemoveAll(made)
	cmd := exec.Command("mmdebstrap", "--quiet", "--variant=essential", "--include="+cron, suite, made)
	out, err := cmd.CombinedOutput()
	if err != nil {
		need.NoError(t, fmt.Errorf("missing on this machine: a mirror of Debian's: %w: %s", err,
			out[max(0, len(out)-1000):]))
	}
	if err := os.Rename(made, root); err != nil && !errors.Is(err, fs.ErrExist) {
		t.Fatal(err)
	}
	return root
}

// fresh runs fresh.sh in an overlay over root, with deb as /tmp/lifeline.deb.
func fresh(t *testing.T, root, deb, install, cron, remove, ignore string) {
	t.Helper()
	out := run(t, nil, "unshare", "--pid", "--fork", "--kill-child", "--mount", "sh", "-ec", `
mount -t tmpfs none "$0"; mkdir "$0/u" "$0/w" "$0/m"
mount -t overlay overlay -o "lowerdir=$1,upperdir=$0/u,workdir=$0/w" "$0/m"
mkdir -p "$0/m/tmp"; cp testdata/fresh.sh "$0/m/tmp/"; [ -z "$2" ] || cp "$2" "$0/m/tmp/lifeline.deb"
cd "$0/m"; shift 2; mount -t proc proc proc; mount -t tmpfs none dev
mknod -m 666 dev/null c 1 3; mknod -m 666 dev/urandom c 1 9
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C "$@" chroot . sh /tmp/fresh.sh 2>&1`,
		t.TempDir(), root, deb, "INSTALL="+install, "CRON="+cron, "REMOVE="+remove, "IGNORE="+ignore)
	for _, want := range []string{"lifeline 0.", runtime.GOARCH, "cron has started it\n",
		"cron has started it again\n"} {
		if !strings.Contains(out, want) {
			t.Errorf("it doesn't say %q", want)
		}
	}
	if !strings.HasSuffix(out, "left:\nend\n") || t.Failed() {
		t.Errorf("what happened:\n%s", out)
	}
}
