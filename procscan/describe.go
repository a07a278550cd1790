package procscan

import (
	"strings"
	"time"

	"github.com/shirou/gopsutil/v3/process"
)

// Describe returns since when id runs and its command line; "" when that isn't
// known. The time comes from the wall clock and is for people only.
func Describe(id ID) (since time.Time, command string) {
	argv := Argv(id)
	if argv == nil {
		return time.Time{}, ""
	}
	p := &process.Process{Pid: int32(id.PID)}
	if ms, err := p.CreateTimeWithContext(realProc); err == nil {
		since = time.UnixMilli(ms)
	}
	return since, strings.Join(argv, " ")
}

// Argv returns the command line that id shows, nil when that isn't known.
func Argv(id ID) []string {
	p := &process.Process{Pid: int32(id.PID)}
	argv, err := p.CmdlineSliceWithContext(realProc)
	if err != nil || !id.Alive() {
		return nil
	}
	return append([]string{}, argv...)
}
