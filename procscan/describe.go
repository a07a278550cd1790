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

// Argv is the command line of id as it shows it, nil when that can't be told.
func Argv(id ID) []string {
	p := &process.Process{Pid: int32(id.PID)}
	argv, err := p.CmdlineSliceWithContext(realProc)
	if err != nil || !id.Alive() {
		return nil
	}
	return append([]string{}, argv...)
}
