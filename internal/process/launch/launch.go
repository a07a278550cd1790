// Package launch is what a worker's process does for itself before it becomes
// the command, where only the process itself can: LISTEN_PID has its own pid in
// it, its limits and its user are its own, and the end of a lease is looked at
// last of all. Most workers need none of these, and are forked straight into the
// command.
//
// A program that links this package becomes the launcher when it is started with
// [Env] set. That is decided in this package's init, which needs little and so
// runs early.
package launch

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Env holds what to do. The command never sees it.
const Env = "LIFELINE_LAUNCH"

// Plan is what the launcher does.
type Plan struct {
	Path   string // the file to execute
	Listen bool   // LISTEN_PID belongs into the environment (sd_listen_fds(3))
	Until  int64  // the command isn't started after this time on CLOCK_BOOTTIME, in nanoseconds; 0 for no limit
	Conditions
}

// String is the value of Env: words, and the path behind the last of them.
func (p Plan) String() string {
	words := p.words()
	if p.Listen {
		words = append(words, "listen=")
	}
	if p.Until != 0 {
		words = append(words, "until="+strconv.FormatInt(p.Until, 10))
	}
	return strings.Join(append(words, "path="+p.Path), " ")
}

func parse(text string) (p Plan, err error) {
	for {
		if path, ok := strings.CutPrefix(text, "path="); ok {
			p.Path = path
			return p, nil
		}
		word, rest, _ := strings.Cut(text, " ")
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "listen":
			p.Listen = true
		case "until":
			p.Until, err = strconv.ParseInt(value, 10, 64)
		default:
			err = p.take(key, value)
		}
		if err != nil {
			return p, err
		}
		text = rest
	}
}

func init() {
	if text, ok := syscall.Getenv(Env); ok {
		os.Exit(run(text))
	}
}

// run becomes the command, or gives the exit code of a failure: that of env(1).
func run(text string) int {
	p, err := parse(text)
	if err != nil || len(os.Args) == 0 {
		return fail(125, "cannot start the command: "+Env+" is set by hand; unset it")
	}
	var env []string
	for _, kv := range os.Environ() {
		if !strings.HasPrefix(kv, Env+"=") {
			env = append(env, kv)
		}
	}
	if p.Listen {
		env = append(env, "LISTEN_PID="+strconv.Itoa(os.Getpid()))
	}
	if err := p.apply(); err != nil {
		return fail(125, err.Error())
	}
	if p.Until != 0 && bootTime() >= p.Until {
		return fail(125, "the lease ended before the command was started")
	}
	err = syscall.Exec(p.Path, os.Args, env)
	return fail(126, "cannot execute "+p.Path+": "+err.Error())
}

func fail(code int, text string) int {
	prefix := "lifeline: "
	if name := os.Getenv("LIFELINE_NAME"); name != "" {
		prefix += name + ": "
	}
	_, _ = os.Stderr.WriteString(prefix + text + "\n")
	return code
}

// bootTime is the time on the clock that counts while the machine is suspended,
// in nanoseconds.
func bootTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(clock, &ts)
	return ts.Nano()
}
