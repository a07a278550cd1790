package procscan

import (
	"bytes"
	"os"
	"strconv"
)

// Memory returns what a process uses of the machine's memory, in bytes. Of shared
// pages it counts the process's part (Pss and SwapPss, proc_pid_smaps(5)). Where
// this user may not read that, Memory returns the resident set.
func Memory(id ID) uint64 {
	s, err := Lookup(id.PID)
	if err != nil || s.ID != id {
		return 0
	}
	text, err := os.ReadFile("/proc/" + strconv.Itoa(id.PID) + "/smaps_rollup")
	if n, ok := parseRollup(text); err == nil && ok {
		return n
	}
	return s.RSS * uint64(os.Getpagesize())
}

// parseRollup adds up Pss and SwapPss.
func parseRollup(text []byte) (n uint64, ok bool) {
	for line := range bytes.Lines(text) {
		f := bytes.Fields(line)
		if len(f) == 3 && (string(f[0]) == "Pss:" || string(f[0]) == "SwapPss:") {
			kB, known := parseNumber(f[1])
			if !known {
				return 0, false
			}
			n, ok = n+kB<<10, true
		}
	}
	return n, ok
}
