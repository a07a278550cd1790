package supervise

import (
	"bufio"
	"net"
	"os"
	"strings"
	"time"
)

// control is where commands for the supervisor come in: a socket in the state
// directory, which nobody else may enter. A command is one line, the answer
// one line too: "ok …" or "error …".
type control struct {
	requests chan *request
}

type request struct {
	verb string
	conn net.Conn
}

// answer is given once; whoever asked may be gone.
func (r *request) answer(text string) {
	_ = r.conn.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = r.conn.Write([]byte(text + "\n"))
	_ = r.conn.Close()
}

// listen opens the socket; without one, commands fail and signals still work.
// The function it gives closes it.
func (c *control) listen(path string, warn func(string, ...any)) (stop func()) {
	if path == "" {
		return func() {}
	}
	c.requests = make(chan *request)
	_ = os.Remove(path) // of a supervisor that was killed: the name is ours now
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		warn("cannot listen for commands (restart, reload): %v", err)
		return func() {}
	}
	quit := make(chan struct{})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
				line, err := bufio.NewReaderSize(conn, 128).ReadString('\n')
				if err != nil {
					conn.Close()
					return
				}
				select {
				case c.requests <- &request{verb: strings.TrimSpace(line), conn: conn}:
				case <-quit:
					conn.Close()
				}
			}()
		}
	}()
	return func() {
		close(quit)
		listener.Close()
	}
}
