// Cross checks the types of lifeline and the public packages for every system of
// packaging/targets. It also finds misaligned atomic access to 64 bits where words have
// 32. It generates no code, so all systems together take about a minute; `make vet-all`
// runs go vet for each. lifeline-remote is large, so cross checks it for one system of
// a kind.
//
//	go run ./proof/lint/cross     (make cross)
package main

import (
	"fmt"
	"go/types"
	"os"
	"slices"
	"strings"

	"golang.org/x/tools/go/analysis" // go vet's own framework
	"golang.org/x/tools/go/analysis/passes/atomicalign"
	"golang.org/x/tools/go/analysis/passes/inspect"
	"golang.org/x/tools/go/packages"
)

var patterns = []string{".", "./lifeline/...", "./tasks", "./install", "./procscan",
	"./internal/doctor", "./internal/cluster", "./internal/logger", "./internal/sdnotify", "./internal/supervisor",
	"./internal/tick"}

var remote = map[string]bool{"linux/386": true, "openbsd/amd64": true, "darwin/arm64": true}

func main() {
	targets, err := os.ReadFile("packaging/targets")
	if err != nil {
		fmt.Fprintln(os.Stderr, "cross:", err, "(run it at the top of the tree)")
		os.Exit(1)
	}
	code, seen := 0, map[string]bool{}
	for _, target := range strings.Fields(string(targets)) {
		system, arch, _ := strings.Cut(target, "/")
		if strings.HasPrefix(arch, "armv") {
			arch = "arm" // the versions of ARM differ only for the linker
		}
		if name := system + "/" + arch; !seen[name] {
			seen[name] = true
			for _, wrong := range check(system, arch) {
				fmt.Printf("%s: %s\n", name, wrong)
				code = 1
			}
		}
	}
	os.Exit(code)
}

func check(system, arch string) (wrong []string) {
	patterns := patterns
	if remote[system+"/"+arch] {
		patterns = append(slices.Clip(patterns), "./cmd/lifeline-remote/...")
	}
	loaded, err := packages.Load(&packages.Config{
		Mode: packages.NeedName | packages.NeedFiles | packages.NeedImports | packages.NeedDeps | packages.NeedSyntax |
			packages.NeedTypes | packages.NeedTypesInfo | packages.NeedTypesSizes,
		Env:        append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0"),
		BuildFlags: []string{"-tags=urfave_cli_no_docs,osusergo,netgo"},
	}, patterns...)
	if err != nil {
		return []string{err.Error()}
	}
	if len(loaded) < len(patterns) {
		return []string{fmt.Sprintf("only %d packages are there", len(loaded))}
	}
	for _, p := range loaded {
		for _, e := range p.Errors {
			wrong = append(wrong, e.Error())
		}
		if p.IllTyped {
			continue
		}
		pass := &analysis.Pass{Analyzer: atomicalign.Analyzer, Fset: p.Fset, Files: p.Syntax, Pkg: p.Types,
			TypesInfo:  p.TypesInfo,
			TypesSizes: sizes(p, arch), ResultOf: map[*analysis.Analyzer]any{},
			Report: func(d analysis.Diagnostic) {
				wrong = append(wrong, fmt.Sprintf("%s: %s", p.Fset.Position(d.Pos), d.Message))
			}}
		if pass.ResultOf[inspect.Analyzer], err = inspect.Analyzer.Run(pass); err == nil {
			_, err = atomicalign.Analyzer.Run(pass)
		}
		if err != nil {
			wrong = append(wrong, err.Error())
		}
	}
	return wrong
}

func sizes(p *packages.Package, arch string) types.Sizes {
	if p.TypesSizes != nil {
		return p.TypesSizes
	}
	return types.SizesFor("gc", arch)
}
