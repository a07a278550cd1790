//go:build linux

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sys/unix"
)

// machine describes the machine and the programs of the measurement.
func machine(args []string) string {
	var un unix.Utsname
	_ = unix.Uname(&un)
	var versions []string
	for _, pkg := range []string{"util-linux", "daemontools", "moreutils", "procps", "busybox", "ruby"} {
		out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", pkg).Output()
		if err == nil && len(out) > 0 {
			versions = append(versions, pkg+" "+string(out))
		}
	}
	command := append([]string{"go run ./proof/" + filepath.Base(args[0])}, args[1:]...)
	return fmt.Sprintf("`%s`\n\n%s, %d cores, Linux %s; %s; %s.\n", strings.Join(command, " "), cpu(), runtime.NumCPU(),
		unix.ByteSliceToString(un.Release[:]), runtime.Version(), strings.Join(versions, ", "))
}

func cpu() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "an unknown processor"
	}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
