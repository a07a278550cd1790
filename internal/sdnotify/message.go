package sdnotify

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/sys/unix"
)

// The bounds of one message. MaxMessage is systemd's (NOTIFY_BUFFER_MAX, which is
// PIPE_BUF). MaxFds is the kernel's for one sendmsg (SCM_MAX_FD).
const (
	MaxMessage = 4096 // bytes in one datagram
	MaxFds     = 253  // descriptors sent along with it
	MaxStatus  = 512  // bytes kept of a STATUS=
)

// DefaultFDName is the name of descriptors sent without a valid FDNAME=
// (sd_notify(3)).
const DefaultFDName = "stored"

// Message is one parsed datagram of the sd_notify protocol. Fields of absent assignments
// are zero. The assignments are those of sd_notify(3); the first of two counts, as in
// systemd's own manager.
type Message struct {
	Ready     bool // READY=1
	Reloading bool // RELOADING=1
	Stopping  bool // STOPPING=1

	// Status is STATUS=, safe to print: valid UTF-8, without control
	// characters, at most MaxStatus bytes. HasStatus tells an empty status,
	// which clears the last status, from none.
	Status    string
	HasStatus bool

	// MainPID is MAINPID=, 0 when absent. It is the sender's word only: the
	// caller checks that this process belongs to the worker.
	MainPID int

	Errno        int    // ERRNO=, 0 when absent
	BusError     string // BUSERROR=, printable ASCII
	VarlinkError string // VARLINKERROR=, printable ASCII

	Watchdog        bool // WATCHDOG=1, the heartbeat
	WatchdogTrigger bool // WATCHDOG=trigger: act as if the heartbeat had failed

	// WatchdogTimeout is WATCHDOG_USEC=: the watchdog's new period, 0 for
	// off, when HasWatchdogTimeout is set.
	WatchdogTimeout    time.Duration
	HasWatchdogTimeout bool

	// ExtendTimeout is EXTEND_TIMEOUT_USEC=: the time that the start, the stop or the
	// run still may take, from now; 0 when absent.
	ExtendTimeout time.Duration

	// MonotonicUSec is MONOTONIC_USEC=, which comes with RELOADING=1:
	// CLOCK_MONOTONIC in µs, 0 when absent.
	MonotonicUSec uint64

	RestartReset bool // RESTART_RESET=1: forget the restarts counted so far

	// Barrier is BARRIER=1, always alone in its message and with one
	// descriptor. Close answers it: call Close when all messages before it have
	// been handled.
	Barrier bool

	FDStore       bool   // FDSTORE=1: keep Fds, under FDName
	FDStoreRemove bool   // FDSTOREREMOVE=1: drop the descriptors named FDName
	FDName        string // FDNAME=, DefaultFDName when absent or not valid
	NoPoll        bool   // FDPOLL=0: keep the descriptors even when they hang up

	// Invalid is the first assignment whose value made no sense, made printable,
	// or "". Only that assignment is ignored.
	Invalid string

	// NotifyAccess is NOTIFYACCESS=, which has no effect: the receiver's options decide.
	NotifyAccess string

	Sender   Sender
	Received time.Time // when the message was read, with Go's monotonic reading

	// Fds are the close-on-exec descriptors sent with FDSTORE=1 or BARRIER=1; others
	// are closed at reception (sd_notify(3)). They belong to the message until
	// Store.Apply takes or Close closes them. They aren't *os.File, because the
	// runtime's poller would then wake this process at each connection to a socket
	// that is only kept.
	Fds []int

	content int // hasHeartbeat and hasMore, for the queue
}

const (
	hasHeartbeat = 1 << iota // WATCHDOG=1 or STATUS=: the next message may replace them
	hasMore                  // any other known assignment
)

// Sender is the sender of a message, as the kernel says (SCM_CREDENTIALS, unix(7)).
type Sender struct {
	PID   int
	UID   uint32
	GID   uint32
	Known bool // false where the platform gives no credentials
}

