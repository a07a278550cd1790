package main

import (
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// tags are the build tags of lifeline.
const tags = "urfave_cli_no_docs,osusergo,netgo"

// rule says which packages of ours and of other modules one package may import,
// and why.
type rule struct{ imports, reason string }

// mayImport has a rule for each package, tests left out. The standard library and
// golang.org/x/sys are open to every package.
var mayImport = map[string]rule{
	"lifeline": {"lifeline/internal/tick lifeline/tasks", "main is the early tick, then tasks.Main"},
	"lifeline/lifeline": {"lifeline/internal/guard lifeline/internal/journal lifeline/procscan",
		"the public guard is options, docs, and the run in the journal"},
	"lifeline/lifeline/worker": {"", "what a supervised program links stays small"},
	"lifeline/tasks": {"lifeline/lifeline lifeline/internal/doctor lifeline/internal/human lifeline/internal/guard " +
		"lifeline/internal/identity lifeline/internal/statedir lifeline/internal/probe lifeline/internal/process " +
		"lifeline/internal/logger lifeline/internal/logger/output lifeline/internal/cluster " +
		"lifeline/internal/cluster/address lifeline/internal/journal lifeline/internal/release " +
		"lifeline/internal/report lifeline/internal/sdnotify lifeline/internal/supervisor lifeline/install " +
		"lifeline/procscan github.com/urfave/cli/v2",
		"the command line turns options into work for every room"},
	"lifeline/install": {"", "a crontab is text; it knows nothing of what runs"},
	"lifeline/procscan": {"github.com/shirou/gopsutil/v3/common github.com/shirou/gopsutil/v3/process",
		"the only reader of the process table"},

	"lifeline/internal/doctor": {"lifeline/install lifeline/internal/cluster lifeline/internal/guard " +
		"lifeline/internal/human lifeline/internal/journal lifeline/internal/process " +
		"lifeline/internal/process/launch lifeline/internal/statedir lifeline/internal/supervisor " +
		"lifeline/procscan", "it asks every room, and changes none"},
	"lifeline/internal/human": {"lifeline/internal/journal lifeline/internal/supervisor",
		"times and ends as people read them, for commands and doctor"},
	"lifeline/internal/report": {"lifeline/internal/human lifeline/internal/journal",
		"it draws what it is given, and asks no room"},
	"lifeline/internal/release": {"", "what --version says"},
	"lifeline/internal/crash":   {"", "a proof's kill switch, linked everywhere"},
	"lifeline/internal/guard": {"lifeline/internal/crash lifeline/internal/identity " +
		"lifeline/internal/statedir lifeline/procscan github.com/gofrs/flock", "the guard needs locks and the " +
		"process table, no supervisor"},
	"lifeline/internal/identity": {"", "the early tick links it, so it stays light"},
	"lifeline/internal/statedir": {"", "the early tick links it, so it stays light"},
	"lifeline/internal/tick": {"lifeline/internal/identity lifeline/internal/statedir",
		"its init has to run before those of heavy packages"},
	"lifeline/internal/process": {"lifeline/procscan lifeline/internal/process/launch lifeline/internal/crash",
		"starting and ending processes knows no names"},
	"lifeline/internal/process/launch": {"", "its init becomes the command, so it stays light"},
	"lifeline/internal/supervisor": {"lifeline/internal/guard lifeline/internal/journal lifeline/internal/probe " +
		"lifeline/internal/process lifeline/internal/crash lifeline/internal/sdnotify lifeline/procscan",
		"the loop starts workers under the hold of the guard; it takes no lock"},
	"lifeline/internal/logger": {"lifeline/internal/journal lifeline/internal/process " +
		"lifeline/internal/logger/output lifeline/procscan", "the log process outlives lifeline and knows no guard"},
	"lifeline/internal/logger/output": {"", "files and rotation alone"},
	"lifeline/internal/journal": {"lifeline/internal/statedir",
		"files alone, and whom their directory lets read"},
	"lifeline/internal/sdnotify":    {"", "the protocol alone"},
	"lifeline/internal/probe":       {"", "plain sockets alone: an HTTP client would make every tick dearer"},
	"lifeline/internal/healthcheck": {"", "the second program's HTTP client"},

	"lifeline/internal/cluster/address": {"", "what may be shown of an engine's address"},
	"lifeline/internal/cluster": {"lifeline/internal/cluster/address lifeline/internal/process " +
		"lifeline/procscan", "lifeline's side of the lease links no network client"},
	"lifeline/cmd/lifeline-remote/internal/node": {"lifeline/internal/cluster lifeline/internal/cluster/address " +
		"lifeline/internal/cluster/engine lifeline/cmd/lifeline-remote/internal/etcd " +
		"lifeline/cmd/lifeline-remote/internal/postgres lifeline/internal/healthcheck lifeline/internal/journal " +
		"lifeline/internal/process lifeline/internal/release lifeline/procscan github.com/adhocore/gronx",
		"the second program: everything that speaks to a network"},
	"lifeline/internal/cluster/engine": {"", "what an engine has to do"},
	"lifeline/cmd/lifeline-remote/internal/etcd": {"lifeline/internal/cluster/address " +
		"lifeline/internal/cluster/engine go.etcd.io/etcd/api/v3/etcdserverpb go.etcd.io/etcd/api/v3/mvccpb " +
		"go.etcd.io/etcd/api/v3/v3rpc/rpctypes go.etcd.io/etcd/client/v3 go.etcd.io/etcd/client/v3/namespace " +
		"go.uber.org/zap google.golang.org/grpc google.golang.org/grpc/codes google.golang.org/grpc/status " +
		"google.golang.org/grpc/backoff google.golang.org/grpc/keepalive google.golang.org/grpc/connectivity " +
		"google.golang.org/grpc/credentials google.golang.org/grpc/resolver", "the engine's own client"},
	"lifeline/cmd/lifeline-remote/internal/postgres": {"lifeline/internal/cluster/address " +
		"lifeline/internal/cluster/engine github.com/jackc/pgx/v5 github.com/jackc/pgx/v5/pgconn " +
		"github.com/jackc/pgx/v5/pgtype", "the engine's own client"},
	"lifeline/internal/cluster/enginetest": {"lifeline/internal/cluster/engine lifeline/proof/engine " +
		"lifeline/proof/need", "one conformance test for every engine"},
	"lifeline/cmd/lifeline-remote": {"lifeline/cmd/lifeline-remote/internal/node",
		"main only calls node.Main"},
	"lifeline/packaging/modulepath": {"", "text in, text out"},
	"lifeline/packaging/man": {"lifeline/tasks",
		"the manual is printed from the options table"},
	"lifeline/docs/record": {"lifeline/proof/build lifeline/proof/engine",
		"records the program from outside"},
}

// neverLinked lists packages that would make every tick dearer.
var neverLinked = []string{"net/http", "crypto/tls", "google.golang.org/grpc", "github.com/jackc/pgx",
	"go.etcd.io/etcd", "lifeline/proof", "testing"}

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
	return strings.Split(strings.TrimSpace(canonical(t, string(out))), "\n")
}

