//go:build !linux

package statedir

// mntLocal is MNT_LOCAL of mount(2), the same on the BSDs and on macOS.
const mntLocal = 0x1000

// OnNetwork names the network file system of path, "" for a local file system.
func OnNetwork(path string) (string, error) {
	fs, err := Stat(path)
	if err != nil || fs.flags&mntLocal != 0 {
		return "", err
	}
	return "a network file system", nil
}
