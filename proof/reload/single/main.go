//go:build linux

// Single is a worker that may be active only once, and its own witness: it shares no
// code with lifeline. While it is active it holds a lock of its own. It writes the log
// that package check judges:
//
//	start PID TICKS NS    the worker is active; NS is CLOCK_MONOTONIC
//	overlap PID TICKS NS  another worker has the lock
//	stop PID TICKS NS     the worker isn't active any more
//
// With -takeover it first sends "takeover" on LIFELINE_FD and waits for "ok".
package main

import (
	"bufio"
	"flag"
	"fmt"
	"net"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/pid"
)

type options struct {
	log, lock             string
	takeover, ready, deaf bool
}

func main() {
	var o options
	flag.StringVar(&o.log, "log", "", "the log; none without it")
	flag.StringVar(&o.lock, "lock", "", "the witness's own lock file")
	flag.BoolVar(&o.takeover, "takeover", false, "ask for the old generation's end, and wait for it")
	flag.BoolVar(&o.ready, "ready", false, "say READY=1")
	flag.BoolVar(&o.deaf, "deaf", false, "ignore SIGTERM")
	flag.Parse()
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "single:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	term := make(chan os.Signal, 1)
	if o.deaf {
		signal.Ignore(unix.SIGTERM)
	} else {
		signal.Notify(term, unix.SIGTERM)
	}
	w, err := newWitness(o)
	if err != nil {
		return err
	}
	if o.takeover {
		if err := takeOver(); err != nil {
			return err
		}
	}
	if err := w.activate(); err != nil {
		return err
	}
	if o.ready {
		if err := ready(); err != nil {
			return err
		}
	}
	if o.deaf {
		time.Sleep(time.Hour)
	}
	<-term
	w.say("stop", pid.Now())
	return nil
}

// witness has the lock and the log.
type witness struct {
	self      pid.ID
	log, lock int
}

// newWitness prepares everything but the lock itself.
func newWitness(o options) (*witness, error) {
	self, err := pid.Look(os.Getpid())
	if err != nil || o.log == "" {
		return &witness{self: self.ID, log: -1, lock: -1}, err
	}
	w := &witness{self: self.ID}
	if w.log, err = unix.Open(o.log, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC, 0o600); err != nil {
		return nil, fmt.Errorf("cannot open the log: %w", err)
	}
	if w.lock, err = unix.Open(o.lock, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600); err != nil {
		return nil, fmt.Errorf("cannot open the witness's lock: %w", err)
	}
	return w, nil
}

// activate takes the lock, without waiting for it.
func (w *witness) activate() error {
	if w.lock < 0 {
		return nil
	}
	err := unix.EINTR
	for err == unix.EINTR {
		err, _ = unix.Flock(w.lock, unix.LOCK_EX|unix.LOCK_NB).(unix.Errno)
	}
	began := pid.Now()
	if err == unix.EWOULDBLOCK {
		w.say("overlap", began)
	} else if err != 0 {
		return fmt.Errorf("cannot lock: %w", err)
	}
	w.say("start", began)
	return nil
}

func (w *witness) say(what string, at int64) {
	if w.log < 0 {
		return
	}
	line := fmt.Sprintf("%s %s %d\n", what, w.self, at)
	if n, err := unix.Write(w.log, []byte(line)); n != len(line) {
		panic(fmt.Sprint("cannot write the log: ", err)) // evidence lost: fail loudly
	}
}

func takeOver() error {
	fd, err := strconv.Atoi(os.Getenv("LIFELINE_FD"))
	if err != nil {
		return fmt.Errorf("LIFELINE_FD=%q is no descriptor", os.Getenv("LIFELINE_FD"))
	}
	line := os.NewFile(uintptr(fd), "LIFELINE_FD")
	if _, err := line.WriteString("takeover\n"); err != nil {
		return fmt.Errorf("cannot ask to take over: %w", err)
	}
	answer, err := bufio.NewReader(line).ReadString('\n')
	if err != nil || answer != "ok\n" {
		return fmt.Errorf("asked to take over, and got %q: %w", answer, err)
	}
	return nil
}

func ready() error {
	addr := os.Getenv("NOTIFY_SOCKET")
	if rest, ok := strings.CutPrefix(addr, "@"); ok {
		addr = "\x00" + rest
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: addr, Net: "unixgram"})
	if err != nil {
		return fmt.Errorf("cannot reach NOTIFY_SOCKET: %w", err)
	}
	defer conn.Close()
	_, err = conn.Write([]byte("READY=1"))
	return err
}
