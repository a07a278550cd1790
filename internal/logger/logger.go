package logger

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/journal"
	"lifeline/internal/logger/output"
	"lifeline/internal/process"
)

// processName is a logger's name in the process table. envLogger makes this program a
// logger, because argv[0] isn't always what the caller gave. The variable keeps the name
// that 0.1.0 sets: where the system has no /proc/self/exe, a supervisor of 0.1.0 starts
// the installed lifeline as its logger.
const (
	processName = "lifeline-logger"
	envLogger   = "LIFELINE_CLERK"
)

// Is reports whether this process is a logger, or starts one: see [Main].
func Is() bool { return process.IsDetached() || len(os.Args) == 3 && os.Getenv(envLogger) != "" }

// Main runs the logger and returns its exit code. Descriptor 3 is a socket to the
// supervisor that started the logger; descriptor 4, if open, is a socket to listen on.
func Main() int {
	if process.IsDetached() {
		return process.RunDetached()
	}
	_ = os.Unsetenv(envLogger) // hooks must not inherit it
	// Signals are caught, because hooks would inherit ignored signals.
	deaf := make(chan os.Signal, 1)
	signal.Notify(deaf, unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGPIPE, unix.SIGXFSZ,
		unix.SIGUSR1, unix.SIGUSR2, unix.SIGALRM, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU)
	_ = os.Chdir("/") // all paths are absolute, and no directory is kept busy
	unix.CloseOnExec(3)
	c := &logger{events: make(chan func()), peers: map[*peer]*farewell{}}
	c.hooks.init(c, maxHooks)
	c.pings.init(c, maxPings)
	c.shows.init(c, 0)
	first, err := newPeer(3)
	if err != nil {
		return 125 // started by hand: only lifeline itself starts a logger
	}
	c.welcome(first)
	if os.Args[1] == "1" {
		unix.CloseOnExec(4)
		f := os.NewFile(4, "logger")
		if l, err := net.FileListener(f); err == nil {
			c.listener = l
			go c.accept(l)
		}
		f.Close()
	}
	c.run()
	return 0
}

// logger is one loop, as the supervisor is; jobs that may block run beside the loop.
type logger struct {
	events   chan func()
	listener net.Listener
	peers    map[*peer]*farewell // a nil farewell: the peer hasn't said bye
	setup    Setup
	log      *output.LogFile
	logged   output.Log // what log was opened for
	syslog   *output.Syslog
	streams  []*stream
	reading  int // streams that aren't at their end
	tail     *tail
	std      [2]*os.File // lifeline's own output, or nil
	hooks    hooks
	pings    pings
	shows    queue

	mu     sync.Mutex // guards untold
	untold []string   // lines for the supervisor
}

// post has the loop run e.
func (c *logger) post(e func()) { c.events <- e }

// run handles events until no work is left.
func (c *logger) run() {
	for {
		(<-c.events)()
		c.tell()
		c.dismiss()
		if len(c.peers) == 0 && c.reading == 0 {
			c.showRest() // output of a run whose end was never reported
			if !c.busy() {
				if c.log != nil {
					c.log.Close()
				}
				return
			}
		}
	}
}

func (c *logger) busy() bool { return c.hooks.busy() || c.pings.busy() || c.shows.busy() }

// farewell has the numbers of jobs for which a supervisor waits after its bye. Jobs that
// the name's next supervisor adds don't count.
type farewell struct{ hooks, pings, shows int }

// dismiss closes the connection of each supervisor that has said bye and whose jobs are
// done.
func (c *logger) dismiss() {
	for p, bye := range c.peers {
		if bye != nil && c.hooks.done >= bye.hooks && c.pings.done >= bye.pings && c.shows.done >= bye.shows {
			delete(c.peers, p)
			p.close()
			if len(c.peers) == 0 {
				c.letGo()
			}
		}
	}
}

