//go:build linux

// Witness is the worker of the proofs, and an independent witness: it shares no
// code with lifeline. While it runs it holds a lock of its own. If another witness
// has that lock, two instances run, and the witness says so. What it sees goes
// into a log, a line and a write each:
//
//	start PID TICKS NS HOW  the witness runs; NS is CLOCK_MONOTONIC, HOW its bad habits
//	overlap PID TICKS NS    another witness has the lock
//	stop PID TICKS NS       the witness ends by itself; a killed witness can't say so
//	pause PID TICKS NS NS   the witness runs again, and was stopped since the second time (-beats)
//
// Its flags make it behave badly in the ways that real programs do.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/proof/pid"
)

type options struct {
	log, lock  string
	beats      string
	length     time.Duration
	ignoreTerm bool
	closeFrom  bool
	wipe       bool
	drop       bool
	background bool
	daemon     string
	children   int
	child      string
	takeover   bool
}

func main() {
	var o options
	flag.StringVar(&o.log, "log", "", "the log")
	flag.StringVar(&o.lock, "lock", "", "the witness's own lock file")
	flag.StringVar(&o.beats, "beats", "", "a directory in which to say every millisecond that it runs")
	flag.DurationVar(&o.length, "for", time.Hour, "how long to run")
	flag.BoolVar(&o.ignoreTerm, "ignore-term", false, "ignore SIGTERM, children included")
	flag.BoolVar(&o.closeFrom, "closefrom", false, "close every inherited descriptor from 3 up")
	flag.BoolVar(&o.wipe, "wipe", false, "overwrite arguments and environment, as a process title does")
	flag.BoolVar(&o.drop, "drop", false, "become another user, as a server does that has opened its port")
	flag.BoolVar(&o.background, "background", false, "go into the background: a grandchild in a session of its own "+
		"is the witness")
	flag.StringVar(&o.daemon, "daemon", "", "leave a grandchild in a session of its own behind: keep or close its "+
		"descriptors")
	flag.IntVar(&o.children, "children", 0, "how many children to fork")
	flag.BoolVar(&o.takeover, "takeover", false, "begin after the supervisor has said by LIFELINE_FD that the "+
		"worker before is gone")
	flag.StringVar(&o.child, "child", "", "internal: be one of the children")
	flag.Parse()
	// The flags point into the memory that wipe overwrites.
	o.log, o.lock, o.daemon = strings.Clone(o.log), strings.Clone(o.lock), strings.Clone(o.daemon)
	o.beats = strings.Clone(o.beats)
	if err := run(&o); err != nil {
		fmt.Fprintln(os.Stderr, "witness:", err)
		os.Exit(1)
	}
}

func run(o *options) error {
	// Before the runtime opens descriptors of its own, for its timers.
	if o.takeover { // closefrom must spare this descriptor
		if fd, err := strconv.Atoi(os.Getenv("LIFELINE_FD")); err == nil {
			line, _ = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
			if line != 3 && o.closeFrom {
				_ = unix.Dup3(line, 3, unix.O_CLOEXEC)
				line = 3
			}
		}
	}
	// The limit on file sizes isn't meant for the witness's own files.
	_ = unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
	if o.background {
		_, err := o.again()
		return err
	}
	if o.closeFrom || o.child == "close" {
		from := uint(3)
		if line == 3 {
			from = 4
		}
		if err := unix.CloseRange(from, ^uint(0), 0); err != nil {
			return fmt.Errorf("cannot close the inherited descriptors: %w", err)
		}
	}
	if o.ignoreTerm {
		signal.Ignore(unix.SIGTERM)
	}
	switch o.child {
	case "": // the witness itself
	case "leave": // the middle process of a double fork
		return o.fork(o.daemon)
	default:
		time.Sleep(o.length)
		return nil
	}
	how := o.how() // before the environment is wiped
	// Forks come before the lock, because between clone and exec a child has every
	// descriptor. A lock that outlives its witness would be a false alarm.
	if err := o.family(); err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	if !o.ignoreTerm {
		signal.Notify(stop, unix.SIGTERM)
	}
	if o.wipe {
		if err := wipe(); err != nil {
			return fmt.Errorf("cannot wipe the environment: %w", err)
		}
	}
	self, err := pid.Look(os.Getpid())
	if err != nil {
		return err
	}
	log, err := unix.Open(o.log, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the log: %w", err)
	}
	say := func(what string, at int64, how ...string) {
		line := strings.Join(append([]string{what, self.String(), fmt.Sprint(at)}, how...), " ") + "\n"
		if n, err := unix.Write(log, []byte(line)); n != len(line) {
			panic(fmt.Sprint("cannot write the log: ", err)) // evidence lost: fail loudly
		}
	}
	if o.takeover && !granted() {
		return nil
	}
	lock, err := unix.Open(o.lock, unix.O_RDWR|unix.O_CREAT|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("cannot open the witness's lock: %w", err)
	}
	if o.drop {
		if err := syscall.Setgid(nobody); err != nil {
			return fmt.Errorf("cannot become another user: %w", err)
		}
		if err := syscall.Setuid(nobody); err != nil {
			return fmt.Errorf("cannot become another user: %w", err)
		}
	}
	taken := take(lock)
	began := pid.Now()
	if !taken {
		say("overlap", began)
	}
	say("start", began, how...)
	if o.beats != "" {
		if err := beat(o.beats, self.ID, say); err != nil {
			return err
		}
	}
	select {
	case <-stop:
	case <-time.After(o.length):
	}
	say("stop", pid.Now())
	return nil
}

const nobody = 65534 // Debian's uid and gid of that name

// line is the descriptor of LIFELINE_FD, 0 if that isn't set.
var line int

// granted sends "takeover" and waits for "ok". It returns false when the supervisor is
// gone.
func granted() bool {
	if line == 0 {
		return true
	}
	if _, err := unix.Write(line, []byte("takeover\n")); err != nil {
		return false
	}
	var said []byte
	buf := make([]byte, 64)
	for !strings.Contains(string(said), "ok\n") {
		n, err := unix.Read(line, buf)
		if err == unix.EINTR {
			continue
		}
		if err == unix.EAGAIN {
			_, _ = unix.Poll([]unix.PollFd{{Fd: int32(line), Events: unix.POLLIN}}, -1)
			continue
		}
		if err != nil || n == 0 {
			return false
		}
		said = append(said, buf[:n]...)
	}
	return true
}

// how names the bad habits, the node, the fence and the tick, which explain an overlap.
func (o *options) how() []string {
	var list []string
	for name, on := range map[string]bool{"closefrom": o.closeFrom, "wipe": o.wipe, "drop": o.drop,
		"ignore-term": o.ignoreTerm, "daemon=" + o.daemon: o.daemon != ""} {
		if on {
			list = append(list, name)
		}
	}
	slices.Sort(list)
	for name, value := range map[string]string{"node": os.Getenv("PROOF_NODE"), "fence": os.Getenv("LIFELINE_FENCE"),
		"tick": os.Getenv("LIFELINE_TICK")} {
		if value != "" {
			list = append(list, name+"="+strings.Clone(value))
		}
	}
	return list
}

// take tries to lock, without waiting.
func take(fd int) bool {
	for {
		err := unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB)
		if err == unix.EINTR {
			continue
		}
		return err == nil
	}
}
