package procscan

import (
	"os"
	"strconv"
	"strings"
)

// ParseLocks reads the text of /proc/locks (proc_locks(5)) and gives the pids
// that took a flock(2), without those that wait for one. The pid is the one
// that took the lock: of a lock that was inherited it may be long gone.
func ParseLocks(text string) []int {
	var pids []int
	seen := map[int]bool{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		// 1: FLOCK  ADVISORY  WRITE 2345 fe:00:1234 0 EOF
		if len(f) < 6 || f[1] != "FLOCK" {
			continue
		}
		pid, err := strconv.Atoi(f[4])
		if err == nil && pid > 0 && !seen[pid] {
			seen[pid] = true
			pids = append(pids, pid)
		}
	}
	return pids
}

// LockHolders gives the processes that took a flock on the file path, also
// when the file has since been removed: the lock then lives on, and so does
// its holder. It reads /proc/locks once and looks only at the descriptors of
// those that stand there.
func LockHolders(path string) []ID {
	text, err := os.ReadFile("/proc/locks")
	if err != nil {
		return nil
	}
	var ids []ID
	for _, pid := range ParseLocks(string(text)) {
		if holdsOpen(pid, path) {
			if s, err := Lookup(pid); err == nil && !s.Dead() {
				ids = append(ids, s.ID)
			}
		}
	}
	return ids
}

// OpenAt gives the processes that have path open, or had it when it was
// removed, as one of the descriptors numbers: one readlink(2) for each of them
// and process.
func OpenAt(path string, numbers ...int) []ID {
	pids, err := Pids()
	if err != nil {
		return nil
	}
	var ids []ID
	for _, pid := range pids {
		for _, n := range numbers {
			link, err := os.Readlink("/proc/" + strconv.Itoa(pid) + "/fd/" + strconv.Itoa(n))
			if err != nil || link != path && link != path+" (deleted)" {
				continue
			}
			if s, err := Lookup(pid); err == nil && !s.Dead() {
				ids = append(ids, s.ID)
			}
			break
		}
	}
	return ids
}

// Openers gives the processes that have path open by whatever number. It looks
// at every descriptor there is: for emergencies.
func Openers(path string) []ID {
	pids, err := Pids()
	if err != nil {
		return nil
	}
	var ids []ID
	for _, pid := range pids {
		if holdsOpen(pid, path) {
			if s, err := Lookup(pid); err == nil && !s.Dead() {
				ids = append(ids, s.ID)
			}
		}
	}
	return ids
}

func holdsOpen(pid int, path string) bool {
	dir := "/proc/" + strconv.Itoa(pid) + "/fd/"
	fds, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	for _, fd := range fds {
		link, err := os.Readlink(dir + fd.Name())
		if err == nil && (link == path || link == path+" (deleted)") {
			return true
		}
	}
	return false
}