// Event is what a message says about the state of the service.
type Event int

const (
	None Event = iota // nothing
	Ready
	Reloading
	Stopping
)

func (e Event) String() string {
	switch e {
	case Ready:
		return "ready"
	case Reloading:
		return "reloading"
	case Stopping:
		return "stopping"
	}
	return "none"
}

// Event returns the state that a message announces. In one message STOPPING=1 wins
// over READY=1, and READY=1 over RELOADING=1, as in systemd's manager. READY=1 and
// RELOADING=1 together say that a reload has begun and ended: Event returns Ready, and
// m.Reloading is set.
func (m *Message) Event() Event {
	switch {
	case m.Stopping:
		return Stopping
	case m.Ready:
		return Ready
	case m.Reloading:
		return Reloading
	}
	return None
}

// Close closes the descriptors that were not taken. The sender of BARRIER=1 waits for
// this. Close may be called twice.
func (m *Message) Close() {
	closeAll(m.Fds)
	m.Fds = nil
}

// closeTimeout is how long the supervisor waits for a close. Closing a socket with
// SO_LINGER (socket(7)) or a file on a dead server may take longer.
const closeTimeout = 100 * time.Millisecond

func closeAll(fds []int) {
	if len(fds) == 0 {
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, fd := range fds {
			// close frees a descriptor even when it returns an error
			// (close(2)).
			_ = unix.Close(fd)
		}
	}()
	select {
	case <-done:
	case <-time.After(closeTimeout):
	}
}

var (
	errNUL     = errors.New("it contains a NUL byte; send text only")
	errBarrier = errors.New("BARRIER=1 came with other assignments; send it alone")
)

// Parse reads the payload of one datagram. It skips an unknown assignment. It also skips
// an assignment whose value makes no sense, and names the first in Invalid. An error
// means that the whole message must be ignored. Such a message is too long, has a NUL
// byte before its end, or mixes BARRIER=1 with another assignment.
func Parse(data []byte) (Message, error) {
	var m Message
	if len(data) > MaxMessage {
		return Message{}, fmt.Errorf("it is longer than %d bytes; send less at once", MaxMessage)
	}
	data = bytes.TrimSuffix(data, []byte{0})
	if bytes.IndexByte(data, 0) >= 0 {
		return Message{}, errNUL
	}
	p := parser{m: &m}
	lines, name, named := 0, "", false
	// systemd's manager ends a line at \r as well as at \n.
	for line := range strings.FieldsFuncSeq(string(data), isLineEnd) {
		lines++
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			continue
		}
		if key == "FDNAME" {
			if !named {
				name, named = value, true
			}
			continue
		}
		p.assign(line, key, value)
	}
	if m.Barrier && lines != 1 {
		return Message{}, errBarrier
	}
	p.names(name, named)
	return m, nil
}

func isLineEnd(r rune) bool { return r == '\n' || r == '\r' }

// parser remembers the keys with a free value: the first assignment of such a key
// counts, valid or not. Flags count wherever they stand.
type parser struct {
	m    *Message
	seen map[string]bool
}

