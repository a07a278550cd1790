package procscan

import (
	"os"
	"strconv"
	"strings"
)

// CanSeeFlocks: Flockers tells the truth here.
const CanSeeFlocks = true

// Flockers gives the processes that hold a flock(2) on the file path, by
// taking it or by inheriting it: /proc/PID/fdinfo says it of each descriptor
// (proc_pid_fdinfo(5)). It looks at every descriptor there is: for doctors.
func Flockers(path string) []ID {
	var ids []ID
	for _, id := range Openers(path) {
		if flocks(id.PID, path) {
			ids = append(ids, id)
		}
	}
	return ids
}

func flocks(pid int, path string) bool {
	dir := "/proc/" + strconv.Itoa(pid)
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
