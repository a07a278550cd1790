// Package release says which version a program of this tree is, and which commit
// it was built from.
package release

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Version is the version of both programs and of the packages. CHANGELOG.md has a
// section for it.
const Version = "0.1.0"

// String returns the line that `PROGRAM --version` prints, with the commit that the
// go command has stamped into the program (go help buildvcs).
func String(program string) string {
	commit, from, changed := "an unknown commit (it was built outside of a clone)", "", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision":
				commit = "commit " + s.Value
			case s.Key == "vcs.time":
				from = " of " + s.Value
			case s.Key == "vcs.modified" && s.Value == "true":
				changed = ", with changes"
			}
		}
	}
	return fmt.Sprintf("%s %s, %s%s%s, %s %s/%s", program, Version, commit, from, changed,
		runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
