package procscan

import (
	"bytes"
	"errors"
	"strconv"
)

// include/linux/sched.h
const (
	pfExiting = 0x00000004 // PF_EXITING
	pfKthread = 0x00200000 // PF_KTHREAD
)

var errStat = errors.New("not the text of /proc/PID/stat")

// ParseStat reads the text of /proc/PID/stat (proc_pid_stat(5)). The command name
// stands in parentheses and may itself contain any of ") (\n", so the fields are
// counted from the last closing parenthesis.
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
	rest := text[end+1:]
	at := 3 // the next field, as the man page counts
	for ; at <= 52; at++ {
		for len(rest) > 0 && (rest[0] == ' ' || rest[0] == '\n') {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			break
		}
		n := bytes.IndexByte(rest, ' ')
		if n < 0 {
			n = len(bytes.TrimRight(rest, "\n"))
		}
		field := rest[:n]
		rest = rest[n:]
		if at == 3 {
			if len(field) != 1 {
				return s, errStat
			}
			s.State = field[0]
			continue
		}
		v, ok := parseNumber(field)
		if !ok {
			return s, errStat
		}
		switch at {
		case 4:
			s.PPID = int(v)
		case 5:
			s.PGID = int(v)
		case 6:
			s.SID = int(v)
		case 9:
			s.Kernel, s.Exiting = v&pfKthread != 0, v&pfExiting != 0
		case 14, 15:
			s.Ticks += v
		case 20:
			s.Threads = int(v)
		case 22:
			s.Start = v
		case 24:
			s.RSS = v
		case 27:
			s.loaded = v != 0
		case 50:
			s.envSize -= v
		case 51:
			s.envSize += v
		}
	}
	switch {
	case at <= 22:
		return s, errStat
	case at <= 51:
		s.envSize = 1
	}
	return s, nil
}

// parseNumber reads a decimal number. Addresses and limits use the whole 64
// bits; a negative number becomes its two's complement.
func parseNumber(text []byte) (n uint64, ok bool) {
	minus := len(text) > 0 && text[0] == '-'
	if minus {
		text = text[1:]
	}
	if len(text) == 0 || len(text) > 20 {
		return 0, false
	}
	for _, c := range text {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + uint64(c-'0')
	}
	if minus {
		n = -n
	}
	return n, true
}