// canonical replaces the module's path, which make module-path changes, by lifeline.
func canonical(t *testing.T, list string) string {
	t.Helper()
	text, err := os.ReadFile("go.mod")
	path := regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(text)
	if err != nil || path == nil {
		t.Fatalf("go.mod names no module (%v)", err)
	}
	return regexp.MustCompile(`(?m)(^| )`+regexp.QuoteMeta(string(path[1]))+`\b`).ReplaceAllString(list, "${1}lifeline")
}

// foreign lists the modules that every importer of lifeline's packages has to
// download. Engines' clients, and what only tests and tools need, belong to the
// other modules of go.work.
var foreign = []string{"github.com/gofrs/flock", "github.com/shirou/gopsutil/v3", "github.com/urfave/cli/v2",
	"golang.org/x/sys"}

func TestRequired(t *testing.T) {
	text, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	var direct []string
	for line := range strings.Lines(string(text)) {
		if words := strings.Fields(line); len(words) == 2 && strings.HasPrefix(words[1], "v") {
			direct = append(direct, words[0])
		}
	}
	if !slices.Equal(direct, foreign) {
		t.Errorf("go.mod requires %q, not %q", direct, foreign)
	}
	if strings.Contains(string(text), "\ntool ") || strings.Contains(string(text), "\nreplace ") {
		t.Error("go.mod has a tool or a replacement: put it into a module of its own")
	}
}

func within(path, of string) bool { return path == of || strings.HasPrefix(path, of+"/") }

func TestImports(t *testing.T) {
	seen := map[string]bool{}
	for _, line := range goList(t, "-f", "{{.ImportPath}} {{join .Imports \" \"}}", "work") {
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
				if !slices.Contains(strings.Fields(allowed.imports), imported) {
					t.Errorf("%s imports %s, which its row doesn't allow: %s", path, imported, allowed.reason)
				}
			case within(path, "lifeline/proof"): // judges from outside
				if ours && !within(imported, "lifeline/proof") {
					t.Errorf("%s imports %s: a proof shares no code with what it proves", path, imported)
				}
			case within(path, "lifeline/examples"):
				public := []string{"lifeline/lifeline", "lifeline/lifeline/worker", "lifeline/tasks",
					"github.com/urfave/cli/v2", "github.com/jackc/pgx/v5"}
				if !slices.Contains(public, imported) {
					t.Errorf("%s imports %s: an example uses the library as any program would", path, imported)
				}
			default:
				t.Errorf("%s imports %s: put it into the table of this test", path, imported)
			}
		}
	}
	for path := range mayImport {
		if !seen[path] {
			t.Errorf("%s is gone: take its row out of the table", path)
		}
	}
}

// TestLinked checks that nothing that speaks to a network is linked into the
// program that each tick starts. (gopsutil brings the bare net package.)
func TestLinked(t *testing.T) {
	deps := goList(t, "-deps", ".")
	if !slices.Contains(deps, "lifeline/internal/guard") {
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
