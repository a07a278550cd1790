package worker

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The defaults of [Drain].
const (
	DefaultIdle    = time.Second
	DefaultTimeout = 30 * time.Second
)

// Serve calls [Drain.Serve] with the defaults.
func Serve(ctx context.Context, srv *http.Server, l net.Listener) error {
	return Drain{}.Serve(ctx, srv, l)
}

// Drain says how long the end of a web server may take.
type Drain struct {
	// Idle is how long a keep-alive connection without a request is kept before
	// it is closed; 0 means DefaultIdle. A connection on which no request has
	// come yet is kept for five times as long. Make it longer than the pause
	// between two requests of a busy client.
	Idle time.Duration
	// Timeout is when open connections are cut off. 0 means DefaultTimeout.
	// Make it shorter than the supervisor's --kill-after.
	Timeout time.Duration
}

// Serve serves HTTP on l until ctx ends, and then drains. It stops accepting,
// serves every request that still comes on a connection it has, and returns
// when the last connection is gone. Then the program may exit. It returns nil
// after a complete drain. It returns an error that wraps
// [context.DeadlineExceeded] when connections had to be cut off at Timeout. It
// returns accept's error when accepting failed before ctx ended. l is closed in
// any case.
//
// [http.Server.Shutdown] alone loses requests. It closes connections that look
// idle although a request is just arriving (https://go.dev/issue/65802). It
// also drops a request that was read after it began
// (https://go.dev/issue/75591). Serve goes about it in this order:
//
//   - It closes l, nothing else. A socket that the supervisor also holds lives
//     on, and the next generation accepts what waits in it.
//   - Each further response carries "Connection: close", so the client itself
//     is told to go elsewhere at the only moment without a race.
//   - An idle connection is kept for Idle from the beginning of the drain. A
//     client whose busy connections go away reaches for its idle connections. An
//     idle connection is closed only if nothing lies unread in it.
//   - Shutdown comes last, for HTTP/2, which can say goodbye without a race
//     (GOAWAY).
//
// One risk remains: a request that is under way on the network while an idle
// connection is closed at its other end. The window is about 0.3 ms on a busy
// local machine, and a round trip elsewhere. Clients have to expect that, and may
// repeat a request that is idempotent (RFC 9112, section 9.3.1). A
// POST on a connection that was left idle for longer than Idle can fail. So can
// a POST whose header takes longer than Idle from its first byte to its last. A
// connection that a handler took over (Hijack) isn't waited for.
//
// Serve sets srv's Handler, ConnContext and ConnState, and calls what was there
// before. For TLS, l is made by [tls.NewListener].
func (d Drain) Serve(ctx context.Context, srv *http.Server, l net.Listener) error {
	if d.Idle <= 0 {
		d.Idle = DefaultIdle
	}
	if d.Timeout <= 0 {
		d.Timeout = DefaultTimeout
	}
	conns := track(srv)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("cannot go on serving: %w", err)
	case <-ctx.Done():
	}

	conns.draining.Store(true)
	l.Close()
	<-served // conns knows every accepted connection now
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.Timeout)
	defer cancel()
	err := conns.drain(ctx, d.Idle)
	if err == nil {
		err = srv.Shutdown(ctx)
	}
	if err != nil {
		n := conns.count()
		srv.Close()
		return fmt.Errorf("cut off %d connections that didn't end within %v: %w", n, d.Timeout, err)
	}
	return nil
}

// connections follows a server's connections and is its handler.
type connections struct {
	handler  http.Handler
	draining atomic.Bool
	changed  chan struct{} // holds a token after a change while draining

	mu   sync.Mutex
	open map[net.Conn]*connection
}

type connection struct {
	state http.ConnState
	since time.Time
	http2 atomic.Bool
}

type connectionKey struct{}

func track(srv *http.Server) *connections {
	c := &connections{
		handler: srv.Handler,
		changed: make(chan struct{}, 1),
		open:    make(map[net.Conn]*connection),
	}
	if c.handler == nil {
		c.handler = http.DefaultServeMux
	}
	srv.Handler = c

	connContext := srv.ConnContext
	srv.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		if connContext != nil {
			ctx = connContext(ctx, nc)
		}
		return context.WithValue(ctx, connectionKey{}, c.add(nc))
	}
	connState := srv.ConnState
	srv.ConnState = func(nc net.Conn, state http.ConnState) {
		c.enter(nc, state)
		if connState != nil {
			connState(nc, state)
		}
	}
	return c
}

func (c *connections) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.ProtoMajor >= 2 {
		if conn, ok := r.Context().Value(connectionKey{}).(*connection); ok {
			conn.http2.Store(true)
		}
	}
	if c.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	c.handler.ServeHTTP(w, r)
}

func (c *connections) add(nc net.Conn) *connection {
	conn := &connection{state: http.StateNew, since: time.Now()}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[nc] = conn
	return conn
}

func (c *connections) enter(nc net.Conn, state http.ConnState) {
	c.mu.Lock()
	switch conn := c.open[nc]; {
	case state == http.StateClosed || state == http.StateHijacked:
		delete(c.open, nc)
	case conn != nil:
		conn.state, conn.since = state, time.Now()
	}
	c.mu.Unlock()
	if c.draining.Load() {
		select {
		case c.changed <- struct{}{}:
		default:
		}
	}
}

func (c *connections) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// drain returns when all connections but those of HTTP/2 have ended.
func (c *connections) drain(ctx context.Context, idle time.Duration) error {
	started := time.Now()
	for timer := time.NewTimer(0); ; {
		due, wait, left := c.due(started, idle)
		if left == 0 {
			return nil
		}
		for _, nc := range due {
			if !readable(nc) && c.quiet(nc) {
				nc.Close()
			}
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-c.changed:
		case <-timer.C:
		}
	}
}

// due returns the connections that were quiet for long enough, when to look
// again, and how many connections there are to wait for.
func (c *connections) due(started time.Time, idle time.Duration) (due []net.Conn, wait time.Duration, left int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait = idle
	for nc, conn := range c.open {
		if conn.http2.Load() {
			continue
		}
		left++
		grace := idle
		switch conn.state {
		case http.StateActive:
			continue
		case http.StateNew:
			grace *= 5 // 5 s by default, as net/http has it (https://go.dev/issue/22682)
		}
		since := conn.since
		if since.Before(started) {
			since = started
		}
		rest := time.Until(since.Add(grace))
		if rest <= 0 {
			due = append(due, nc)
			rest = 5 * time.Millisecond // its goroutine has to notice
		}
		wait = min(wait, rest)
	}
	return due, wait, left
}

func (c *connections) quiet(nc net.Conn) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	conn := c.open[nc]
	return conn != nil && conn.state != http.StateActive
}

// readable reports whether bytes have arrived that are still unread.
func readable(nc net.Conn) bool {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	n := 0
	err = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, _ = unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return err == nil && n > 0
}