// letGo closes lifeline's own output after the last client, because cron waits for each
// process that has its pipe open. The output stays open when the worker's leftovers may
// still print to it.
func (c *logger) letGo() {
	if c.reading > 0 && !c.setup.keeps() && !c.setup.Quiet {
		return
	}
	for _, s := range c.streams {
		s.mu.Lock()
		s.sink.pass, s.sink.spool = nil, nil // no end of a run will decide about the spool
		s.mu.Unlock()
	}
	c.dropStd()
}

func (c *logger) dropStd() {
	for i, f := range c.std {
		if f != nil {
			_ = f.Close()
		}
		c.std[i] = nil
	}
}

func (c *logger) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil { // too many open files, for example, which passes
			time.Sleep(100 * time.Millisecond)
			continue
		}
		if u, ok := conn.(*net.UnixConn); ok {
			c.post(func() { c.welcome(&peer{conn: u}) })
		}
	}
}

// welcome starts to read a supervisor's messages.
func (c *logger) welcome(p *peer) {
	c.peers[p] = nil
	go func() {
		for {
			var m message
			if err := p.receive(&m); err != nil {
				c.post(func() { c.leave(p) })
				return
			}
			c.post(func() { c.on(p, &m) })
		}
	}()
}

// leave forgets a client that has gone without bye, perhaps killed.
func (c *logger) leave(p *peer) {
	if _, ok := c.peers[p]; ok {
		delete(c.peers, p)
		p.close()
	}
}

// warn sends a line to the connected supervisors, or to the next. Any goroutine may call
// it, the loop's included.
func (c *logger) warn(text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.untold) == maxUntold {
		c.untold = c.untold[1:]
	}
	c.untold = append(c.untold, text)
	go c.post(c.tell)
}

const maxUntold = 20

// tell sends the waiting warnings.
func (c *logger) tell() {
	if len(c.peers) == 0 {
		return
	}
	c.mu.Lock()
	texts := c.untold
	c.untold = nil
	c.mu.Unlock()
	for _, text := range texts {
		for p := range c.peers {
			c.answer(p, answer{Warn: text})
		}
	}
}

// answer sends a, for up to a second: a supervisor that reads takes it at once.
func (c *logger) answer(p *peer, a answer) {
	_ = p.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_ = p.send(a)
}

func (c *logger) on(p *peer, m *message) {
	switch {
	case m.Setup != nil:
		if err := c.take(p, m.Setup); err != nil {
			c.answer(p, answer{Warn: fmt.Sprintf("the output can't be taken: %v", err)})
			return
		}
		c.answer(p, answer{Ready: os.Getpid()})
	case m.Started != nil:
		c.hooks.start(c.setup.OnStart, "start", *m.Started)
		c.pings.start(*m.Started)
	case m.Ended != nil:
		c.ended(*m.Ended)
	case m.Flush:
		c.drain()
		c.answer(p, answer{Done: true})
	case m.Bye:
		c.drain()
		bye := farewell{hooks: c.hooks.all(), shows: c.shows.all()}
		if m.Pings {
			bye.pings = c.pings.all()
		}
		c.peers[p] = &bye
	}
}

// take applies a setup, the first or a later one: an adopting supervisor has other
// descriptors and perhaps other options.
func (c *logger) take(p *peer, s *Setup) error {
	if s.Streams < 0 || s.Streams > 2 {
		return fmt.Errorf("%d streams", s.Streams)
	}
	n := s.Streams
	if s.Std {
		n += 2
	}
	fds, ok := p.take(n)
	if !ok {
		return fmt.Errorf("descriptors are missing")
	}
	c.setup = *s
	if c.std = [2]*os.File{}; s.Std { // the old files may still be in use; the garbage collector closes them
		for i, fd := range fds[s.Streams:] {
			c.std[i] = os.NewFile(uintptr(fd), "output")
		}
	}
	if s.Log == nil || c.log == nil || *s.Log != c.logged {
		if c.log != nil {
			old := c.log
			defer old.Close() // after the streams have got the new log
			c.log = nil
		}
		if s.Log != nil {
			c.log, c.logged = output.OpenLog(*s.Log, c.warn), *s.Log
		}
	} else if err := c.log.Trouble(); err != nil {
		c.warn(fmt.Sprintf("cannot write the log %s: %v; what the command prints is lost until that is mended",
			s.Log.Path, err))
	}
	if c.syslog != nil {
		c.syslog.Close()
		c.syslog = nil
	}
	if s.Syslog != "" {
		c.syslog = output.OpenSyslog(s.Syslog, s.Name, c.warn)
	}
	if c.tail = nil; s.PingURL != "" || s.Failed != "" {
		c.tail = new(tail)
	}
	for i, fd := range fds[:s.Streams] {
		if err := c.attach(i, fd); err != nil {
			return err
		}
	}
	return nil
}

