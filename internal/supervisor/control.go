package supervisor

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"lifeline/internal/journal"
)

// control is the socket for commands to the supervisor, in the state directory, which
// only its owner may enter. A command is one line, and so is the answer: "ok …" or
// "error …".
type control struct {
	requests chan *request
	path     string
	listener *net.UnixListener
	file     os.FileInfo // the socket file that listen made
}

type request struct {
	verb string
	conn net.Conn
}

// answer sends the one answer and closes the connection. Errors are ignored, because
// the command may have ended.
func (r *request) answer(text string) {
	_ = r.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = r.conn.Write([]byte(text + "\n"))
	_ = r.conn.Close()
}

// listen opens the socket, unless the socket is open and in its place. After a failure
// only signals work. Only the holder of the name calls listen, so a socket that is
// already at the path is a dead supervisor's.
func (c *control) listen(path string, warn func(string, ...any)) {
	if path == "" || c.listener != nil && c.inPlace() {
		return
	}
	c.close()
	_ = os.Remove(path)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		warn("cannot listen for commands (restart, reload): %v", err)
		return
	}
	listener.SetUnlinkOnClose(false)
	if c.requests == nil {
		c.requests = make(chan *request)
	}
	c.path, c.listener = path, listener
	c.file, _ = os.Lstat(path)
	go c.accept(listener)
}

func (c *control) accept(listener *net.UnixListener) {
	spare := newReserve(2, forOthers) // a command gets its answer also when no other descriptor is left
	defer spare.give()
	spare.take()
	for {
		conn, err := listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil && spare.give():
			continue
		case err != nil: // too many open files, for example, which passes
			time.Sleep(100 * time.Millisecond)
			continue
		}
		spare.take()
		go func() {
			_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
			line, err := bufio.NewReaderSize(conn, 128).ReadString('\n')
			if err != nil {
				conn.Close()
				return
			}
			c.requests <- &request{verb: strings.TrimSpace(line), conn: conn}
		}()
	}
}

func (c *control) inPlace() bool {
	now, err := os.Lstat(c.path)
	return err == nil && c.file != nil && os.SameFile(now, c.file)
}

// close closes the socket, and removes its file unless another has replaced the file.
func (c *control) close() {
	if c.listener == nil {
		return
	}
	if c.inPlace() {
		_ = os.Remove(c.path)
	}
	_ = c.listener.Close()
	c.listener = nil
}

// onRequest acts on a command from the control socket.
func (l *loop) onRequest(r *request) {
	switch {
	case r.verb == "grace": // how long an end may take
		r.answer("ok " + l.o.KillAfter.String())
	case r.verb == "kill":
		r.answer("ok")
		l.killAll("lifeline terminate --now")
	case !l.goal.up():
		r.answer("error it is being ended")
	case r.verb == "pause":
		l.onPause(r)
	case l.leaseRefuses() != "":
		r.answer("error " + l.leaseRefuses())
	case r.verb == "reload":
		l.onReload(r)
	case r.verb == "self":
		l.onSelf(r)
	case r.verb == "restart" && l.refused() != "":
		r.answer("error " + l.refused())
	case r.verb == "restart":
		l.forgetRetry()
		l.waiting = append(l.waiting, r)
		if l.cur == nil {
			l.start()
			return
		}
		l.renew()
		l.cur.because(journal.Stopped, "lifeline restart")
		l.cur.stop(l.o.stopSignal())
	default:
		r.answer("error this lifeline doesn't know " + r.verb)
	}
}

// refused returns why lifeline can't end the worker; "" when it can.
func (l *loop) refused() string {
	w := l.cur
	if w == nil || !w.refuses() {
		return ""
	}
	return fmt.Sprintf("cannot end pid %d: not permitted, it runs as another user; as root: kill %d", w.id.PID,
		w.id.PID)
}

// answer answers the commands that wait for a restart.
func (l *loop) answer(format string, args ...any) {
	for _, r := range l.waiting {
		r.answer(fmt.Sprintf(format, args...))
	}
	l.waiting = nil
}
