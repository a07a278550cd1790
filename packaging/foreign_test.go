package packaging

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// TestForeign runs the guard as built for other processors, under qemu-user, which changes
// argv[0].
func TestForeign(t *testing.T) {
	need.Time(t, "builds for five processors and emulates them")
	need.Programs(t, "unshare", "pgrep", "go")
	namespaces := []string{"--user", "--map-root-user", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"}
	own := exec.Command("unshare",
		append(namespaces, "mount", "-t", "binfmt_misc", "none", "/proc/sys/fs/binfmt_misc")...)
	need.That(t, own.Run() == nil, "a binfmt_misc of a user namespace (Linux 6.7)")
	for _, c := range []struct{ target, qemu string }{
		{"arm", "arm"}, {"arm64", "aarch64"}, {"riscv64", "riscv64"}, {"s390x", "s390x"}, {"mips", "mips"},
	} {
		t.Run(c.target, func(t *testing.T) {
			need.Program(t, "qemu-"+c.qemu+"-static")
			program := filepath.Join(t.TempDir(), "lifeline")
			run(t, []string{"GOOS=linux", "GOARCH=" + c.target, "GOARM=6", "GOMIPS=softfloat", "CGO_ENABLED=0"}, "go",
				"build",
				"-trimpath", "-tags", "urfave_cli_no_docs,osusergo,netgo", "-ldflags=-s -w", "-o", program, "..")
			out := run(t, nil, "timeout", append([]string{"-k", "1", "180", "unshare"}, append(namespaces,
				"sh", "testdata/foreign.sh", c.qemu, "testdata/scene.sh", program)...)...)
			if !strings.HasSuffix(out, "\npassed\n") {
				t.Error(out)
			}
		})
	}
}
