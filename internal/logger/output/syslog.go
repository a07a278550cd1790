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

// SyslogAddress reads the address of a syslog: the word syslog for this machine's, or
// unix:///PATH for another socket.
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

// syslogLine is the longest line that is sent whole: rsyslog and journald accept at
// least this length.
const syslogLine = 8000

// Syslog sends lines to a syslog's socket. Its methods may be called from several
// goroutines.
type Syslog struct {
	path, name string
	report     func(text string)

	mu    sync.Mutex
	conn  net.Conn  // nil: none
	retry time.Time // no try before this time
	lost  int64     // lines lost in this trouble
}

// OpenSyslog returns the syslog at path, whose lines are marked with name. It calls
// report with a line for a person when the syslog can't be reached, and when it can
// again.
func OpenSyslog(path, name string, report func(text string)) *Syslog {
	return &Syslog{path: path, name: name, report: report}
}

// Close closes the socket.
func (s *Syslog) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.conn != nil {
		_ = s.conn.Close()
	}
}

// send sends one line. The line is lost when the syslog doesn't take it within a second,
// so that the command doesn't wait.
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

// fail notes that a line is lost. It reports the first loss.
func (s *Syslog) fail(err error) {
	var op *net.OpError
	if errors.As(err, &op) {
		err = op.Err
	}
	if s.lost++; s.lost == 1 {
		s.report(fmt.Sprintf("cannot write to the syslog at %s: %v; the command goes on, and what it prints is lost "+
			"until that is mended", s.path, err))
	}
	s.retry = time.Now().Add(again)
}

// SyslogLines sends a stream of text to a syslog as whole lines.
type SyslogLines struct {
	To       *Syslog
	Priority int
	rest     []byte
}

// Write takes any piece of text, and sends the lines that are complete.
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

// Flush sends the unfinished text as a line. It sends no empty line.
func (l *SyslogLines) Flush() {
	for text := bytes.TrimRight(l.rest, "\r"); len(text) > 0; {
		n := min(len(text), syslogLine)
		l.To.send(l.Priority, text[:n])
		text = text[n:]
	}
	l.rest = l.rest[:0]
}
