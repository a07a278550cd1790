package guard

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// inodesIn lists the inode numbers of what is in the directory. The directory's
// entries have them (getdents(2)), so that no file has to be looked at.
func inodesIn(path string) map[uint64]bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	defer unix.Close(fd)
	inodes := map[uint64]bool{}
	buf := make([]byte, 32<<10)
	for {
		n, err := unix.Getdents(fd, buf)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n <= 0 {
			return inodes
		}
		// struct linux_dirent64: inode, offset, length of the entry, type, name.
		for rest := buf[:n]; len(rest) >= 19; {
			length := int(binary.NativeEndian.Uint16(rest[16:18]))
			if length < 19 || length > len(rest) {
				break
			}
			name, _, _ := bytes.Cut(rest[19:length], []byte{0})
			if string(name) != "." && string(name) != ".." {
				inodes[binary.NativeEndian.Uint64(rest[:8])] = true
			}
			rest = rest[length:]
		}
	}
}
