//go:build linux || freebsd || dragonfly || darwin

package statedir

import "golang.org/x/sys/unix"

// Stat describes the file system of path.
func Stat(path string) (FileSystem, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	return FileSystem{int64(st.Blocks), int64(st.Bfree), int64(st.Bavail), int64(st.Files), int64(st.Ffree),
		uint64(st.Flags)}, err
}
