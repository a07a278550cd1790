package cluster

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Version is the version of the protocol.
const Version = 1

// Descriptor is the socket's number in lifeline-remote.
const Descriptor = 3

// longest is a line with room for what lifeline says in its hello: the longest
// address and path, each byte of them escaped.
const longest = 64 << 10

// ErrNonsense is what the other side must not say.
var ErrNonsense = errors.New("it talks nonsense")

func nonsense(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNonsense, fmt.Sprintf(format, args...))
}

// Line makes a line of the protocol.
func Line(verb string, fields ...any) string {
	var b strings.Builder
	b.WriteString(verb)
	for _, f := range fields {
		b.WriteByte(' ')
		b.WriteString(quoted(fmt.Sprint(f)))
	}
	b.WriteByte('\n')
	return b.String()
}

func quoted(s string) string {
	if s == "" || strings.ContainsFunc(s, func(r rune) bool {
		return r <= ' ' || r == '"' || r == '\\' || r == 0x7f ||
			r >= 0x80
	}) {
		return strconv.QuoteToASCII(s)
	}
	return s
}

// Split reads a line, without its newline.
func Split(line string) (verb string, fields []string, err error) {
	if len(line) >= longest {
		return "", nil, nonsense("a line of %d bytes", len(line))
	}
	verb, rest, more := strings.Cut(line, " ")
	if verb == "" {
		return "", nil, nonsense("an empty line")
	}
	for _, r := range verb {
		if r < 'a' || r > 'z' {
			return "", nil, nonsense("%.40q", line)
		}
	}
	for more {
		var field string
		if strings.HasPrefix(rest, `"`) {
			q, err := strconv.QuotedPrefix(rest)
			if err != nil {
				return "", nil, nonsense("%.40q", line)
			}
			rest = rest[len(q):]
			if rest != "" && rest[0] != ' ' {
				return "", nil, nonsense("%.40q", line)
			}
			more = rest != ""
			rest = strings.TrimPrefix(rest, " ")
			if field, err = strconv.Unquote(q); err != nil {
				return "", nil, nonsense("%.40q", line)
			}
		} else {
			field, rest, more = strings.Cut(rest, " ")
			if field == "" || quoted(field) != field {
				return "", nil, nonsense("%.40q", line)
			}
		}
		fields = append(fields, field)
	}
	return verb, fields, nil
}

// Message is a line that was read.
type Message struct {
	Verb   string
	Fields []string
}

// Number is a field that is a number, not below zero.
func (m Message) Number(i int) (int64, error) {
	n, err := strconv.ParseInt(m.Fields[i], 10, 64)
	if err != nil || n < 0 {
		return 0, nonsense("%s %.40q", m.Verb, m.Fields[i])
	}
	return n, nil
}

// Reader reads messages. It knows which verbs the other side may use, and how
// many fields each has (-1: any number).
type Reader struct {
	in    *bufio.Reader
	verbs map[string]int
}

// NewReader makes a Reader.
func NewReader(r io.Reader, verbs map[string]int) *Reader {
	return &Reader{bufio.NewReaderSize(r, longest), verbs}
}

// Next is the next message; an error that isn't ErrNonsense is the end.
func (r *Reader) Next() (Message, error) {
	raw, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		return Message{}, nonsense("a line without an end")
	}
	if err != nil {
		return Message{}, err
	}
	verb, fields, err := Split(string(raw[:len(raw)-1]))
	if err != nil {
		return Message{}, err
	}
	n, known := r.verbs[verb]
	if !known || n >= 0 && n != len(fields) {
		return Message{}, nonsense("%s with %d fields", verb, len(fields))
	}
	return Message{verb, fields}, nil
}

// FromRemote gives the verbs of lifeline-remote, with their number of fields. It
// is a function, because every tick would pay for a variable's map.
func FromRemote() map[string]int {
	return map[string]int{"remote": 1, "standing": 0, "granted": 2, "renewed": 1, "tick": 1, "yield": 1, "lost": 1,
		"released": 0, "refused": 2, "say": 1, "trouble": 1, "ping": 0, "pong": 0}
}

// FromLifeline gives the verbs of lifeline, with their number of fields.
func FromLifeline() map[string]int {
	return map[string]int{"lifeline": -1, "want": 0, "starting": 2, "started": 3, "ended": 3, "release": 0, "done": 2,
		"ping": 0, "pong": 0, "bye": 0}
}