// attach begins to read from fd, unless its pipe is already being read.
func (c *logger) attach(i, fd int) error {
	var s *stream
	for _, o := range c.streams {
		if o.same(fd) {
			s = o
		}
	}
	if s == nil || s.isEnded() {
		fresh, err := newStream(fd)
		if err != nil {
			return err
		}
		if s != nil {
			fresh.sink = s.sink
			c.forget(s)
		}
		s = fresh
		c.direct(s, i)
		c.streams = append(c.streams, s)
		c.reading++
		go func() {
			s.read()
			c.post(func() { c.reading-- })
		}()
		return nil
	}
	_ = unix.Close(fd)
	c.direct(s, i)
	return nil
}

func (s *stream) isEnded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

func (c *logger) forget(s *stream) {
	for i, o := range c.streams {
		if o == s {
			c.streams = append(c.streams[:i:i], c.streams[i+1:]...)
			_ = s.f.Close()
			return
		}
	}
}

// direct sets where a stream goes.
func (c *logger) direct(s *stream, i int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.to = i
	k := &s.sink
	k.log, k.tail, k.pass = c.log, c.tail, nil
	k.direct(c.syslog, i)
	if !c.setup.Stamps {
		k.stamp = nil
	} else if k.stamp == nil {
		k.stamp = new(output.Stamper)
	}
	if !c.setup.Quiet {
		k.spool = nil
	} else if k.spool == nil {
		k.spool = new(output.Spool)
	}
	if !c.setup.Quiet && !c.setup.keeps() {
		k.pass = c.std[i]
	}
}

// drain reads what has been printed up to now.
func (c *logger) drain() {
	for _, s := range c.streams {
		s.drain()
	}
}

// ended handles the end of a run, whose output is all in the pipes.
func (c *logger) ended(r journal.Run) {
	c.drain()
	for _, s := range c.streams {
		spool := s.cut()
		switch {
		case spool == nil:
		case r.Good() || r.Outcome == journal.Stopped || spool.Empty():
			spool.Drop()
		default:
			c.show(spool, s.to)
		}
	}
	var said []byte
	if c.tail != nil {
		c.tail.mu.Lock()
		said = c.tail.Take()
		c.tail.mu.Unlock()
	}
	switch {
	case r.Good():
		c.hooks.start(c.setup.OnSuccess, "success", r)
	case r.Bad():
		if c.setup.Failed != "" && c.setup.reads() {
			// An error is ignored: the text is then missing from the report.
			_ = journal.WriteOutput(c.setup.Failed,
				journal.Output{Generation: r.Generation, End: r.End, Text: string(said)})
		}
		c.hooks.start(c.setup.OnFailure, "failure", r)
	}
	c.pings.end(r, said)
}

// show prints a spool where its stream would have gone.
func (c *logger) show(spool *output.Spool, i int) {
	to := c.std[i]
	c.shows.add(func() {
		if to == nil {
			spool.Drop()
			return
		}
		_ = spool.Show(to) // fails when its reader has gone
	})
}

// showRest prints the spools of a run that ended without its supervisor, because its
// success is unknown.
func (c *logger) showRest() {
	for _, s := range c.streams {
		if spool := s.cut(); spool != nil && !spool.Empty() {
			c.show(spool, s.to)
		}
	}
}

// argv returns a logger's arguments: whether it has a socket to listen on, and the name
// for the process table.
func argv(listens bool, name string) []string {
	n := 0
	if listens {
		n = 1
	}
	return []string{processName, strconv.Itoa(n), name}
}
