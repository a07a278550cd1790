package output

import (
	"fmt"
	"io"
	"os"
)

// spoolMem is how much of a spool is kept in memory: most jobs print less.
const spoolMem = 256 << 10

// Spool keeps output until a run's end decides whether it is shown (--quiet). What
// exceeds spoolMem goes to an unnamed temporary file.
type Spool struct {
	mem  []byte
	f    *os.File
	lost int64
	why  error
}

// Write adds p to the spool. It returns no error, but counts what doesn't fit.
func (s *Spool) Write(p []byte) {
	if s.f == nil && s.lost == 0 && len(s.mem)+len(p) <= spoolMem {
		s.mem = append(s.mem, p...)
		return
	}
	if s.f == nil && s.why == nil {
		if s.f, s.why = os.CreateTemp("", "lifeline-quiet-*"); s.why == nil {
			_ = os.Remove(s.f.Name())
		}
	}
	if s.f == nil || s.lost > 0 { // keep the beginning, without gaps
		s.lost += int64(len(p))
		return
	}
	n, err := s.f.Write(p)
	if err != nil {
		s.lost, s.why = s.lost+int64(len(p)-n), err
	}
}

// Empty reports whether nothing was written.
func (s *Spool) Empty() bool { return len(s.mem) == 0 && s.f == nil && s.lost == 0 }

// Show writes everything to w and empties the spool.
func (s *Spool) Show(w io.Writer) error {
	defer s.Drop()
	if _, err := w.Write(s.mem); err != nil {
		return err
	}
	if s.f != nil {
		if _, err := s.f.Seek(0, io.SeekStart); err != nil {
			return err
		}
		if _, err := io.Copy(w, s.f); err != nil {
			return err
		}
	}
	if s.lost > 0 {
		_, err := fmt.Fprintf(w, "\nlifeline: %d bytes more were printed and could not be kept: %v\n",
			s.lost, reason(s.why))
		return err
	}
	return nil
}

// Drop empties the spool.
func (s *Spool) Drop() {
	if s.f != nil {
		_ = s.f.Close()
	}
	*s = Spool{}
}
