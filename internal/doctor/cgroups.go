package doctor

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"lifeline/procscan"
)

// cgroups returns the directory of pid's cgroup in the hierarchy of controller, and the
// directories above it. Version 2 has one hierarchy for all controllers (cgroups(7)).
func cgroups(pid int, controller string) (dirs []string) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	for line := range strings.Lines(string(text)) {
		f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		var mounts []string
		switch {
		case len(f) < 3:
		case f[1] == "":
			mounts = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}
		case slices.Contains(strings.Split(f[1], ","), controller):
			mounts = []string{"/sys/fs/cgroup/" + controller}
		}
		for _, mount := range mounts {
			for path := f[2]; ; path = filepath.Dir(path) {
				if dir := filepath.Join(mount, path); exists(dir) {
					dirs = append(dirs, dir)
				}
				if len(path) < 2 {
					break
				}
			}
		}
	}
	return dirs
}

// wordOf returns the text of a file that holds one word; "" when it can't be read.
func wordOf(path string) string {
	text, _ := os.ReadFile(path)
	return strings.TrimSpace(string(text))
}

// halted returns what keeps a living process from going on, and what ends that: a stop
// signal, a debugger, or the freezer of its cgroup. It returns "" for nothing.
func halted(s procscan.Stat) (why, advice string) {
	switch {
	case s.State == 'T':
		return "stopped (SIGSTOP)", fmt.Sprintf("kill -CONT %d", s.PID)
	case s.State == 't':
		return "held by a debugger", fmt.Sprintf("end the debugger; it is the TracerPid of /proc/%d/status", s.PID)
	}
	for _, dir := range cgroups(s.PID, "freezer") {
		for file, thaw := range map[string]string{"cgroup.freeze": "echo 0 >" + dir + "/cgroup.freeze",
			"freezer.self_freezing": "echo THAWED >" + dir + "/freezer.state"} {
			if wordOf(filepath.Join(dir, file)) == "1" {
				return "frozen with its cgroup " + dir, thaw + " (or systemctl thaw, docker unpause)"
			}
		}
	}
	return "", ""
}

// crowded returns the fullest cgroup of pid that limits processes and threads, when it
// has no room for need more; "" when all have.
func crowded(pid, need int) (dir string, used, most int) {
	for _, dir := range cgroups(pid, "pids") {
		most, err := strconv.Atoi(wordOf(filepath.Join(dir, "pids.max")))
		if err != nil {
			continue // "max", or no such file
		}
		if used, err := strconv.Atoi(wordOf(filepath.Join(dir, "pids.current"))); err == nil && used+need > most {
			return dir, used, most
		}
	}
	return "", 0, 0
}
