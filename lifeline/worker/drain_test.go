package worker

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"lifeline/proof/need"
)

// childHTTP plays one generation of a web server. With PLAIN set it ends as net/http's
// documentation says, for comparison.
func childHTTP() error {
	ctx, stop := terminated()
	defer stop()
	l, err := Listen("web", "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Generation", os.Getenv("GENERATION"))
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
		}
		w.Write(body)
	})}
	if os.Getenv("PLAIN") == "" {
		if err := Ready(); err != nil {
			return err
		}
		return Serve(ctx, srv, l)
	}
	done := make(chan error, 1)
	go func() {
		<-ctx.Done()
		done <- srv.Shutdown(context.Background())
	}()
	if err := Ready(); err != nil {
		return err
	}
	srv.Serve(l)
	return <-done
}

// load is what clients measured.
type load struct {
	requests, failed atomic.Int64
	more             chan struct{} // holds a token after a request
	mu               sync.Mutex
	failures         map[string]int
	generations      map[string]int
}

func (l *load) fail(err error) {
	l.failed.Add(1)
	l.mu.Lock()
	defer l.mu.Unlock()
	text := err.Error()
	l.failures[text[strings.LastIndex(text, ": ")+1:]]++ // without the addresses
}

// client posts bodies of up to 20 kB, one after the other, and sends each
// request once. net/http repeats none either, because a POST isn't idempotent.
func (l *load) client(ctx context.Context, url string, keepAlive bool, pause time.Duration) {
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: !keepAlive}, Timeout: patience}
	defer c.CloseIdleConnections()
	body := bytes.Repeat([]byte("0123456789abcdef"), 1280)
	for ctx.Err() == nil {
		if pause > 0 {
			select {
			case <-time.After(rand.N(pause)):
			case <-ctx.Done():
				return
			}
		}
		part := body[:rand.IntN(len(body))]
		l.requests.Add(1)
		resp, err := c.Post(url, "application/octet-stream", bytes.NewReader(part))
		if err != nil {
			l.fail(errors.Unwrap(err))
			continue
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		switch {
		case err != nil:
			l.fail(err)
		case !bytes.Equal(got, part):
			l.fail(fmt.Errorf("status %d and another body", resp.StatusCode))
		}
		l.mu.Lock()
		l.generations[resp.Header.Get("Generation")]++
		l.mu.Unlock()
		select {
		case l.more <- struct{}{}:
		default:
		}
	}
}

// await returns when n requests have begun.
func (l *load) await(t *testing.T, n int64) {
	late := time.After(patience)
	for l.requests.Load() < n {
		select {
		case <-l.more:
		case <-late:
			t.Fatalf("%d requests after %v, want %d", l.requests.Load(), patience, n)
		}
	}
}

// handOver runs one generation after the other on one socket, each for the given
// number of requests, and reports what the clients saw.
func handOver(t *testing.T, generations, requests int, env ...string) *load {
	addr, f := listenerFile(t, "tcp", "127.0.0.1:0")
	generation := func(n int) *child {
		conn, path := notifySocket(t)
		c := start(t, "http", append([]string{"LISTEN_PID=$$", "LISTEN_FDS=1", "LISTEN_FDNAMES=web",
			"NOTIFY_SOCKET=" + path, "GENERATION=" + strconv.Itoa(n)}, env...), f)
		if got := message(t, conn); got != "READY=1" {
			t.Fatalf("generation %d says %q", n, got)
		}
		return c
	}
	l := &load{more: make(chan struct{}, 1), failures: make(map[string]int), generations: make(map[string]int)}
	old := generation(0)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var clients sync.WaitGroup
	for i := range 8 {
		pause := time.Duration(i%4) * 5 * time.Millisecond // none for two of the clients
		clients.Go(func() { l.client(ctx, "http://"+addr.String()+"/", i < 4, pause) })
	}
	for n := 1; n <= generations; n++ {
		l.await(t, int64(n*requests))
		next := generation(n)
		if err := old.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		old.end()
		old = next
	}
	cancel()
	clients.Wait()
	return l
}

func TestHandOver(t *testing.T) {
	l := handOver(t, 10, 300)
	t.Logf("%d requests, %d failed, %d generations served", l.requests.Load(), l.failed.Load(), len(l.generations))
	if l.failed.Load() > 0 || len(l.generations) < 10 {
		t.Errorf("failures: %v; requests by generation: %v", l.failures, l.generations)
	}
}

