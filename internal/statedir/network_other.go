//go:build !linux

package statedir

import "golang.org/x/sys/unix"

// OnNetwork names the network file system path lies on, "" for a local one.
func OnNetwork(path string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return "", err
	}
	if st.Flags&unix.MNT_LOCAL == 0 {
		return "a network file system", nil
	}
	return "", nil
}
