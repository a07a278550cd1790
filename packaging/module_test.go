package packaging

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"lifeline/proof/need"
)

// outside is a program in a module of its own that uses all three public packages.
const outside = `package main

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/urfave/cli/v2"

	"PATH/lifeline"
	"PATH/lifeline/worker"
	"PATH/tasks"
)

func job(context.Context) error {
	fmt.Println("the job runs")
	return nil
}

func main() {
	ctx, guard := context.Background(), lifeline.Guard{Dir: os.Args[1]}
	err := guard.Do(ctx, "outside", func(ctx context.Context) error {
		fmt.Println("guarded:", worker.Supervised())
		if err := guard.Do(ctx, "outside", job); !errors.Is(err, lifeline.ErrHeld) {
			return fmt.Errorf("the second one ran: %v", err)
		}
		app := cli.App{Commands: tasks.Define("counter", job)}
		return app.RunContext(ctx, []string{"outside", "counter:run"})
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}
`

// wanted are the modules that an importer may get: the packages' dependencies, and the
// modules in these dependencies' go.mod files.
var wanted = []string{
	"github.com/gofrs/flock", "github.com/shirou/gopsutil/v3", "github.com/urfave/cli/v2", "golang.org/x/sys",
	"github.com/cpuguy83/go-md2man/v2", "github.com/russross/blackfriday/v2", "github.com/xrash/smetrics",
	"github.com/BurntSushi/toml",
	"github.com/go-ole/go-ole", "github.com/lufia/plan9stats", "github.com/power-devops/perfstat",
	"github.com/shoenig/go-m1cpu",
	"github.com/shoenig/test", "github.com/tklauser/go-sysconf", "github.com/tklauser/numcpus",
	"github.com/yusufpapurcu/wmi",
	"github.com/google/go-cmp", "github.com/stretchr/testify", "github.com/davecgh/go-spew",
	"github.com/pmezard/go-difflib",
	"golang.org/x/xerrors", "go.yaml.in/yaml/v3", "gopkg.in/yaml.v3", "gopkg.in/check.v1",
}

// importFrom checks that a module outside the tree can import lifeline from dir under
// path, as the README says.
func importFrom(t *testing.T, dir, path string) {
	t.Helper()
	here := t.TempDir()
	if err := os.WriteFile(filepath.Join(here, "main.go"), []byte(strings.ReplaceAll(outside, "PATH", path)),
		0o644); err != nil {
		t.Fatal(err)
	}
	do := func(args ...string) string {
		cmd := exec.Command("go", args...)
		cmd.Dir = here
		cmd.Env = append(os.Environ(), "GOFLAGS=")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v: %s", cmd, err, out)
		}
		return string(out)
	}
	do("mod", "init", "example.com/outside")
	do("mod", "edit", "-require="+path+"@v0.0.0", "-replace="+path+"="+dir)
	do("mod", "tidy")
	if out := do("run", ".", filepath.Join(here, "state")); out != "guarded: false\nthe job runs\n" {
		t.Errorf("it printed %q", out)
	}
	sums, err := os.ReadFile(filepath.Join(here, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(do("list", "-m", "all")+string(sums), "\n") {
		module, _, _ := strings.Cut(line, " ")
		if module != "" && module != path && module != "example.com/outside" && !slices.Contains(wanted, module) {
			t.Errorf("an importer gets %s", line)
		}
	}
}

// TestImport checks that a module outside the tree can import lifeline under its present
// path.
func TestImport(t *testing.T) {
	need.Time(t, "compiles all that an importer needs")
	dir, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	importFrom(t, dir, string(regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(text)[1]))
}

// TestModulePath moves a copy of the tree to another module path. Everything compiles, a
// module outside can import it, and the move back gives the same bytes.
func TestModulePath(t *testing.T) {
	need.Time(t, "compiles everything under another path")
	src := clone(t)
	make := func(path string) string { return run(t, nil, "make", "-s", "-C", src, "module-path", "TO="+path) }
	was := strings.Fields(make("example.org/a/lifeline"))[0]
	run(t, nil, "sh", "-c", `cd "$0" && go vet -tags urfave_cli_no_docs,osusergo,netgo work && test -z "$(gofmt -l .)" &&
go build -o /dev/null . && go build -o /dev/null ./cmd/lifeline-remote && go test -tags urfave_cli_no_docs,osusergo,netgo -run 'TestImports|TestLinked|TestRequired' .`, src)
	importFrom(t, src, "example.org/a/lifeline")
	make(was)
	if changed := run(t, nil, "git", "-C", src, "status", "--short"); changed != "" {
		t.Errorf("there and back has changed:\n%s", changed)
	}
	if out, err := exec.Command("make", "-C", src, "module-path", "TO=a b").CombinedOutput(); err == nil {
		t.Errorf("a path that can't be one is taken: %s", out)
	}
	if changed := run(t, nil, "git", "-C", src, "status", "--short"); changed != "" {
		t.Errorf("a refused path has changed:\n%s", changed)
	}
}
