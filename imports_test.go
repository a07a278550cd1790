package main

import (
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// tags are those lifeline is built with.
const tags = "urfave_cli_no_docs,osusergo,netgo"

// mayImport is the whole picture of who imports whom, of our own packages and
// of others' modules, tests left out. What isn't here is a leaf of the
// standard library; golang.org/x/sys anybody may use. A package that doesn't
// exist yet may stand here.
var mayImport = map[string]string{
	"lifeline":                       "lifeline/tasks",
	"lifeline/tasks":                 "lifeline/lifeline lifeline/lifeline/child lifeline/lifeline/clerk lifeline/lifeline/cluster lifeline/lifeline/journal lifeline/lifeline/notify lifeline/lifeline/output lifeline/lifeline/supervise lifeline/install lifeline/procscan github.com/urfave/cli/v2",
	"lifeline/install":               "",
	"lifeline/lifeline/crash":        "golang.org/x/sys/unix",
	"lifeline/lifeline":              "lifeline/lifeline/crash lifeline/procscan github.com/gofrs/flock",
	"lifeline/lifeline/supervise":    "lifeline/lifeline/child lifeline/lifeline/crash lifeline/lifeline/notify lifeline/procscan",
	"lifeline/lifeline/child":        "lifeline/procscan lifeline/lifeline/child/nofile lifeline/lifeline/crash",
	"lifeline/lifeline/clerk":        "lifeline/lifeline/child lifeline/lifeline/output lifeline/procscan",
	"lifeline/lifeline/output":       "",
	"lifeline/lifeline/journal":      "",
	"lifeline/lifeline/notify":       "",
	"lifeline/lifeline/worker":       "",
	"lifeline/install/packaging/man": "lifeline/tasks",
	"lifeline/docs/record":           "lifeline/proof/build lifeline/proof/engine",
	"lifeline/procscan":              "github.com/shirou/gopsutil/v3/common github.com/shirou/gopsutil/v3/process",
}

// neverLinked is what would make every tick dearer.
var neverLinked = []string{"net/http", "crypto/tls", "google.golang.org/grpc", "github.com/jackc/pgx", "go.etcd.io/etcd", "lifeline/proof", "testing"}

func goList(t *testing.T, args ...string) []string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-tags", tags}, args...)...)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOFLAGS=-mod=readonly")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if errors.Is(err, exec.ErrNotFound) {
		need.NoError(t, err)
	}
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

func within(path, of string) bool { return path == of || strings.HasPrefix(path, of+"/") }

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for _, line := range goList(t, "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "./...") {
		words := strings.Fields(line)
		path, imports := words[0], words[1:]
		seen[path] = true
		allowed, known := mayImport[path]
		for _, imported := range imports {
			ours := within(imported, "lifeline")
			foreign := strings.Contains(strings.SplitN(imported, "/", 2)[0], ".")
			switch {
			case !ours && !foreign, within(imported, "golang.org/x/sys"):
			case known:
				if !slices.Contains(strings.Fields(allowed), imported) {
					t.Errorf("%s imports %s: DESIGN allows it %q", path, imported, allowed)
				}
			case within(path, "lifeline/proof"): // judges from outside
				if ours && !within(imported, "lifeline/proof") {
					t.Errorf("%s imports %s: a proof shares no code with what it proves", path, imported)
				}
			case within(path, "lifeline/examples"):
				if !slices.Contains([]string{"lifeline/lifeline", "lifeline/lifeline/worker", "lifeline/tasks", "github.com/urfave/cli/v2", "github.com/jackc/pgx/v5"}, imported) {
					t.Errorf("%s imports %s: an example uses the library as anybody would", path, imported)
				}
			case within(path, "lifeline/lifeline/cluster"): // the second program and its engines
				if within(imported, "lifeline/tasks") || within(imported, "lifeline/lifeline/supervise") || within(imported, "github.com/urfave/cli") {
					t.Errorf("%s imports %s: imports go one way", path, imported)
				}
			default:
				t.Errorf("%s imports %s: put it into the table of this test", path, imported)
			}
		}
	}
	for _, path := range []string{"lifeline", "lifeline/tasks", "lifeline/install", "lifeline/lifeline", "lifeline/lifeline/supervise", "lifeline/lifeline/child", "lifeline/procscan"} {
		if !seen[path] {
			t.Errorf("%s is gone, and the table of this test with it", path)
		}
	}
}

// One tick is one start of this program: nothing that speaks to a network is
// linked into it. (gopsutil brings the bare net package.)
func TestLinked(t *testing.T) {
	deps := goList(t, "-deps", ".")
	if !slices.Contains(deps, "lifeline/lifeline") {
		t.Fatal("go list -deps doesn't tell what is linked")
	}
	for _, dep := range deps {
		for _, never := range neverLinked {
			if within(dep, never) {
				t.Errorf("%s is linked into lifeline", dep)
			}
		}
	}
}
