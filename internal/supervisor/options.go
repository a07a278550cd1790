package supervisor

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/probe"
	"lifeline/internal/process"
)

// Options holds the command line's options, parsed straight into its fields. A
// duration of zero means "off" unless a field says otherwise.
type Options struct {
	StopSignal process.Signal // asks the tree to end; zero means SIGTERM
	KillAfter  time.Duration  // from the stop signal to SIGKILL
	KillMode   KillMode       // which processes get the stop signal
	MaxRuntime time.Duration  // the worker is ended after this time; Respawn starts another
	MaxMemory  int64          // bytes of the whole tree; 0 for no limit
	MinRuntime time.Duration  // a success that comes sooner counts as a failure

	Chdir string
	Env   []string // added to or replacing the inherited environment, K=V
	Umask int      // -1: inherited
	process.Conditions

	Leftovers  string // terminate, keep, follow
	EndOrphans bool   // a worker dies with its supervisor, and an orphan is ended

	Respawn         bool
	RespawnOn       When
	RespawnDelay    time.Duration
	RespawnMaxDelay time.Duration
	RespawnSteps    int
	RespawnLimit    Limit

	Recycle Recycle // with Respawn: when a worker that is well is replaced

	OnHUP HUP // what SIGHUP to lifeline means; "" passes it on under Respawn, else stops

	Notify       bool          // the worker says READY=1
	NotifyAccess Access        // which processes may speak for the worker
	ReadyBy      ReadyBy       // "" is by notify where Notify is set, else by time
	ReadyTimeout time.Duration // how long becoming ready may take
	Watchdog     time.Duration // the longest time between two heartbeats

	ReadyCheck    probe.Target  // its success makes the worker ready; "" for none
	HealthCheck   probe.Target  // its failures end the worker; "" for none
	CheckInterval time.Duration // between two checks
	CheckTimeout  time.Duration // how long a check may take
	CheckFailures int           // the number of failures in a row that ends the worker

	Listen         Sockets       // opened by lifeline, handed to the worker
	ReloadTimeout  time.Duration // how long a new generation may take to become ready
	ReloadRetries  int           // how often a failed reload is tried again
	ReadyAfter     time.Duration // without Notify, a worker that has lived for this time is ready
	ReloadOnChange string        // a file: reload when it has changed
	Settle         time.Duration // how long a new ready worker must live before the old worker is asked to end
}

// HUP says what SIGHUP to lifeline means.
type HUP string

const (
	HUPStop   HUP = "stop"
	HUPPass   HUP = "pass"
	HUPReload HUP = "reload"
)

// Access says whose messages on the notify socket count (NotifyAccess= in
// systemd.service(5)).
type Access string

const (
	AccessMain Access = "main" // the main process; the default
	AccessExec Access = "exec" // also the process that lifeline executed, when MAINPID has named another
	AccessAll  Access = "all"  // every process of the tree
)

// ReadyBy says how a worker shows that it is ready.
type ReadyBy string

const (
	ByNotify   ReadyBy = "notify"   // READY=1, or takeover on LIFELINE_FD
	ByTakeover ReadyBy = "takeover" // takeover on LIFELINE_FD
	ByCheck    ReadyBy = "check"    // ReadyCheck succeeds
	ByTime     ReadyBy = "time"     // the command was executed; in a reload, it has also lived for ReadyAfter
)

// waits reports whether the worker has to say that it is ready.
func (o *Options) waits() bool { return o.readyBy() != ByTime }

func (o *Options) readyBy() ReadyBy {
	switch {
	case o.ReadyBy != "":
		return o.ReadyBy
	case o.ReadyCheck.Text != "":
		return ByCheck
	case o.Notify:
		return ByNotify
	}
	return ByTime
}

// unready returns what was missing when a worker ended before it was ready.
func (o *Options) unready() string {
	switch o.readyBy() {
	case ByTakeover:
		return "without having said takeover (--ready-by)"
	case ByCheck:
		return "before its check succeeded (--ready-check)"
	}
	return "without having said READY=1 (--notify)"
}

// hears reports whether the worker gets a notify socket.
func (o *Options) hears() bool { return o.Notify || o.Watchdog > 0 }

// When says after which ends a worker is started again.
type When string

const (
	Always    When = "always"
	OnFailure When = "failure"
)

// KillMode says which processes get the stop signal (systemd.kill(5)).
type KillMode string

const (
	Mixed        KillMode = "mixed"         // the main process, and the rest when it has ended; the default
	ControlGroup KillMode = "control-group" // the whole tree at once
)

// Limit is a number of starts within a time, such as 5/1m.
type Limit struct {
	N      int
	Within time.Duration
}

// Set reads N/DURATION.
func (l *Limit) Set(s string) error {
	n, d, ok := strings.Cut(s, "/")
	count, err := strconv.Atoi(n)
	within, derr := time.ParseDuration(d)
	if !ok || err != nil || derr != nil || count < 1 || within <= 0 {
		return fmt.Errorf("not a limit such as 5/1m (5 starts within a minute)")
	}
	l.N, l.Within = count, within
	return nil
}

func (l *Limit) String() string {
	if l == nil || l.N == 0 {
		return ""
	}
	return fmt.Sprintf("%d/%s", l.N, l.Within)
}

func (o *Options) stopSignal() unix.Signal {
	if o.StopSignal == 0 {
		return unix.SIGTERM
	}
	return unix.Signal(o.StopSignal)
}
