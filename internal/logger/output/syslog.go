package output

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"time"
)

// SyslogAddress reads what is given for a syslog: the word syslog, which is this
// machine's, or unix:///PATH of another socket.
func SyslogAddress(text string) (path string, err error) {
	if text == "syslog" {
		if runtime.GOOS == "darwin" {
			return "/var/run/syslog", nil
		}
		return "/dev/log", nil
	}
	if path, ok := strings.CutPrefix(text, "unix://"); ok && strings.HasPrefix(path, "/") {
		return path, nil
	}
	return "", errors.New("it is syslog, or unix:///PATH of a syslog socket")
}

// The priorities of RFC 3164, section 4.1.1: facility daemon, informational and
// error.
const (
	SyslogInfo  = 3<<3 | 6
	SyslogError = 3<<3 | 3
)

// syslogLine is the longest line that goes out as one: rsyslog and journald take
// at least that.
const syslogLine = 8000

// Syslog sends lines to a syslog's socket. Its methods may be called from several
// goroutines.
type Syslog struct {
	path, name string
	report     func(text string)

	mu    sync.Mutex
	conn  net.Conn  // nil: none
	retry time.Time // no try before this
	lost  int64     // lines, in this trouble
}

// OpenSyslog gives the one at path; name is what the lines are marked with. report
// gets a line for a person when it can't be spoken to, and when it can again.
func OpenSyslog(path, name string, report func(text string)) *Syslog {
	return &Syslog{path: path, name: name, report: report}
}

// Close lets go of the socket.
func (s *Syslog) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// send sends one line. A syslog that takes nothing for a second loses it: the
// command isn't held up for that.
func (s *Syslog) send(priority int, line []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.conn == nil {
		if now.Before(s.retry) {
			s.lost++
			return
		}
		conn, err := net.Dial("unixgram", s.path)
		if err != nil {
			s.fail(err)
			return
		}
		s.conn = conn
	}
	_ = s.conn.SetWriteDeadline(now.Add(again))
	// syslog(3) leaves the host's name out on this socket.
	_, err := fmt.Fprintf(s.conn, "<%d>%s %s: %s", priority, now.Format(time.Stamp), s.name, line)
	if err != nil {
		_ = s.conn.Close()
		s.conn = nil
		s.fail(err)
		return
	}
	if s.lost > 0 {
		s.report(fmt.Sprintf("the syslog at %s takes lines again; %d are missing there", s.path, s.lost))
		s.lost = 0
	}
}

// fail notes that a line is lost. The first time that is told.
func (s *Syslog) fail(err error) {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	if s.lost++; s.lost == 1 {
		s.report(fmt.Sprintf("cannot write to the syslog at %s: %v; the command goes on, and what it prints is lost until "+
			"that is mended", s.path, err))
	}
	s.retry = time.Now().Add(again)
}

// SyslogLines is one stream of it: what is written comes out as whole lines.
type SyslogLines struct {
	To       *Syslog
	Priority int
	rest     []byte
}

// Write takes text as it comes.
func (l *SyslogLines) Write(p []byte) {
	for len(p) > 0 {
		n := bytes.IndexByte(p, '\n')
		if n < 0 {
			l.rest = append(l.rest, p...)
			if len(l.rest) >= syslogLine {
				l.Flush()
			}
			return
		}
		l.rest = append(l.rest, p[:n]...)
		l.Flush()
		p = p[n+1:]
	}
}

// Flush sends what hasn't ended as a line of its own. Empty lines aren't sent.
func (l *SyslogLines) Flush() {
	for text := bytes.TrimRight(l.rest, "\r"); len(text) > 0; {
		n := min(len(text), syslogLine)
		l.To.send(l.Priority, text[:n])
		text = text[n:]
	}
	l.rest = l.rest[:0]
}
