package procscan

import (
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/process"
)

// Describe says for a person since when id runs and what its command line is;
// "" when that can't be told. The time goes through the wall clock: for people
// only.
func Describe(id ID) (since time.Time, command string) {
	p := &process.Process{Pid: int32(id.PID)}
	argv, err := p.CmdlineSliceWithContext(realProc)
	if err != nil || !id.Alive() {
		return time.Time{}, ""
	}
	if ms, err := p.CreateTimeWithContext(realProc); err == nil {
		since = time.UnixMilli(ms)
	}
	return since, strings.Join(argv, " ")
}
