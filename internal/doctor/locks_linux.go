package doctor

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// locksElsewhere reports whether the lock of pid, on an inode with path's number, is on
// another device. On btrfs and overlayfs it returns false, because a file has two devices
// there.
func locksElsewhere(pid int, path string) bool {
	var st unix.Stat_t
	var fs unix.Statfs_t
	text, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Stat(path, &st) != nil || unix.Statfs(path, &fs) != nil {
		return false
	}
	const btrfs, overlay = 0x9123683e, 0x794c7630 // statfs(2)
	if kind := uint32(fs.Type); kind == btrfs || kind == overlay {
		return false
	}
	device := fmt.Sprintf("%02x:%02x:%d", unix.Major(uint64(st.Dev)), unix.Minor(uint64(st.Dev)), st.Ino)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) > 5 && f[4] == fmt.Sprint(pid) && f[5] == device {
			return false
		}
	}
	return true
}
