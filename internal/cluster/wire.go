package cluster

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Version is the version of the protocol.
const Version = 2

// Descriptor is the socket's number in lifeline-remote.
const Descriptor = 3

// longest is the longest line in bytes, with room for the longest [Hello].
const longest = 64 << 10

// Side is one of the two programs. Its first line is a banner: the side and the
// version of its protocol. A banner stays as it is in every version.
type Side string

// The two programs.
const (
	FromLifeline Side = "lifeline"
	FromRemote   Side = "remote"
)

// Banner returns the first line.
func (s Side) Banner() string { return fmt.Sprintf("%s %d\n", s, Version) }

// OldRefusal returns a refusal in version 1. A lifeline of version 1 ends at this code
// instead of trying again, and the next tick starts the installed lifeline.
func OldRefusal() string {
	return "remote 1\nrefused 64 " + strconv.Quote((&VersionError{FromLifeline, "1"}).Error()) + "\n"
}

// VersionError is the error for a banner of another version.
type VersionError struct {
	Side    Side
	Version string
}

func (e *VersionError) Error() string {
	ours, theirs := "lifeline-remote", "lifeline"
	if e.Side == FromRemote {
		ours, theirs = theirs, ours
	}
	return fmt.Sprintf("this %s speaks version %d of the protocol, and %s version %.10s: install both from the same "+
		"release", ours, Version, theirs, e.Version)
}

// ErrNonsense is the error for a message that the other side must not send.
var ErrNonsense = errors.New("it talks nonsense")

func nonsense(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNonsense, fmt.Sprintf(format, args...))
}

// Bytes is a path, which may be other than UTF-8, unlike JSON's text.
type Bytes string

// MarshalText escapes b as a URL's path segment.
func (b Bytes) MarshalText() ([]byte, error) { return []byte(url.PathEscape(string(b))), nil }

// UnmarshalText reads MarshalText's output.
func (b *Bytes) UnmarshalText(text []byte) error {
	s, err := url.PathUnescape(string(text))
	*b = Bytes(s)
	return err
}

// Message is one line. The package doc says which fields a verb has.
type Message struct {
	Verb       string        `json:"verb"`
	Hello      *Hello        `json:"hello,omitempty"`
	Generation string        `json:"generation,omitempty"`
	Cgroup     Bytes         `json:"cgroup,omitempty"`
	PID        int           `json:"pid,omitempty"`
	Start      uint64        `json:"start,omitempty"` // of the process, in clock ticks
	Up         time.Duration `json:"up,omitempty"`
	Code       int           `json:"code,omitempty"`
	Unbegun    bool          `json:"unbegun,omitempty"` // the command was never executed
	Fence      uint64        `json:"fence,omitempty"`
	Deadline   time.Duration `json:"deadline,omitempty"`
	Label      string        `json:"label,omitempty"`
	Text       string        `json:"text,omitempty"`
}

// Line returns the message with its newline.
func (m Message) Line() string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // escapes would make lines longer
	if err := e.Encode(m); err != nil {
		panic(err) // every field can be encoded
	}
	return b.String()
}

// ErrFull says that the socket's buffer is full, because the other side has stopped
// reading.
var ErrFull = errors.New("it doesn't read what it is told")

// Send writes the message without waiting. With a deadline, delays of this program on a
// busy machine would look like the other's silence.
func Send(to io.Writer, m Message) error { return send(to, m.Line()) }

func send(to io.Writer, line string) error {
	c, ok := to.(syscall.Conn)
	if !ok { // a test's pipe
		_, err := io.WriteString(to, line)
		return err
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var failed error
	err = raw.Write(func(fd uintptr) bool {
		for n, failed = unix.Write(int(fd), []byte(line)); failed == unix.EINTR; {
			n, failed = unix.Write(int(fd), []byte(line))
		}
		return true
	})
	switch {
	case err != nil:
		return err
	case failed == unix.EAGAIN, failed == nil && n < len(line):
		return ErrFull
	}
	return failed
}

// Read parses a line of the side. It skips unknown fields, because a newer program of
// the same version may add some.
func (s Side) Read(line []byte) (m Message, err error) {
	if err := json.Unmarshal(line, &m); err != nil {
		return Message{}, nonsense("%.40q", line)
	}
	if !s.says(m) {
		return Message{}, nonsense("%.40q without its fields", m.Verb)
	}
	return m, nil
}

// says reports whether the side has the verb, with fields that make sense.
func (s Side) says(m Message) bool {
	verb := string(s) + " " + m.Verb
	switch verb {
	case "lifeline want", "lifeline release", "lifeline bye", "lifeline ping", "lifeline pong",
		"remote standing", "remote released", "remote trouble", "remote ping", "remote pong":
		return true
	case "lifeline hello":
		return m.Hello != nil && m.Hello.complete()
	case "lifeline starting":
		return m.Generation != ""
	case "lifeline started":
		return m.Generation != "" && m.PID > 0
	case "lifeline ended":
		return m.Generation != "" && m.Up >= 0
	case "lifeline done":
		return m.Label != "" && m.Code >= 0
	case "remote granted":
		return m.Fence > 0 && m.Deadline > 0
	case "remote renewed":
		return m.Deadline > 0
	case "remote tick":
		return m.Label != ""
	case "remote yield", "remote lost", "remote say":
		return m.Text != ""
	case "remote refused":
		return m.Code >= 1 && m.Code <= 255
	}
	return false
}

// Reader reads the other side's banner, then its messages.
type Reader struct {
	in     *bufio.Reader
	from   Side
	banner bool // the banner has been read
}

// NewReader makes a Reader.
func NewReader(r io.Reader, from Side) *Reader {
	return &Reader{in: bufio.NewReaderSize(r, longest), from: from}
}

// Next returns the next message. The error is a *VersionError, ErrNonsense or the end.
func (r *Reader) Next() (Message, error) {
	for {
		raw, err := r.in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			return Message{}, nonsense("a line without an end")
		case err != nil:
			return Message{}, err
		case r.banner:
			return r.from.Read(raw)
		}
		version, ok := strings.CutPrefix(string(raw[:len(raw)-1]), string(r.from)+" ")
		version, _, _ = strings.Cut(version, " ")
		switch _, err := strconv.Atoi(version); {
		case !ok || err != nil:
			return Message{}, nonsense("%.40q is no banner", raw)
		case version != strconv.Itoa(Version):
			return Message{}, &VersionError{r.from, version}
		}
		r.banner = true
	}
}
