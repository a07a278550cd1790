package procscan

import (
	"bytes"
	"errors"
	"strconv"
)

const pfKthread = 0x00200000 // PF_KTHREAD, include/linux/sched.h

var errStat = errors.New("not the text of /proc/PID/stat")

// ParseStat reads the text of /proc/PID/stat (proc_pid_stat(5)). The command
// name stands in parentheses and may itself contain any of ") (\n", so the
// fields are counted from the last closing one.
func ParseStat(text []byte) (Stat, error) {
	var s Stat
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 1 || end < open {
		return s, errStat
	}
	pid, err := strconv.Atoi(string(bytes.TrimSpace(text[:open])))
	if err != nil || pid <= 0 {
		return s, errStat
	}
	s.PID, s.Comm = pid, string(text[open+1:end])
	fields := bytes.Fields(text[end+1:])
	// fields[0] is field 3 of the man page.
	if len(fields) < 22 || len(fields[0]) != 1 {
		return s, errStat
	}
	s.State = fields[0][0]
	var bad error
	number := func(manPage int) uint64 {
		n, err := strconv.ParseInt(string(fields[manPage-3]), 10, 64)
		if err != nil {
			// Addresses and limits use the whole 64 bits.
			u, uerr := strconv.ParseUint(string(fields[manPage-3]), 10, 64)
			if uerr != nil {
				bad = errStat
			}
			return u
		}
		return uint64(n)
	}
	s.PPID, s.PGID, s.SID = int(number(4)), int(number(5)), int(number(6))
	s.Kernel = number(9)&pfKthread != 0
	s.Ticks = number(14) + number(15)
	s.Threads = int(number(20))
	s.Start = number(22)
	if len(fields) >= 24-2 {
		s.RSS = number(24)
	}
	if len(fields) >= 27-2 {
		s.loaded = number(27) != 0
	}
	if len(fields) >= 51-2 {
		start, end := number(50), number(51)
		if end > start {
			s.envLen = end - start
		}
	}
	return s, bad
}
