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

// Options are those of the command line, parsed straight into here. Durations
// of zero mean "off" unless said otherwise.
type Options struct {
	StopSignal process.Signal // asks the tree to end; zero means SIGTERM
	KillAfter  time.Duration  // from that to SIGKILL
	KillMode   KillMode       // who gets the stop signal
	MaxRuntime time.Duration  // the worker is ended after this; with Respawn, renewed
	MaxMemory  int64          // bytes of the whole tree; 0 for no limit
	MinRuntime time.Duration  // a success that comes sooner counts as a failure

	Chdir string
	Env   []string // added to or replacing the inherited environment, K=V
	Umask int      // -1: inherited
	process.Conditions

	Leftovers  string // terminate, keep, follow
	EndOrphans bool   // a worker dies with its supervisor, and one that did not is ended

	Respawn         bool
	RespawnOn       When
	RespawnDelay    time.Duration
	RespawnMaxDelay time.Duration
	RespawnSteps    int
	RespawnLimit    Limit

	Recycle Recycle // with Respawn: when a worker that is well is replaced

	OnHUP HUP // what SIGHUP to lifeline means; "" passes it on under Respawn, else stops

	Notify       bool          // the worker says READY=1
	NotifyAccess Access        // who may speak for it
	ReadyBy      ReadyBy       // "" is by notify where Notify is set, else by time
	ReadyTimeout time.Duration // how long that may take
	Watchdog     time.Duration // the longest time between two heartbeats

	ReadyCheck    probe.Target  // makes it ready; "" for none
	HealthCheck   probe.Target  // keeps it up; "" for none
	CheckInterval time.Duration // between two looks
	CheckTimeout  time.Duration // how long one may take
	CheckFailures int           // the number in a row that ends the worker

	Listen         Sockets       // opened by us, handed to the worker
	ReloadTimeout  time.Duration // how long a new generation may take to become ready
	ReloadRetries  int           // how often a reload that has failed is tried again
	ReadyAfter     time.Duration // without Notify, a worker that has lived for this time is ready
	ReloadOnChange string        // a file: reload when it has changed
	Settle         time.Duration // how long a ready one must live before the old one is asked to end
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
	ByTime     ReadyBy = "time"     // it has been executed; in a reload, and has lived for ReadyAfter
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

// unready says what a worker lacks that has ended before it was ready.
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

// Limit is N starts within a time: 5/1m.
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
