// Image writes container images as an OCI image layout in a tar archive, which podman,
// skopeo, containerd and docker load. Each Linux system that dist.sh has made in DIST gets
// an image with a single layer, and lifeline as pid 1. The same DIST gives the same bytes.
//
//	image DIST OUT.tar
//
// An image for a daemon adds the program, and the command for lifeline:
//
//	FROM lifeline
//	COPY app /app
//	CMD ["app", "--", "/app"]
package main

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1" // crane's and ko's: digests and layout by the specification
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: image DIST OUT.tar")
		os.Exit(64)
	}
	if err := write(os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func write(dist, out string) error {
	version, err := os.ReadFile(filepath.Join(dist, "share/VERSION"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(filepath.Join(dist, "share/EPOCH"))
	if err != nil {
		return err
	}
	seconds, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return err
	}
	made := time.Unix(seconds, 0).UTC()
	systems, err := filepath.Glob(filepath.Join(dist, "linux_*")) // sorted
	if err != nil {
		return err
	}
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	images := 0
	for _, dir := range systems {
		if st, err := os.Stat(dir); err != nil || !st.IsDir() {
			continue
		}
		platform := platformOf(strings.TrimPrefix(filepath.Base(dir), "linux_"))
		image, err := imageOf(dir, filepath.Join(dist, "share"), platform, made, strings.TrimSpace(string(version)))
		if err != nil {
			return fmt.Errorf("%s: %w", dir, err)
		}
		index = mutate.AppendManifests(index,
			mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform,
				Annotations: map[string]string{
					"org.opencontainers.image.ref.name": strings.TrimSpace(string(version))}}})
		images++
	}
	if images == 0 {
		return fmt.Errorf("%s has no Linux system: run packaging/dist.sh first", dist)
	}
	dir, err := os.MkdirTemp("", "image")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if _, err := layout.Write(dir, index); err != nil {
		return err
	}
	archive, err := pack(os.DirFS(dir), made)
	if err != nil {
		return err
	}
	return os.WriteFile(out, archive, 0o644)
}

// platformOf returns the OCI platform for dist.sh's name of a processor.
func platformOf(arch string) v1.Platform {
	p := v1.Platform{OS: "linux", Architecture: arch}
	if n, ok := strings.CutPrefix(arch, "armv"); ok {
		p.Architecture, p.Variant = "arm", "v"+n
	}
	return p
}

func imageOf(dir, share string, platform v1.Platform, made time.Time, version string) (v1.Image, error) {
	content, err := layerOf(dir, share, made)
	if err != nil {
		return nil, err
	}
	open := func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content)), nil }
	layer, err := tarball.LayerFromOpener(open, tarball.WithMediaType(types.OCILayer))
	if err != nil {
		return nil, err
	}
	image := mutate.MediaType(mutate.ConfigMediaType(empty.Image, types.OCIConfigJSON), types.OCIManifestSchema1)
	if image, err = mutate.Append(image, mutate.Addendum{Layer: layer,
		History: v1.History{Created: v1.Time{Time: made}, CreatedBy: "packaging/tools/image"}}); err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.Created = v1.Time{Time: made}
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Config = v1.Config{
		Entrypoint: []string{"/usr/bin/lifeline", "--respawn"},
		Env:        []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"},
		WorkingDir: "/",
		StopSignal: "SIGTERM",
		Labels: map[string]string{
			"org.opencontainers.image.version": version, "org.opencontainers.image.licenses": "MIT",
		},
	}
	return mutate.ConfigFile(image, config)
}

// layerOf returns the root file system as a tar archive: the programs, their licences,
// /etc/passwd, and the directories that programs expect.
func layerOf(dir, share string, made time.Time) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	add := func(name string, mode int64, content []byte) error {
		h := &tar.Header{Name: name, Mode: mode, Size: int64(len(content)), ModTime: made, Format: tar.FormatPAX,
			Typeflag: tar.TypeReg}
		if strings.HasSuffix(name, "/") {
			h.Typeflag = tar.TypeDir
		}
		err := w.WriteHeader(h)
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	}
	for _, e := range []struct {
		name string
		mode int64
		from string // a file
		text string
	}{
		{name: "etc/", mode: 0o755},
		{name: "etc/group", mode: 0o644, text: "root:x:0:\nnobody:x:65534:\n"},
		{name: "etc/passwd", mode: 0o644,
			text: "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"},
		{name: "root/", mode: 0o700},
		{name: "run/", mode: 0o755},
		{name: "tmp/", mode: 0o1777},
		{name: "usr/", mode: 0o755},
		{name: "usr/bin/", mode: 0o755},
		{name: "usr/bin/lifeline", mode: 0o755, from: filepath.Join(dir, "lifeline")},
		{name: "usr/bin/lifeline-remote", mode: 0o755, from: filepath.Join(dir, "lifeline-remote")},
		{name: "usr/share/", mode: 0o755},
		{name: "usr/share/doc/", mode: 0o755},
		{name: "usr/share/doc/lifeline/", mode: 0o755},
		{name: "usr/share/doc/lifeline/NOTICES", mode: 0o644, from: filepath.Join(share, "NOTICES")},
		{name: "usr/share/doc/lifeline/copyright", mode: 0o644, from: filepath.Join(share, "LICENSE")},
		{name: "var/", mode: 0o755},
		{name: "var/lib/", mode: 0o755},
		{name: "var/tmp/", mode: 0o1777},
	} {
		content := []byte(e.text)
		if e.from != "" {
			var err error
			if content, err = os.ReadFile(e.from); err != nil {
				return nil, err
			}
		}
		if err := add(e.name, e.mode, content); err != nil {
			return nil, err
		}
	}
	err := w.Close() // it writes the end of the archive
	return buf.Bytes(), err
}

// pack returns a tar archive of the files of a directory, in the order of their names.
func pack(dir fs.FS, made time.Time) ([]byte, error) {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	err := fs.WalkDir(dir, ".", func(path string, e fs.DirEntry, err error) error {
		if err != nil || path == "." {
			return err
		}
		h := &tar.Header{Name: path, Mode: 0o644, ModTime: made, Format: tar.FormatPAX, Typeflag: tar.TypeReg}
		if e.IsDir() {
			h.Name, h.Mode, h.Typeflag = path+"/", 0o755, tar.TypeDir
			return w.WriteHeader(h)
		}
		content, err := fs.ReadFile(dir, path)
		if err != nil {
			return err
		}
		h.Size = int64(len(content))
		if err := w.WriteHeader(h); err != nil {
			return err
		}
		_, err = w.Write(content)
		return err
	})
	if err == nil {
		err = w.Close() // it writes the end of the archive
	}
	return buf.Bytes(), err
}
