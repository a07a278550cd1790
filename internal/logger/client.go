package logger

import (
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/journal"
	"lifeline/internal/process"
	"lifeline/procscan"
)

// Client is a supervisor's side of its logger.
type Client struct {
	place Place
	setup Setup
	env   []string
	warn  func(format string, args ...any)
	pipes []pipe

	pid    atomic.Int64 // the logger's
	outbox chan outgoing
	over   chan struct{}   // closed after the last connection
	hung   <-chan struct{} // closed at the answer for which Ended stopped waiting; nil: none
}

type outgoing struct {
	m    message
	sent chan struct{} // closed at the answer; nil: no caller waits
}

// readyPatience is how long a running logger may take to answer.
const readyPatience = 2 * time.Second

// endPatience is how long a logger may take for the rest of a run's output.
const endPatience = 10 * time.Second

// Open gives setup to the running logger, or to a new logger with the environment env.
// An error means that no logger was started.
func Open(place Place, setup Setup, env []string, warn func(format string, args ...any)) (*Client, error) {
	c := &Client{place: place, setup: setup, env: env, warn: warn, outbox: make(chan outgoing, 256),
		over: make(chan struct{})}
	if setup.reads() {
		c.setup.Streams = 1
		if setup.Syslog != "" || (setup.Log == nil || setup.Quiet) && !sameFile(1, 2) {
			c.setup.Streams = 2
		}
	}
	c.setup.Std = setup.shows()
	for i := range c.setup.Streams {
		p, err := place.open(i)
		if err != nil {
			c.closePipes()
			return nil, err
		}
		c.pipes = append(c.pipes, p)
	}
	p, err := c.connect()
	if err != nil {
		c.closePipes()
		return nil, err
	}
	go c.serve(p)
	return c, nil
}

func sameFile(a, b int) bool {
	var x, y unix.Stat_t
	return unix.Fstat(a, &x) == nil && unix.Fstat(b, &y) == nil && x.Dev == y.Dev && x.Ino == y.Ino && x.Rdev == y.Rdev
}

func (c *Client) closePipes() {
	for _, p := range c.pipes {
		p.close()
	}
}

// Stdio returns the descriptors for the worker; the zero value means lifeline's own.
func (c *Client) Stdio() [3]int {
	switch len(c.pipes) {
	case 1:
		return [3]int{0, c.pipes[0].write, c.pipes[0].write}
	case 2:
		return [3]int{0, c.pipes[0].write, c.pipes[1].write}
	}
	return [3]int{}
}

// Started reports the start of a run. It returns at once.
func (c *Client) Started(r journal.Run) { c.tell(message{Started: &r}) }

// Ended reports the end of a run. When each run's output is kept apart, Ended waits until
// the logger has read all of it: the next run prints into the same pipe.
// A hung logger delays the supervisor by endPatience once, until the logger answers.
func (c *Client) Ended(r journal.Run) {
	c.tell(message{Ended: &r})
	if !c.setup.KeepsApart() {
		return
	}
	if c.hung != nil {
		select {
		case <-c.hung:
			c.hung = nil
		default:
			return
		}
	}
	c.hung = c.Flush(endPatience)
}

func (c *Client) tell(m message) {
	select {
	case c.outbox <- outgoing{m: m}:
	default: // the logger is stopped or far behind, and the supervisor doesn't wait
	}
}

// Flush waits up to limit until the logger has handled all earlier messages. After that
// time it returns a channel that is closed when the logger has handled them.
func (c *Client) Flush(limit time.Duration) <-chan struct{} {
	o := outgoing{message{Flush: true}, make(chan struct{})}
	select {
	case c.outbox <- o:
	default:
		return nil
	}
	select {
	case <-o.sent:
		return nil
	case <-time.After(limit):
		return o.sent
	}
}

// Close waits up to limit until the hooks have run and all output is shown. It waits for
// pings only if pings is true, because the logger also sends them later. It never waits
// for leftovers of the worker that have the pipe open.
func (c *Client) Close(limit time.Duration, pings bool) {
	c.tell(message{Bye: true, Pings: pings})
	select {
	case <-c.over:
	case <-time.After(limit):
		c.warn("what is left to write, to run or to send takes longer than %s: it is left to the logger", limit)
	}
	c.closePipes()
}

// connect finds or starts the logger of the place, and sends it the setup.
func (c *Client) connect() (*peer, error) {
	if c.place.Socket != "" {
		if p := c.find(); p != nil {
			return p, nil
		}
	}
	return c.start()
}

func (c *Client) hello(p *peer) error {
	var fds []int
	for _, pipe := range c.pipes {
		fds = append(fds, pipe.read)
	}
	if c.setup.Std {
		fds = append(fds, 1, 2)
	}
	return p.send(message{Setup: &c.setup}, fds...)
}

