package supervisor

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/guard"
	"lifeline/internal/probe"
	"lifeline/internal/process"
	"lifeline/internal/sdnotify"
	"lifeline/procscan"
)

// Hold is what the loop needs of the guard: the name that the worker runs under.
// `lifeline run` uses [Unguarded]. A generation is the id of one worker.
type Hold interface {
	Environ(generation string) []string // the marker
	RunFile() int                       // descriptor for the worker to inherit, 0 for none
	CgroupPrefix() string
	// Launch calls fork while no other instance can start, and notes its worker. The
	// error is a *guard.HeldError when another instance has the name, and a
	// *guard.OrphanError when an orphan lives.
	Launch(ctx context.Context, generation string, fork func() (procscan.ID, error)) (procscan.ID, error)
	// LaunchBeside is Launch for a second generation. It notes no worker, and does
	// not count old and its processes as another instance.
	LaunchBeside(ctx context.Context, old procscan.ID, fork func() (procscan.ID, error)) (procscan.ID, error)
	SetWorker(generation string, id procscan.ID) // another process counts now
	Ended()                                      // the worker has ended
	Inherited() guard.Inherited                  // what an earlier supervisor left alive
	Paused() bool
	Control() (path string)    // where commands come in, "" for nowhere
	Restored() <-chan struct{} // files of the name were put back; nil for never
}

// Job is what to supervise.
type Job struct {
	Options *Options
	Hold    Hold
	Argv    []string
	Warn    func(format string, args ...any) // one line for a person
	// Events are called with what happens; nil functions are left out.
	Events Events
	// Stdio holds the worker's descriptors 0, 1 and 2; the zero value means
	// lifeline's own.
	Stdio [3]int
	// Helpers returns lifeline's children that belong to no worker; nil for none.
	Helpers func() []procscan.ID
	// Above is the supervisor of lifeline itself, by sd_notify; zero for none.
	Above sdnotify.Client
	// Lease is the cluster's; nil means a lease that always holds.
	Lease Lease
	// Become replaces this process by a newer lifeline and hands it the state. It
	// returns only when the replacement fails. It is nil in a cluster.
	Become func(state []byte) error
	// Taken is the state that an older lifeline has handed to this process.
	Taken []byte
}

// EndError says how the last worker failed.
type EndError struct {
	Code int
	Text string // for a person; empty where the worker's own word is enough
}

func (e *EndError) Error() string { return e.Text }

// world holds everything outside the loop that a test replaces.
type world struct {
	thread   func(func()) // runs a function on the thread that forks all workers
	start    func(process.Spec) (procscan.ID, error)
	stop     func(t process.Tree, sig unix.Signal) (asked []procscan.ID)
	stopMain func(procscan.ID, unix.Signal) // asks the main process alone
	// permitted reports whether lifeline may signal the process (kill(2)).
	permitted func(procscan.ID) bool
	kill      func(t process.Tree) error
	members   func(t process.Tree) []procscan.ID
	alone     func(but []procscan.ID) bool
	reap      func() []process.Exit
	send      func(procscan.ID, unix.Signal)
	wait      func(procscan.ID) // waits for the end of a process that isn't lifeline's child
	lookup    func(pid int) (procscan.Stat, error)
	hear      func(address string, member func(pid int) bool) (receiver, error)
	line      func(*worker) (theirs int, err error) // makes LIFELINE_FD
	nap       func(time.Duration)                   // nanosleep(2)
	// foreground reports whether what is typed on the terminal reaches this process
	// and the worker, which share a process group.
	foreground  func() bool
	sharedGroup bool
	hungUp      func() bool            // the terminal that this process was started on has gone
	cgroup      func() *process.Cgroup // makes a cgroup; nil where that fails

	ask       func(context.Context, probe.Target) error // runs a check by connection
	look      func(process.Spec) (procscan.ID, error)   // starts the command of a check
	memory    func(process.Tree) int64
	killGroup func(pid int) // kills a process group
}

// receiver is the worker's notify socket.
type receiver interface {
	Addr() string
	C() <-chan struct{}
	Drain() []sdnotify.Message
	Warnings() []string
	Close() error
}

