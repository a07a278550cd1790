package journal

import (
	"bytes"
	"encoding/json"
	"strconv"
	"time"
)

// parseRun reads one line of a history into r, which is zero. The caller makes r,
// because a Run made here would be an allocation for each line. parseWritten reads
// the lines that appendRun writes, in a twentieth of encoding/json's time: a page of
// 300 names has 600,000 lines. encoding/json reads all other lines.
func parseRun(line []byte, r *Run) bool {
	if !r.parseWritten(line) {
		*r = Run{}
		if json.Unmarshal(line, r) != nil {
			return false
		}
	}
	return r.Outcome != "" && !r.End.Before(r.Start)
}

// parseWritten reads what json.Marshal makes of a Run whose texts need no escapes.
// ok is false for everything else.
func (r *Run) parseWritten(line []byte) (ok bool) {
	line = bytes.TrimSuffix(line, []byte("\n"))
	if len(line) < 2 || line[0] != '{' {
		return false
	}
	for rest := line[1:]; ; rest = rest[1:] {
		var key, value []byte
		if key, rest, ok = cutText(rest); !ok || len(rest) == 0 || rest[0] != ':' {
			return false
		}
		rest = rest[1:]
		if len(rest) > 0 && rest[0] == '"' {
			value, rest, ok = cutText(rest)
			ok = ok && r.setText(string(key), value)
		} else if end := numberEnd(rest); end > 0 {
			value, rest = rest[:end], rest[end:]
			ok = r.setNumber(string(key), value)
		} else {
			ok = false
		}
		switch {
		case !ok || len(rest) == 0:
			return false
		case rest[0] == '}':
			return len(rest) == 1
		case rest[0] != ',':
			return false
		}
	}
}

// cutText takes a string in quotes from the front of text. It cuts a string with an
// escape too early, and isPlain then refuses the string.
func cutText(text []byte) (inner, rest []byte, ok bool) {
	if len(text) == 0 || text[0] != '"' {
		return nil, nil, false
	}
	end := bytes.IndexByte(text[1:], '"') + 1
	if end == 0 {
		return nil, nil, false
	}
	return text[1:end], text[end+1:], true
}

// isPlain reports whether text is printable ASCII without escapes.
func isPlain(text []byte) bool {
	for _, c := range text {
		if c == '\\' || c < ' ' || c > '~' {
			return false
		}
	}
	return true
}

// numberEnd returns the length of the number that text begins with.
func numberEnd(text []byte) int {
	for i, c := range text {
		if c != '-' && c != '.' && (c < '0' || c > '9') {
			return i
		}
	}
	return 0
}

func (r *Run) setText(key string, value []byte) bool {
	switch key {
	case "start":
		return setTime(&r.Start, value)
	case "end":
		return setTime(&r.End, value)
	case "ready":
		r.Ready = new(time.Time)
		return setTime(r.Ready, value)
	}
	if !isPlain(value) {
		return false
	}
	switch key {
	case "generation":
		r.Generation = string(value)
	case "outcome":
		r.Outcome = intern(value)
	case "signal":
		r.Signal = intern(value)
	case "why":
		r.Why = intern(value)
	default:
		return false
	}
	return true
}

// intern avoids a copy of the words that most lines have.
func intern(value []byte) string {
	switch string(value) {
	case OK:
		return OK
	case Failed:
		return Failed
	case Stopped:
		return Stopped
	}
	return string(value)
}

func setTime(at *time.Time, value []byte) bool { return at.UnmarshalText(value) == nil }

func (r *Run) setNumber(key string, value []byte) bool {
	// As encoding/json, accept -1 and 17, but not +1 or 017.
	if value[0] != '-' && (value[0] < '0' || value[0] > '9') || len(value) > 1 && value[0] == '0' && value[1] != '.' {
		return false
	}
	if key == "cpu_seconds" {
		v, err := strconv.ParseFloat(string(value), 64)
		r.CPU = v
		return err == nil && value[0] != '-' && value[len(value)-1] != '.'
	}
	n, err := strconv.ParseInt(string(value), 10, 64)
	if err != nil || value[0] == '-' && (len(value) < 2 || value[1] == '0') {
		return false
	}
	switch key {
	case "pid":
		r.PID = int(n)
	case "code":
		r.Code = int(n)
	case "max_rss":
		r.MaxRSS = n
	case "skipped":
		r.Skipped = int(n)
	case "supervisor":
		r.Supervisor = int(n)
	default:
		return false
	}
	return int64(int(n)) == n
}
