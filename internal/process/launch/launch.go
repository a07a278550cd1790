// Package launch does what only a worker's own process can do before it becomes the
// command. It sets LISTEN_PID to its own pid, sets its limits and its user, and last of
// all checks that the lease still holds. Most workers need none of these, and are forked
// straight into the command.
//
// A program that links this package becomes the launcher when it is started with [Env]
// set. This package's init decides this; it imports little and so runs early.
package launch

import (
	"os"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Env is the variable that holds the plan. The command never sees it.
const Env = "LIFELINE_LAUNCH"

// EnvRefusal is the variable that holds the number of a pipe. The launcher writes a byte
// into it if the lease has ended, and the command has neither.
const EnvRefusal = "LIFELINE_LAUNCH_REFUSAL"

// Plan is what the launcher does.
type Plan struct {
	Path   string // the file to execute
	Listen bool   // LISTEN_PID belongs into the environment (sd_listen_fds(3))
	Until  int64  // the command is never started after this time on CLOCK_BOOTTIME, in nanoseconds; 0 for no limit
	Conditions
}

// String returns the value of Env: words, of which the last is the path.
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

// run becomes the command. On failure it returns the exit code that env(1) would give.
func run(text string) int {
	p, err := parse(text)
	if err != nil || len(os.Args) == 0 {
		return fail(125, "cannot start the command: "+Env+" is set by hand; unset it")
	}
	var env []string
	refusal := -1
	for _, kv := range os.Environ() {
		if number, ok := strings.CutPrefix(kv, EnvRefusal+"="); ok {
			if fd, err := strconv.Atoi(number); err == nil {
				refusal = fd
				unix.CloseOnExec(fd)
			}
		} else if !strings.HasPrefix(kv, Env+"=") {
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
		if refusal >= 0 {
			_, _ = unix.Write(refusal, []byte{0})
		}
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

// bootTime returns the time in nanoseconds; on Linux the clock also counts while the
// machine is suspended.
func bootTime() int64 {
	var ts unix.Timespec
	_ = unix.ClockGettime(clock, &ts)
	return ts.Nano()
}
