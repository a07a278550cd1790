//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// load is a number of clients that send requests to a server all the time, and check
// every answer. Unlike net/http's client they never repeat a request silently.
type load struct {
	address string
	ask     asker
	// excused tells whether a broken connection is excused, by the client's own address
	// and the time of its connect.
	excused func(client string, since time.Time) bool

	quit    chan struct{}
	clients sync.WaitGroup
	mu      sync.Mutex
	tally   tally
	seen    chan struct{} // closed at the first answer
}

// asker makes the n-th request of a client, and the expected answer.
type asker func(n int, host, connection string) (request, want []byte)

// tally counts the results of the requests. Each request that was begun is counted
// once: answered, lost or excused.
type tally struct {
	requests, answered, lost, excused int
	closed                            int            // connections that the server closed between two requests
	kinds                             map[string]int // lost requests, by how they were lost
	longest                           time.Duration  // from a request's connect or first byte to the end of its answer
	servers                           map[string]int // answers by the Pid header
}

func (t tally) why() string {
	var list []string
	for kind, n := range t.kinds {
		list = append(list, fmt.Sprintf("%d %s", n, kind))
	}
	slices.Sort(list)
	return strings.Join(list, ", ")
}

// pause is a client's pause between two requests. It bounds the load, so that the
// servers' starts are measured, and not the lack of cores.
const pause = time.Millisecond

// patience is the time after which an unanswered request counts as lost.
const patience = 30 * time.Second

// echo posts a body, and expects the same body back.
func echo(n int, host, connection string) (request, want []byte) {
	body := make([]byte, 1+rand.IntN(4096))
	for i := range body {
		body[i] = 'a' + byte((n+i*7)%26)
	}
	return fmt.Appendf(nil, "POST /echo HTTP/1.1\r\nHost: %s\r\nConnection: %s\r\nContent-Length: %d\r\n\r\n%s", host,
		connection, len(body), body), body
}

// get expects a fixed text.
func get(path string, want []byte) asker {
	return func(_ int, host, connection string) ([]byte, []byte) {
		return fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: %s\r\n\r\n", path, host, connection), want
	}
}

// whichClients says how many clients of each kind a load has.
type whichClients struct{ keepAlive, fresh int }

var eight = whichClients{4, 4}

// begin starts the clients.
func (l *load) begin(which whichClients) {
	l.quit, l.seen = make(chan struct{}), make(chan struct{})
	l.tally = tally{kinds: map[string]int{}, servers: map[string]int{}}
	for i := range which.keepAlive + which.fresh {
		c := &client{load: l, number: i, keepAlive: i < which.keepAlive}
		l.clients.Add(1)
		go c.run()
	}
}

// answered waits for the first answer.
func (l *load) answered() error {
	select {
	case <-l.seen:
		return nil
	case <-time.After(patience):
		return fmt.Errorf("no answer from %s at all; %s", l.address, l.now().why())
	}
}

// now returns the tally so far.
func (l *load) now() tally {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.tally
	t.kinds, t.servers = maps.Clone(t.kinds), maps.Clone(t.servers)
	return t
}

// end stops the clients after the requests under way, and returns the tally.
func (l *load) end() tally {
	close(l.quit)
	l.clients.Wait()
	return l.tally
}

// client is one client of a load.
type client struct {
	*load
	number    int
	keepAlive bool
	conn      net.Conn
	in        *bufio.Reader
	since     time.Time // when its connect began
}

func (c *client) run() {
	defer c.clients.Done()
	defer c.drop()
	for n := 0; ; n++ {
		select {
		case <-c.quit:
			return
		default:
		}
		began := time.Now()
		server, err := c.exchange(n)
		c.note(server, err, time.Since(began))
		if err != nil {
			c.drop()
		}
		time.Sleep(pause)
	}
}

func (c *client) drop() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *client) note(server string, err error, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	t := &c.tally
	t.requests++
	switch {
	case err == nil:
		if t.answered++; t.answered == 1 {
			close(c.seen)
		}
		t.servers[server]++
		t.longest = max(t.longest, took)
	case c.conn != nil && c.excused != nil && c.excused(c.conn.LocalAddr().String(), c.since):
		t.excused++
	default:
		t.lost++
		t.kinds[kindOf(err)]++
	}
}

// exchange sends one request and reads its answer.
func (c *client) exchange(n int) (server string, err error) {
	if c.conn != nil && c.over() {
		c.drop()
	}
	if c.conn == nil {
		if err := c.connect(); err != nil {
			return "", err
		}
	}
	connection := "close"
	if c.keepAlive {
		connection = "keep-alive"
	}
	host := c.address
	if strings.HasPrefix(host, "/") {
		host = "localhost"
	}
	request, want := c.ask(n, host, connection)
	if err := c.conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return "", err
	}
	if _, err := c.conn.Write(request); err != nil {
		return "", err
	}
	answer, err := http.ReadResponse(c.in, &http.Request{Method: string(request[:bytes.IndexByte(request, ' ')])})
	if err != nil {
		return "", err
	}
	got, err := io.ReadAll(answer.Body)
	if err != nil {
		return "", err
	}
	if answer.StatusCode != http.StatusOK || !bytes.Equal(got, want) {
		return "", &wrongError{answer.StatusCode}
	}
	if !c.keepAlive || answer.Close {
		c.drop()
	}
	return answer.Header.Get("Pid"), nil
}

// over reports whether the server has closed the connection since the last answer. A
// client has to look before it sends (RFC 9112, section 9.5). A request on a connection
// that the server closes later is lost.
func (c *client) over() bool {
	raw, err := c.conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	over := false
	_ = raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		over = err == nil && n == 0 || err == unix.ECONNRESET
	})
	if over {
		c.mu.Lock()
		c.tally.closed++
		c.mu.Unlock()
	}
	return over
}

// connect uses a loopback address of the client's own, so that ports in
// TIME_WAIT don't run out.
func (c *client) connect() error {
	network, dialer := "unix", net.Dialer{Timeout: patience}
	if !strings.HasPrefix(c.address, "/") {
		network, dialer.LocalAddr = "tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 1, byte(10+c.number))}
	}
	// The time before the connect, because its server may be killed before this goroutine
	// runs again.
	c.since = time.Now()
	conn, err := dialer.DialContext(context.Background(), network, c.address)
	if err != nil {
		return err
	}
	c.conn, c.in = conn, bufio.NewReader(conn)
	return nil
}

type wrongError struct{ code int }

func (e *wrongError) Error() string { return "a wrong answer, status " + strconv.Itoa(e.code) }

func kindOf(err error) string {
	var wrong *wrongError
	switch {
	case errors.As(err, &wrong):
		return "answered wrongly (status " + strconv.Itoa(wrong.code) + ")"
	case errors.Is(err, unix.ECONNREFUSED):
		return "refused"
	case errors.Is(err, unix.ECONNRESET), errors.Is(err, unix.EPIPE):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "closed without an answer"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "not answered within " + patience.String()
	}
	return err.Error()
}
