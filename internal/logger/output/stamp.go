package output

import (
	"bytes"
	"time"
)

// StampFormat is the format of --timestamps: local time with its zone, which sorts within
// a day and means the same on any machine.
const StampFormat = "2006-01-02T15:04:05.000-07:00 "

// Stamper puts the time before each line: the time of its first byte.
type Stamper struct {
	within bool // the last text ended within a line
	buf    []byte
}

// Stamp returns text with now before each line that begins in it. The result is valid
// until the next call.
func (s *Stamper) Stamp(text []byte, now time.Time) []byte {
	if len(text) == 0 {
		return nil
	}
	stamp := now.Format(StampFormat)
	s.buf = s.buf[:0]
	for len(text) > 0 {
		if !s.within {
			s.buf = append(s.buf, stamp...)
		}
		n := bytes.IndexByte(text, '\n') + 1
		if s.within = n == 0; s.within {
			n = len(text)
		}
		s.buf = append(s.buf, text[:n]...)
		text = text[n:]
	}
	return s.buf
}
