package packaging

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"lifeline/proof/await"
	"lifeline/proof/need"
	"lifeline/proof/pid"
)

type descriptor struct {
	MediaType, Digest string
	Size              int
	Platform          struct{ OS, Architecture string }
}

// unpack returns the files of an archive; a directory's name ends in a slash.
func unpack(t *testing.T, archive []byte) (files map[string][]byte, modes map[string]os.FileMode) {
	t.Helper()
	files, modes = map[string][]byte{}, map[string]os.FileMode{}
	for r := tar.NewReader(bytes.NewReader(archive)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return files, modes
		}
		if err == nil {
			files[h.Name], err = io.ReadAll(r)
			modes[h.Name] = h.FileInfo().Mode()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// container unpacks the image for this processor, as a runtime does, and adds busybox and
// an app. argv is the command of pid 1.
func container(t *testing.T, app string, options ...string) (root string, argv []string) {
	t.Helper()
	archive := released(t).glob(t, "lifeline.oci.tar")
	run(t, nil, "tar", "-tf", archive) // Go's reader takes one without an end
	text, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	layout, _ := unpack(t, text)
	blob := func(d descriptor) []byte {
		content := layout["blobs/sha256/"+strings.TrimPrefix(d.Digest, "sha256:")]
		if got := fmt.Sprintf("sha256:%x", sha256.Sum256(content)); got != d.Digest || len(content) != d.Size {
			t.Fatalf("%s has %d bytes with the digest %s", d.Digest, len(content), got)
		}
		return content
	}
	decode := func(text []byte, into any) {
		if err := json.Unmarshal(text, into); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
	}
	var version struct{ ImageLayoutVersion string }
	decode(layout["oci-layout"], &version)
	if version.ImageLayoutVersion != "1.0.0" {
		t.Errorf("oci-layout: %s", layout["oci-layout"])
	}
	var index struct{ Manifests []descriptor }
	decode(layout["index.json"], &index)
	if len(index.Manifests) != len(systems) {
		t.Errorf("%d images, not %d", len(index.Manifests), len(systems))
	}
	for _, d := range index.Manifests {
		var manifest struct {
			Config descriptor
			Layers []descriptor
		}
		decode(blob(d), &manifest)
		var config struct {
			Architecture, OS string
			Config           struct{ Entrypoint, Cmd, Env []string }
			RootFS           struct {
				DiffIDs []string `json:"diff_ids"`
			}
		}
		decode(blob(manifest.Config), &config)
		if config.Architecture != d.Platform.Architecture || config.OS != "linux" || len(manifest.Layers) != 1 ||
			manifest.Layers[0].MediaType != "application/vnd.oci.image.layer.v1.tar+gzip" {
			t.Errorf("the image: %+v, %+v, %+v", d, manifest, config)
		}
		if config.Architecture != runtime.GOARCH {
			continue
		}
		unzip, err := gzip.NewReader(bytes.NewReader(blob(manifest.Layers[0])))
		if err != nil {
			t.Fatal(err)
		}
		layer, err := io.ReadAll(unzip)
		id := fmt.Sprintf("sha256:%x", sha256.Sum256(layer))
		if err != nil || !slices.Equal(config.RootFS.DiffIDs, []string{id}) {
			t.Fatalf("the layer is %s, not %s, %v", id, config.RootFS.DiffIDs, err)
		}
		root = t.TempDir()
		layerFile := filepath.Join(t.TempDir(), "layer.tar")
		if err := os.WriteFile(layerFile, layer, 0o600); err != nil {
			t.Fatal(err)
		}
		run(t, nil, "tar", "-C", root, "-xpf", layerFile)
		if !bytes.HasSuffix(layer, make([]byte, 1024)) {
			t.Error("the layer's archive has no end")
		}
		if got := strings.Join(config.Config.Entrypoint, " "); got != "/usr/bin/lifeline --respawn" {
			t.Errorf("it runs %s", got)
		}
		argv = append(config.Config.Entrypoint, options...)
	}
	if root == "" {
		t.Fatalf("no image for %s: %+v", runtime.GOARCH, index)
	}
	run(t, nil, "sh", "-c", `cd "$0" && mkdir bin dev proc && cp "$1" bin/ &&
for a in sh sleep setsid; do ln -s busybox bin/$a; done`,
		root, need.Program(t, "busybox"))
	if err := os.WriteFile(root+"/app", []byte("#!/bin/sh\n"+app), 0o755); err != nil {
		t.Fatal(err)
	}
	return root, append(argv, "app", "--", "/app")
}

// boxed starts argv as pid 1 of a root file system. first is its pid on this machine.
func boxed(t *testing.T, root string, argv []string) (first int, over chan int) {
	t.Helper()
	cmd := exec.Command("unshare", append([]string{"--pid", "--fork", "--kill-child", "--mount", "sh", "-ec", `
mount --bind "$0" "$0"; cd "$0"; mount -t proc proc proc; mount -t tmpfs none dev; mknod -m 666 dev/null c 1 3
exec env -i PATH=/usr/bin:/bin:/usr/sbin:/sbin chroot . "$@"`, root}, argv...)...)
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	over = make(chan int, 1)
	go func() {
		_ = cmd.Wait()
		over <- cmd.ProcessState.ExitCode()
	}()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	await.That(t, "pid 1 is there", func() bool {
		if kids := children(cmd.Process.Pid); len(kids) == 1 {
			first = kids[0]
			exe, _ := os.Readlink(fmt.Sprintf("/proc/%d/exe", first))
			return strings.HasSuffix(exe, "/usr/bin/lifeline")
		}
		return false
	})
	return first, over
}

func children(parent int) (pids []int) {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", parent))
	for _, path := range threads {
		text, _ := os.ReadFile(path)
		for _, word := range strings.Fields(string(text)) {
			n, _ := strconv.Atoi(word)
			pids = append(pids, n)
		}
	}
	return pids
}

// TestImage runs the image's lifeline as pid 1 of a container. It respawns, reaps orphans,
// and ends with the right code and without leftovers.
func TestImage(t *testing.T) {
	need.Root(t)
	need.Namespaces(t)
	need.Programs(t, "busybox", "chroot", "nsenter")
	lines := func(root, file string) int {
		text, _ := os.ReadFile(filepath.Join(root, file))
		return strings.Count(string(text), "\n")
	}
	// daemon returns the pid of the child that runs "sleep 1000".
	daemon := func(first int) int {
		for _, n := range children(first) {
			if text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", n)); string(text) == "sleep\x001000\x00" {
				return n
			}
		}
		return 0
	}
	ends := func(t *testing.T, over chan int, want int) {
		t.Helper()
		select {
		case code := <-over:
			if code != want {
				t.Errorf("the container ends with %d, not %d", code, want)
			}
		case <-time.After(await.Limit):
			t.Fatal("the container doesn't end")
		}
	}

	t.Run("respawn", func(t *testing.T) {
		root, argv := container(t, `
echo up >>/up
(setsid sh -c 'echo ends >>/orphans; exit 5' &)
(setsid sleep 2000 &)
exec sleep 1000
`, "--respawn-delay", "0")
		first, over := boxed(t, root, argv)
		reaped := func() {
			t.Helper()
			await.That(t, "no zombie stays", func() bool {
				for _, n := range children(first) {
					if s, err := pid.Look(n); err == nil && s.State == 'Z' {
						return false
					}
				}
				return true
			})
		}
		await.That(t, "the app runs", func() bool { return daemon(first) != 0 && lines(root, "orphans") == 1 })
		reaped()
		// An orphan of another process in the container is no descendant of the app.
		run(t, nil, "nsenter", "-t", strconv.Itoa(first), "-p", "-m", "-r", "-w", "/bin/sh", "-c",
			`(setsid sh -c 'echo ends >>/strangers' &)`)
		await.That(t, "the stranger ends", func() bool { return lines(root, "strangers") == 1 })
		reaped()
		was := daemon(first)
		if err := syscall.Kill(was, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		await.That(t, "it is respawned", func() bool {
			n := daemon(first)
			return n != 0 && n != was && lines(root, "up") == 2
		})
		await.That(t, "its orphan ends", func() bool { return lines(root, "orphans") == 2 })
		reaped()
		left := children(first)
		if err := syscall.Kill(first, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		ends(t, over, 128+int(syscall.SIGTERM))
		for _, n := range left {
			if _, err := pid.Look(n); err == nil {
				t.Errorf("%d lives on", n)
			}
		}

		// The container is killed, and started again on the same files.
		for range 2 {
			n := lines(root, "up")
			first, over = boxed(t, root, argv)
			await.That(t, "it starts again", func() bool { return lines(root, "up") == n+1 })
			if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
				t.Fatal(err)
			}
			select { // unshare of util-linux 2.38 has a code of its own for that
			case <-over:
			case <-time.After(await.Limit):
				t.Fatal("the container doesn't end")
			}
		}
	})
	t.Run("code", func(t *testing.T) { // the app's own, at SIGTERM
		root, argv := container(t, "trap 'exit 7' TERM\necho up >>/up\nwhile :; do sleep .1; done\n")
		first, over := boxed(t, root, argv)
		await.That(t, "the app runs", func() bool { return lines(root, "up") == 1 })
		if err := syscall.Kill(first, syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		ends(t, over, 7)
	})
	t.Run("limit", func(t *testing.T) { // it gives up, and the runtime hears why
		root, argv := container(t, "echo up >>/up\nuntil [ -e /go ]; do sleep .1; done\nexit 9\n",
			"--respawn-delay", "0", "--respawn-limit", "3/1m")
		_, over := boxed(t, root, argv)
		if err := os.WriteFile(root+"/go", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		ends(t, over, 9)
		if n := lines(root, "up"); n < 3 || n > 4 {
			t.Errorf("it ran %d times", n)
		}
	})
}
