//go:build linux

// Package build builds the programs for the proofs, from the present source and into
// one directory.
//
//	programs, err := build.All(dir)
//	exec.Command(programs.Lifeline, "web", "--", programs.Witness, …)
package build

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"lifeline/proof/pid"
)

// Programs has the paths of the programs.
type Programs struct {
	Dir      string
	Lifeline string // with the seam that switches a mechanism off
	Witness  string
	Peer     string // the algorithms to compare with
}

// All builds everything into dir.
func All(dir string) (Programs, error) {
	dir, err := filepath.EvalSymlinks(dir) // as /proc/PID/exe shows it
	if err != nil {
		return Programs{}, fmt.Errorf("cannot resolve the directory for the programs: %w", err)
	}
	p := Programs{Dir: dir,
		Lifeline: filepath.Join(dir, "lifeline"),
		Witness:  filepath.Join(dir, "witness"),
		Peer:     filepath.Join(dir, "peer"),
	}
	for _, b := range []struct{ out, from, tags string }{
		{p.Lifeline, ".", "urfave_cli_no_docs,osusergo,netgo,proof"},
		{p.Witness, "./proof/witness", ""},
		{p.Peer, "./proof/peer", ""},
	} {
		if err := One(b.out, b.from, b.tags); err != nil {
			return p, err
		}
	}
	return p, nil
}

// Around runs tests that need the programs. It builds them into a directory of
// their own; at the end it kills every process started from there and removes
// the directory. The result is an exit code.
func Around(name string, tests func(Programs) int) int {
	dir, err := os.MkdirTemp("", name)
	if err == nil {
		defer os.RemoveAll(dir)
		var p Programs
		if p, err = All(dir); err == nil {
			defer pid.KillBelow(p.Dir)
			return tests(p)
		}
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// Root returns the top of the source, where go.work and bin/ are.
func Root() (string, error) {
	dir, err := os.Getwd()
	for ; err == nil; dir = filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "go.work")); missing == nil {
			return dir, nil
		}
		if dir == "/" {
			err = errors.New("not inside the source")
		}
	}
	return "", err
}

// One builds the package in the directory from into the file out. from is relative to
// the top of the source.
func One(out, from, tags string) error {
	root, err := Root()
	if err == nil {
		out, err = filepath.Abs(out)
	}
	if err != nil {
		return fmt.Errorf("cannot build %s: %w", from, err)
	}
	args := []string{"build", "-C", root, "-trimpath", "-tags", tags, "-ldflags=-s -w", "-o", out}
	if os.Getenv("GOCOVERDIR") != "" { // see cover.sh
		args = append(args, "-cover", "-covermode=atomic", "-coverpkg=./...")
	}
	cmd := exec.Command("go", append(args, from)...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // as it is shipped
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("cannot build %s: %w\n%s", from, err, text)
	}
	return nil
}
