package statedir

import (
	"io/fs"
	"os"
	"path/filepath"
)

// Share lets the group of a file's directory read a new file of mode 0600,
// where the administrator has said so. He says so by the directory's setgid
// bit, which gives the file its group (inode(7)), and by a group that may read.
func Share(f *os.File) error {
	info, err := os.Stat(filepath.Dir(f.Name()))
	if err != nil || info.Mode()&fs.ModeSetgid == 0 || info.Mode()&0o050 != 0o050 {
		return nil // all others are kept out
	}
	return f.Chmod(0o640)
}