func (p *parser) assign(line, key, value string) {
	m := p.m
	more, valid := true, true
	switch line {
	case "READY=1":
		m.Ready = true
	case "RELOADING=1":
		m.Reloading = true
	case "STOPPING=1":
		m.Stopping = true
	case "BARRIER=1":
		m.Barrier = true
	case "FDSTORE=1":
		m.FDStore = true
	case "FDSTOREREMOVE=1":
		m.FDStoreRemove = true
	case "FDPOLL=0":
		m.NoPoll = true
	case "RESTART_RESET=1":
		m.RestartReset = true
	default:
		if p.repeated(key) {
			return
		}
		switch key {
		case "STATUS":
			m.Status, m.HasStatus, more = harmless(value, MaxStatus), true, false
		case "WATCHDOG":
			m.Watchdog, m.WatchdogTrigger = value == "1", value == "trigger"
			valid = m.Watchdog || m.WatchdogTrigger
			more = !m.Watchdog
		case "MAINPID":
			m.MainPID, valid = number(value)
			valid = valid && m.MainPID > 0
		case "ERRNO":
			m.Errno, valid = number(value)
		case "BUSERROR":
			m.BusError, valid = ascii(value)
		case "VARLINKERROR":
			m.VarlinkError, valid = ascii(value)
		case "WATCHDOG_USEC":
			m.WatchdogTimeout, valid = usec(value)
			m.HasWatchdogTimeout = valid
		case "EXTEND_TIMEOUT_USEC":
			m.ExtendTimeout, valid = usec(value)
		case "NOTIFYACCESS":
			m.NotifyAccess = harmless(value, 80)
		case "MONOTONIC_USEC":
			n, err := strconv.ParseUint(value, 10, 64)
			m.MonotonicUSec, valid = n, err == nil && digits(value)
			if !valid {
				m.MonotonicUSec = 0
			}
		default:
			return
		}
	}
	if !valid {
		p.invalid(line)
		more = true
	}
	if more {
		m.content |= hasMore
	} else {
		m.content |= hasHeartbeat
	}
}

func (p *parser) repeated(key string) bool {
	if p.seen[key] {
		return true
	}
	if p.seen == nil {
		p.seen = make(map[string]bool, 4)
	}
	p.seen[key] = true
	return false
}

func (p *parser) invalid(line string) {
	if p.m.Invalid == "" {
		p.m.Invalid = harmless(line, 80)
	}
}

// names checks FDNAME= when the use of the name is known. As in systemd, a store ignores
// an invalid name, and a removal needs a valid name.
func (p *parser) names(name string, named bool) {
	m := p.m
	ok := named && validFDName(name)
	switch {
	case m.FDStoreRemove:
		m.FDStore = false // systemd then acts on the removal only
		if !ok {
			m.FDStoreRemove = false
			p.invalid("FDSTOREREMOVE=1 without a valid FDNAME=" + name)
			return
		}
	case !m.FDStore:
		return
	case named && !ok:
		p.invalid("FDNAME=" + name)
	}
	m.FDName = DefaultFDName
	if ok {
		m.FDName = name
	}
}

// validFDName checks the rule of sd_notify(3) for FDNAME=: at most 255 characters of
// printable ASCII, without the colon, which separates the names in LISTEN_FDNAMES. An
// empty name is valid.
func validFDName(name string) bool {
	_, ok := ascii(name)
	return ok && len(name) <= 255 && !strings.Contains(name, ":")
}

func ascii(s string) (string, bool) {
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return "", false
		}
	}
	return s, true
}

// digits refuses a sign, which strconv accepts.
func digits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

func number(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31) // pid_t and int are 32 bits wide
	if err != nil || !digits(s) {
		return 0, false
	}
	return int(n), true
}

// usec reads decimal microseconds. It refuses more than a time.Duration holds, 292 years.
func usec(s string) (time.Duration, bool) {
	n, err := strconv.ParseUint(s, 10, 64)
	if err != nil || !digits(s) || n > math.MaxInt64/uint64(time.Microsecond) {
		return 0, false
	}
	return time.Duration(n) * time.Microsecond, true
}

// harmless makes a worker's text safe for a terminal and a log line. It repairs
// broken UTF-8, and replaces control characters and characters that change the
// direction of writing. The text ends at a whole character within limit bytes.
func harmless(s string, limit int) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case r == '\t':
			r = ' '
		case unicode.IsControl(r), unicode.Is(unicode.Bidi_Control, r), r == '\u2028', r == '\u2029':
			r = utf8.RuneError
		}
		if b.Len()+utf8.RuneLen(r) > limit {
			break
		}
		b.WriteRune(r)
	}
	return b.String()
}
