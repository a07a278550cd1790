package statedir

import "golang.org/x/sys/unix"

// Stat describes the file system of path. It uses statvfs(2), which counts in
// fragments.
func Stat(path string) (FileSystem, error) {
	var st unix.Statvfs_t
	err := unix.Statvfs(path, &st)
	return FileSystem{int64(st.Blocks), int64(st.Bfree), int64(st.Bavail), int64(st.Files),
		int64(st.Ffree), st.Flag}, err
}