// TestHandOverPlain reports, as the control, what http.Server.Shutdown alone loses
// under the same load. It never fails, because the loss may be zero.
func TestHandOverPlain(t *testing.T) {
	need.Time(t, "it only reports")
	l := handOver(t, 10, 100, "PLAIN=1")
	t.Logf("%d requests, %d failed: %v", l.requests.Load(), l.failed.Load(), l.failures)
}

// serve runs a server in this process; drain begins its end and waits until the
// listener is closed.
func serve(t *testing.T, d Drain, handler http.HandlerFunc) (addr string, drain func(), done <-chan error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	ended := make(chan error, 1)
	go func() { ended <- d.Serve(ctx, &http.Server{Handler: handler}, l) }()
	return l.Addr().String(), func() {
		t.Helper()
		cancel()
		for deadline := time.Now().Add(patience); ; {
			conn, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				return
			}
			conn.Close()
			if time.Now().After(deadline) {
				t.Fatal("the listener stays open")
			}
		}
	}, ended
}

func hello(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "hello") }

// client is one connection.
type client struct {
	t *testing.T
	net.Conn
	*bufio.Reader
}

func dial(t *testing.T, addr string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(patience))
	return &client{t, conn, bufio.NewReader(conn)}
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := io.WriteString(c.Conn, text); err != nil {
		c.t.Fatal(err)
	}
}

// receive reads a response and checks whether it ends the connection.
func (c *client) receive(wantClose bool) {
	c.t.Helper()
	resp, err := http.ReadResponse(c.Reader, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	if _, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || resp.Close != wantClose {
		c.t.Errorf("status %d, close %v, %v; want close %v", resp.StatusCode, resp.Close, err, wantClose)
	}
}

const get = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// TestDrainServesWhatItHas checks that a drain serves the request in its handler,
// and requests that arrive later on an idle or a new connection.
func TestDrainServesWhatItHas(t *testing.T) {
	working, finish := make(chan bool), make(chan bool)
	addr, drain, done := serve(t, Drain{Idle: patience}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			working <- true
			<-finish
		}
		hello(w, r)
	})
	idle, fresh, busy := dial(t, addr), dial(t, addr), dial(t, addr) // accepted in this order
	idle.send(get)
	idle.receive(false)
	busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
	<-working
	drain()
	idle.send(get)
	idle.receive(true)
	fresh.send(get)
	fresh.receive(true)
	close(finish)
	busy.receive(false) // the request was read before the drain began
	busy.send(get)
	busy.receive(true)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestDrainClosesIdle(t *testing.T) {
	addr, drain, done := serve(t, Drain{Idle: 30 * time.Millisecond}, hello)
	fresh, idle := dial(t, addr), dial(t, addr) // accepted in this order
	idle.send(get)
	idle.receive(false)
	began := time.Now()
	drain()
	for _, c := range []*client{idle, fresh} {
		if _, err := c.ReadByte(); err != io.EOF {
			t.Errorf("want end of file, got %v", err)
		}
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took < 150*time.Millisecond || took > 5*time.Second {
		t.Errorf("took %v, want 5 times 30ms for the connection without a request", took)
	}
}

func TestDrainTimeout(t *testing.T) {
	working := make(chan bool)
	addr, drain, done := serve(t, Drain{Timeout: 50 * time.Millisecond}, func(w http.ResponseWriter, r *http.Request) {
		close(working)
		<-r.Context().Done()
	})
	c := dial(t, addr)
	c.send(get)
	<-working
	drain()
	if err := <-done; !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v, want a deadline", err)
	}
}

func TestServeFails(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := Serve(t.Context(), &http.Server{}, l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v, want net.ErrClosed", err)
	}
}

// TestDrainHTTP2AndHooks checks that the server's own hooks are called, and that
// HTTP/2 ends by GOAWAY.
func TestDrainHTTP2AndHooks(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	type key struct{}
	var states atomic.Int64
	srv := &http.Server{
		Protocols: new(http.Protocols),
		ConnState: func(net.Conn, http.ConnState) { states.Add(1) },
		ConnContext: func(ctx context.Context,
			_ net.Conn) context.Context {
			return context.WithValue(ctx, key{}, true)
		},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.ProtoMajor != 2 || r.Context().Value(key{}) == nil {
				w.WriteHeader(http.StatusTeapot)
			}
		}),
	}
	srv.Protocols.SetUnencryptedHTTP2(true)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Drain{Idle: patience}.Serve(ctx, srv, l) }()
	tr := &http.Transport{Protocols: srv.Protocols}
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr}).Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 200 || states.Load() == 0 {
		t.Errorf("status %d, %d states", resp.StatusCode, states.Load())
	}
	cancel()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience / 2):
		t.Error("an idle HTTP/2 connection is waited for")
	}
}