// find connects to the running logger. It returns nil when no logger answers.
func (c *Client) find() *peer {
	conn, err := net.DialTimeout("unix", c.place.Socket, readyPatience)
	if err != nil {
		return nil
	}
	p := &peer{conn: conn.(*net.UnixConn)}
	if c.hello(p) != nil || !c.ready(p) {
		p.close()
		return nil
	}
	return p
}

// ready waits until the logger has taken the setup.
func (c *Client) ready(p *peer) bool {
	_ = p.conn.SetReadDeadline(time.Now().Add(readyPatience))
	defer func() { _ = p.conn.SetReadDeadline(time.Time{}) }()
	for {
		var a answer
		if p.receive(&a) != nil {
			return false
		}
		if c.hear(&a); a.Ready != 0 {
			return true
		}
	}
}

// hear handles the warning and the pid in an answer.
func (c *Client) hear(a *answer) {
	if a.Warn != "" {
		c.warn("%s", a.Warn)
	}
	if a.Ready != 0 {
		c.pid.Store(int64(a.Ready))
	}
}

// Helpers returns the logger if it is lifeline's child. This is so when lifeline is pid 1
// of a container, to which all orphans go.
func (c *Client) Helpers() []procscan.ID {
	s, err := procscan.Lookup(int(c.pid.Load()))
	if err != nil || s.PPID != os.Getpid() {
		return nil
	}
	return []procscan.ID{s.ID}
}

// start starts a logger.
func (c *Client) start() (*peer, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot make a socket: %w", err)
	}
	unix.CloseOnExec(pair[0])
	unix.CloseOnExec(pair[1])
	defer unix.Close(pair[1])
	files := []int{pair[1]}
	if c.place.Socket != "" {
		_ = os.Remove(c.place.Socket) // no logger answers there
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: c.place.Socket, Net: "unix"})
		if err != nil {
			unix.Close(pair[0])
			return nil, fmt.Errorf("cannot make a socket for the logger that writes the output down: %w", err)
		}
		defer l.Close()
		l.SetUnlinkOnClose(false)
		f, err := l.File()
		if err != nil {
			unix.Close(pair[0])
			return nil, fmt.Errorf("cannot make a socket for the logger that writes the output down: %w", err)
		}
		defer f.Close()
		files = append(files, int(f.Fd()))
	}
	if err := process.StartDetached(argv(len(files) > 1, c.setup.Name), append(slices.Clip(c.env), envLogger+"=1"),
		files); err != nil {
		unix.Close(pair[0])
		return nil, fmt.Errorf("cannot start the logger that writes the output down: %w", err)
	}
	p, err := newPeer(pair[0])
	if err != nil {
		return nil, err
	}
	if err := c.hello(p); err != nil {
		p.close()
		return nil, fmt.Errorf("cannot start the logger that writes the output down: %w", err)
	}
	if os.Getpid() == 1 { // the logger's pid must be known: see Helpers
		c.ready(p)
	}
	return p, nil
}

// serve speaks to the logger, and starts another when the logger has gone.
func (c *Client) serve(p *peer) {
	defer close(c.over)
	bye := false
	for wait := time.Duration(0); ; {
		began := time.Now()
		bye = c.speak(p, bye)
		p.close()
		if bye {
			return
		}
		if wait = min(max(2*wait, 10*time.Millisecond), 30*time.Second); time.Since(began) > time.Minute {
			wait = 0
		}
		time.Sleep(wait)
		for {
			next, err := c.connect()
			if err == nil {
				p = next
				break
			}
			c.warn("%v", err)
			wait = min(max(2*wait, time.Second), 30*time.Second)
			time.Sleep(wait)
		}
	}
}

// speak passes messages on until the connection ends. It returns whether Bye was sent.
func (c *Client) speak(p *peer, bye bool) bool {
	gone := make(chan struct{})
	var mu sync.Mutex
	var waiting []chan struct{} // for the answers to Flush
	go func() {
		defer close(gone)
		for {
			var a answer
			if p.receive(&a) != nil {
				return
			}
			c.hear(&a)
			mu.Lock()
			if a.Done && len(waiting) > 0 {
				close(waiting[0])
				waiting = waiting[1:]
			}
			mu.Unlock()
		}
	}()
	defer func() { // a logger that has gone sends no more answers
		for _, sent := range waiting {
			close(sent)
		}
	}()
	for {
		select {
		case <-gone:
			return bye
		case o := <-c.outbox:
			if o.sent != nil {
				mu.Lock()
				waiting = append(waiting, o.sent)
				mu.Unlock()
			}
			bye = bye || o.m.Bye
			if p.send(o.m) != nil {
				<-gone
				if !bye && o.sent == nil { // send the message again, to the next logger
					c.tell(o.m)
				}
				return bye
			}
		}
	}
}
