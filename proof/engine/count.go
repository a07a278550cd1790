//go:build linux

package engine

import (
	"encoding/binary"
	"sync/atomic"
)

// Protocol is the protocol whose requests a link counts.
type Protocol int

// The protocols of the engines.
const (
	HTTP2    Protocol = iota // etcd: a request or a message on a stream is a DATA frame
	Frontend                 // PostgreSQL: a statement is a Query or an Execute
)

// Counter counts a node's connections and requests to its engine.
type Counter struct {
	protocol              Protocol
	connections, requests atomic.Int64
}

// Connections returns how many connections were tried.
func (c *Counter) Connections() int { return int(c.connections.Load()) }

// Requests returns how many requests were sent, also those that were lost.
func (c *Counter) Requests() int { return int(c.requests.Load()) }

func (c *Counter) connection() { c.connections.Add(1) }

// reader returns a function that counts the requests in one connection's stream.
func (c *Counter) reader() func([]byte) {
	f := &frames{count: func() { c.requests.Add(1) }, greeting: c.protocol == Frontend}
	if c.protocol == HTTP2 {
		f.skip = len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	}
	return func(text []byte) {
		for len(text) > 0 {
			if f.skip > 0 {
				n := min(f.skip, len(text))
				f.skip -= n
				text = text[n:]
				continue
			}
			f.head = append(f.head, text[0])
			text = text[1:]
			if c.protocol == HTTP2 {
				f.http2()
			} else {
				f.frontend()
			}
		}
	}
}

// frames is the position in a stream of length-prefixed frames.
type frames struct {
	count    func()
	head     []byte
	skip     int  // bytes of a body still to come
	greeting bool // PostgreSQL's first messages have no type
}

// http2 reads frames of RFC 9113, 4.1: length (24), type (8), flags (8), stream (32).
func (f *frames) http2() {
	if len(f.head) < 9 {
		return
	}
	if f.head[3] == 0 {
		f.count()
	}
	f.skip = int(f.head[0])<<16 | int(f.head[1])<<8 | int(f.head[2])
	f.head = f.head[:0]
}

// frontend reads messages of PostgreSQL's protocol 3: a type byte and a length that
// counts itself. Requests for encryption and the startup message come first, and have
// no type.
func (f *frames) frontend() {
	if f.greeting {
		if len(f.head) < 8 {
			return
		}
		if binary.BigEndian.Uint32(f.head[4:]) == 3<<16 {
			f.greeting = false
		}
		f.skip = max(0, int(binary.BigEndian.Uint32(f.head))-8)
		f.head = f.head[:0]
		return
	}
	if len(f.head) < 5 {
		return
	}
	if f.head[0] == 'Q' || f.head[0] == 'E' {
		f.count()
	}
	f.skip = max(0, int(binary.BigEndian.Uint32(f.head[1:]))-4)
	f.head = f.head[:0]
}
