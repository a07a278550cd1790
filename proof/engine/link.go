//go:build linux

package engine

import (
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Way is a direction of a link, as seen from the node.
type Way int

// The directions that Cut can cut.
const (
	Requests Way = 1 << iota // from the node to the engine
	Replies                  // from the engine to the node
	Both     = Requests | Replies
)

// Link is the only way from a node to the engine: a proxy for each member. A cut link
// loses packets. As with TCP connections stay, new connections hang, and data that was
// under way arrives after the link has healed.
type Link struct {
	proxies []*proxy
	counter Counter

	mu     sync.Mutex
	lost   Way
	closed bool
	epoch  int           // rises with each Forget
	change chan struct{} // closed and made again at each change
	conns  map[net.Conn]bool
}

type proxy struct {
	listener net.Listener
	target   string
}

// NewLink makes a link to the members at these addresses.
func NewLink(members []string, protocol Protocol) (*Link, error) {
	l := &Link{change: make(chan struct{}), conns: map[net.Conn]bool{}, counter: Counter{protocol: protocol}}
	for _, target := range members {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			l.Close()
			return nil, fmt.Errorf("cannot make a link to %s: %w", target, err)
		}
		p := &proxy{listener, target}
		l.proxies = append(l.proxies, p)
		go l.serve(p)
	}
	return l, nil
}

// Addresses returns the addresses to connect to instead of the members'.
func (l *Link) Addresses() []string {
	var list []string
	for _, p := range l.proxies {
		list = append(list, p.listener.Addr().String())
	}
	return list
}

// Connected returns how many connections of clients are open.
func (l *Link) Connected() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.conns) / 2 // each has one to the engine
}

// Counter returns the counter of the node's connections and requests.
func (l *Link) Counter() *Counter { return &l.counter }

// Cut loses everything in the given directions from now on.
func (l *Link) Cut(lost Way) { l.set(lost, false) }

// Heal lets everything through again.
func (l *Link) Heal() { l.set(0, false) }

// Forget loses everything on the connections that are open now, for good, as a
// firewall that has forgotten them does. New connections work.
func (l *Link) Forget() {
	l.mu.Lock()
	l.epoch++
	l.mu.Unlock()
	l.set(0, false)
}

// Close ends the link and every connection through it.
func (l *Link) Close() {
	l.set(0, true)
	for _, p := range l.proxies {
		p.listener.Close()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for c := range l.conns {
		c.Close()
	}
}

func (l *Link) set(lost Way, closed bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost, l.closed = lost, l.closed || closed
	close(l.change)
	l.change = make(chan struct{})
}

// pass waits until way isn't cut for a connection of that epoch. It returns false when
// the link is closed.
func (l *Link) pass(way Way, epoch int) bool {
	for {
		l.mu.Lock()
		lost, closed, change := l.lost, l.closed, l.change
		if epoch < l.epoch {
			lost = Both
		}
		l.mu.Unlock()
		if closed {
			return false
		}
		if lost&way == 0 {
			return true
		}
		<-change
	}
}

func (l *Link) keep(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[c] = true
	if l.closed {
		c.Close()
	}
}

func (l *Link) forget(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	c.Close()
}

func (l *Link) serve(p *proxy) {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		go l.carry(c.(*net.TCPConn), p.target)
	}
}

func (l *Link) carry(node *net.TCPConn, target string) {
	l.keep(node)
	defer l.forget(node)
	l.counter.connection()
	l.mu.Lock()
	epoch := l.epoch
	l.mu.Unlock()
	if !l.pass(Both, epoch) { // the handshake needs both ways
		return
	}
	c, err := net.DialTimeout("tcp", target, 2*time.Second)
	if err != nil {
		_ = node.SetLinger(0) // a reset, because an accepted connection can't be refused
		return
	}
	member := c.(*net.TCPConn)
	l.keep(member)
	defer l.forget(member)
	var both sync.WaitGroup
	both.Go(func() { l.copy(member, node, Requests, epoch, l.counter.reader()) })
	both.Go(func() { l.copy(node, member, Replies, epoch, nil) })
	both.Wait()
}

// copy carries data in one direction. While the direction is cut, copy reads on, as a
// kernel takes in a window full, and waits before it delivers.
func (l *Link) copy(to, from *net.TCPConn, way Way, epoch int, count func([]byte)) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if count != nil {
				count(buf[:n])
			}
			if !l.pass(way, epoch) {
				return
			}
			if _, err := to.Write(buf[:n]); err != nil {
				from.Close()
				return
			}
		}
		if err == io.EOF {
			if l.pass(way, epoch) {
				_ = to.CloseWrite()
			}
			return
		}
		if err != nil { // a reset, which the other side gets when the link lets it through
			if l.pass(way, epoch) {
				_ = to.SetLinger(0)
				to.Close()
			}
			return
		}
	}
}