// killPatience is how long lifeline repeats SIGKILL to a tree before it says that
// the tree can't be ended.
const killPatience = 30 * time.Second

func theWorld(job Job, thread func(func())) world {
	start := func(spec process.Spec) (procscan.ID, error) {
		spec.Thread = thread
		return process.Start(spec)
	}
	return world{
		thread: thread,
		start:  start, look: start,
		memory:    func(t process.Tree) int64 { return t.Memory() },
		killGroup: func(pid int) { _ = unix.Kill(-pid, unix.SIGKILL) },
		ask:       func(ctx context.Context, t probe.Target) error { return t.Ask(ctx) },
		stop:      func(t process.Tree, sig unix.Signal) []procscan.ID { return t.Stop(sig) },
		stopMain: func(id procscan.ID, sig unix.Signal) {
			_ = process.Send(id, sig)
			_ = process.Send(id, unix.SIGCONT)
		},
		permitted: func(id procscan.ID) bool { return !errors.Is(process.Send(id, 0), unix.EPERM) },
		kill: func(t process.Tree) error {
			ctx, cancel := context.WithTimeout(context.Background(), killPatience)
			defer cancel()
			return t.Kill(ctx)
		},
		members: func(t process.Tree) []procscan.ID { return t.Members() },
		alone:   process.Alone,
		reap:    process.Reap,
		send:    func(id procscan.ID, sig unix.Signal) { _ = process.Send(id, sig) },
		wait: func(id procscan.ID) {
			for process.WaitGone(context.Background(), id, time.Hour) != nil {
			}
		},
		lookup: procscan.Lookup,
		hear: func(address string, member func(pid int) bool) (receiver, error) {
			return sdnotify.Listen(address, sdnotify.Options{Member: member})
		},
		line:   (*worker).openLine,
		nap:    nap,
		cgroup: func() *process.Cgroup { return newCgroup(job.Hold.CgroupPrefix()) },
	}
}

// Run supervises the job until its worker has ended for good, ctx ends or a signal
// asks for the end. It returns nil when the worker ended well and an *[EndError]
// when it failed. Any other error means that nothing was started.
func Run(ctx context.Context, job Job) error {
	_ = process.Adopting() // where this fails, the marker still finds orphaned processes
	procscan.Reserve()     // what lives must be seen also when no descriptor is left
	chld := make(chan os.Signal, 1)
	signal.Notify(chld, unix.SIGCHLD)
	signals := make(chan os.Signal, 16)
	terminal := process.OpenTerminal()
	first := []unix.Signal{unix.SIGTERM, unix.SIGINT, unix.SIGHUP, unix.SIGQUIT, unix.SIGUSR1,
		unix.SIGUSR2, unix.SIGPIPE,
		unix.SIGXFSZ}
	for _, sig := range first {
		catch(signals, sig, terminal != nil)
	}
	// Workers are forked on this main thread. Until execve a worker has this thread's
	// name, which announces the start. Its death signal comes when this thread ends
	// (prctl(2)). The thread does nothing else, because a thread that waits for a disk
	// dies only after the disk has answered.
	runtime.LockOSThread()
	forks := make(chan func())
	l := newLoop(job, theWorld(job, func(f func()) {
		done := make(chan struct{})
		forks <- func() { f(); close(done) }
		<-done
	}))
	// The command shares lifeline's process group on a terminal: in a background
	// group it would be stopped when it reads (termios(3)).
	l.sys.foreground, l.sys.sharedGroup, l.sys.hungUp = terminal.Foreground, terminal != nil, terminal.HungUp
	l.reserves = true
	defer l.sockets.close()
	defer l.groups.remove()
	defer l.control.close()
	go func() {
		for sig := unix.Signal(1); sig <= lastSignal; sig++ {
			if sig == firstRealTime {
				time.Sleep(realTimeDelay)
			}
			if !slices.Contains(first, sig) {
				catch(signals, sig, terminal != nil)
			}
		}
	}()
	over := make(chan error, 1)
	go func() { over <- l.run(ctx, signals, chld) }()
	for {
		select {
		case fork := <-forks:
			fork()
		case err := <-over:
			return err
		}
	}
}
