//go:build !linux

package procscan

import "github.com/shirou/gopsutil/v3/process"

// Memory returns the resident set of a process, in bytes.
func Memory(id ID) uint64 {
	info, err := (&process.Process{Pid: int32(id.PID)}).MemoryInfo()
	if err != nil || !id.Alive() {
		return 0
	}
	return info.RSS
}
