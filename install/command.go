package install

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// CommandPath returns the word by which cron starts the user's command: cron has
// another PATH (see CronPath), and starts in the user's home. A relative path becomes
// absolute, from cwd. A bare word stays if cronPath and userPath lead to the same
// file, else it becomes the user's file. A word found in neither is an error. A path
// isn't looked up, as the file may come later.
func CommandPath(command, cronPath, userPath, cwd string) (path string, changed bool, err error) {
	switch {
	case command == "":
		return "", false, fmt.Errorf("cannot find the command: it is empty: give it after --")
	case filepath.IsAbs(command):
		return command, false, nil
	case strings.Contains(command, "/"):
		// No filepath.Join: with symbolic links, a/../b need not be b.
		for strings.HasPrefix(command, "./") {
			command = strings.TrimLeft(command[2:], "/")
		}
		return strings.TrimSuffix(cwd, "/") + "/" + command, true, nil
	}
	user, userInfo := lookPath(command, userPath, cwd)
	_, cronInfo := lookPath(command, cronPath, "")
	switch {
	case cronInfo != nil && (userInfo == nil || os.SameFile(cronInfo, userInfo)):
		return command, false, nil
	case userInfo != nil:
		return user, true, nil
	}
	return "", false, fmt.Errorf("cannot find the command %q in your PATH or in cron's (%s): install it, or give its "+
		"absolute path", command, cronPath)
}

// lookPath finds an executable file as execvp(3) does. With cwd == "" it skips
// relative directories.
func lookPath(command, path, cwd string) (string, os.FileInfo) {
	for _, dir := range filepath.SplitList(path) {
		if !filepath.IsAbs(dir) {
			if cwd == "" {
				continue
			}
			dir = filepath.Join(cwd, dir)
		}
		file := filepath.Join(dir, command)
		info, err := os.Stat(file)
		if err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return file, info
		}
	}
	return "", nil
}
