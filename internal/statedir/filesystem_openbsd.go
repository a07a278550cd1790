package statedir

import "golang.org/x/sys/unix"

// Stat describes the file system of path.
func Stat(path string) (FileSystem, error) {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	return FileSystem{int64(st.F_blocks), int64(st.F_bfree), st.F_bavail, int64(st.F_files), int64(st.F_ffree),
		uint64(st.F_flags)}, err
}
