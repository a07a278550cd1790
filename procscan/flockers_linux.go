package procscan

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// CanSeeFlocks: Flockers tells the truth here.
const CanSeeFlocks = true

// Flockers gives the processes that hold a flock(2) on the file path, by
// taking it or by inheriting it: /proc/PID/fdinfo says it of each descriptor
// (proc_pid_fdinfo(5)). It looks at every descriptor there is: for doctors.
// What another user's process has open can't be seen; the one that took the
// lock stands in /proc/locks, by device and inode.
func Flockers(path string) []ID {
	var ids []ID
	for _, id := range Openers(path) {
		if Flocks(id, path) {
			ids = append(ids, id)
		}
	}
	if len(ids) > 0 {
		return ids
	}
	var st unix.Stat_t
	text, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Lstat(path, &st) != nil {
		return nil
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) < 6 || f[1] != "FLOCK" || f[5] != file {
			continue
		}
		if pid, err := strconv.Atoi(f[4]); err == nil && pid > 0 {
			if s, err := Lookup(pid); err == nil && !s.Dead() {
				ids = append(ids, s.ID)
			}
		}
	}
	return ids
}

// Flocks reports whether id holds a flock(2) on the file path.
func Flocks(id ID, path string) bool {
	dir := "/proc/" + strconv.Itoa(id.PID)
	fds, err := os.ReadDir(dir + "/fd")
	if err != nil {
		return false
	}
	for _, fd := range fds {
		if link, err := os.Readlink(dir + "/fd/" + fd.Name()); err != nil || link != path {
			continue
		}
		text, err := os.ReadFile(dir + "/fdinfo/" + fd.Name())
		if err == nil && strings.Contains(string(text), "FLOCK") {
			return true
		}
	}
	return false
}
