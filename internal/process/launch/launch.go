// Package launch is what a worker's process does for itself before it becomes
// the command, where only the process itself can: LISTEN_PID has its own pid in
// it, and the end of a lease is looked at last of all. Most workers need
// neither, and are forked straight into the command.
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
}

// String is the value of Env.
func (p Plan) String() string {
	return strconv.FormatInt(p.Until, 10) + " " + strconv.FormatBool(p.Listen) + " " + p.Path
}

func parse(text string) (p Plan, ok bool) {
	f := strings.SplitN(text, " ", 3)
	if len(f) != 3 {
		return p, false
	}
	until, err := strconv.ParseInt(f[0], 10, 64)
	listen, err2 := strconv.ParseBool(f[1])
	return Plan{Path: f[2], Listen: listen, Until: until}, err == nil && err2 == nil
}

func init() {
	if text, ok := syscall.Getenv(Env); ok {
		os.Exit(run(text))
	}
}

// run becomes the command, or gives the exit code of a failure: that of env(1).
func run(text string) int {
	p, ok := parse(text)
	if !ok || len(os.Args) == 0 {
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
	if p.Until != 0 && bootTime() >= p.Until {
		return fail(125, "the lease ended before the command was started")
	}
	err := syscall.Exec(p.Path, os.Args, env)
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
