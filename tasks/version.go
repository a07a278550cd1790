package tasks

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version tells what this program was built from, as the go command has
// written it down. (It is read when it is asked for, never at a tick.)
func version() string {
	commit, from, changed := "an unknown commit (it was built outside of a clone)", "", ""
	name := "lifeline"
	if info, ok := debug.ReadBuildInfo(); ok {
		if v := info.Main.Version; v != "" && v != "(devel)" {
			name += " " + v
		}
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
	return fmt.Sprintf("%s, %s%s%s, %s %s/%s", name, commit, from, changed, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
