package logger

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// peer is one end of the socket, for lines and descriptors.
type peer struct {
	conn *net.UnixConn
	mu   sync.Mutex // one line at a time
	rest []byte
	fds  []int // received and not yet taken
}

func newPeer(fd int) (*peer, error) {
	f := os.NewFile(uintptr(fd), "logger")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	u, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return nil, errors.New("not a unix socket")
	}
	return &peer{conn: u}, nil
}

// send writes a line. The descriptors go before it with an empty line, because a long
// line may be written in parts.
func (p *peer) send(v any, fds ...int) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(fds) > 0 {
		if _, _, err := p.conn.WriteMsgUnix([]byte("\n"), unix.UnixRights(fds...), nil); err != nil {
			return err
		}
	}
	_, err = p.conn.Write(append(line, '\n'))
	return err
}

// receive reads the next line into v.
func (p *peer) receive(v any) error {
	buf, oob := make([]byte, 4096), make([]byte, 256)
	for {
		if line, rest, ok := bytes.Cut(p.rest, []byte("\n")); ok {
			p.rest = rest
			if len(line) == 0 {
				continue
			}
			return json.Unmarshal(line, v)
		}
		if len(p.rest) > maxLine {
			return errors.New("a line without end")
		}
		n, oobn, _, _, err := p.conn.ReadMsgUnix(buf, oob)
		if oobn > 0 {
			p.keep(oob[:oobn])
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return net.ErrClosed
		}
		p.rest = append(p.rest, buf[:n]...)
	}
}

func (p *peer) keep(oob []byte) {
	messages, _ := unix.ParseSocketControlMessage(oob)
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		p.fds = append(p.fds, fds...)
	}
}

// take returns the next n received descriptors.
func (p *peer) take(n int) ([]int, bool) {
	if len(p.fds) < n {
		return nil, false
	}
	fds := p.fds[:n:n]
	p.fds = p.fds[n:]
	return fds, true
}

func (p *peer) close() {
	_ = p.conn.Close()
	for _, fd := range p.fds {
		_ = unix.Close(fd)
	}
	p.fds = nil
}
