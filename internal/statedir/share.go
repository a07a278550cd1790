package statedir

import (
	"io/fs"
	"os"
	"path/filepath"
)

// Share lets the group of a file's directory read a new file of mode 0600. It does
// so if the directory is setgid and the group may list it. The setgid bit gives the file the
// directory's group (inode(7)).
func Share(f *os.File) error {
	info, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil || info.Mode()&fs.ModeSetgid == 0 || info.Mode()&0o050 != 0o050 {
		return nil
	}
	return f.Chmod(0o640)
}
