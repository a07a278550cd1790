package supervisor

import (
	"context"
	"fmt"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/guard"
	"lifeline/internal/probe"
	"lifeline/internal/process"
	"lifeline/internal/sdnotify"
	"lifeline/procscan"
	"lifeline/proof/await"
)

// fake is the world of a test: its processes end when the test says so, in the time of
// a synctest bubble.
type fake struct {
	t       *testing.T
	l       *loop
	signals chan os.Signal
	chld    chan os.Signal
	cancel  context.CancelFunc
	result  chan error

	pids    int
	alive   map[int]bool   // the workers and their descendants
	ended   []process.Exit // zombies
	startOK error          // what the next start gives
	guarded bool           // Launch is running
	elected error          // what the election gives
	typed   bool           // signals come from the terminal
	deaf    map[int]bool   // processes that ignore a stop signal
	log     []string       // what the loop did
	warned  []string
	inbox   *fakeReceiver
	paused  bool
	gone    chan procscan.ID
	inherit guard.Inherited
	lease   *fakeLease // nil for none

	memory int64                       // what the tree uses
	asked  func(context.Context) error // what a check finds
}

type fakeReceiver struct {
	c     chan struct{}
	queue []sdnotify.Message
}

func (r *fakeReceiver) Addr() string       { return "@fake" }
func (r *fakeReceiver) C() <-chan struct{} { return r.c }
func (r *fakeReceiver) Warnings() []string { return nil }
func (r *fakeReceiver) Close() error       { return nil }
func (r *fakeReceiver) Drain() []sdnotify.Message {
	q := r.queue
	r.queue = nil
	return q
}

// The methods of Hold.

func (f *fake) Environ(string) []string       { return nil }
func (f *fake) RunFile() int                  { return 0 }
func (f *fake) CgroupPrefix() string          { return "" }
func (f *fake) SetWorker(string, procscan.ID) {}
func (f *fake) Ended()                        {}
func (f *fake) Inherited() guard.Inherited    { return f.inherit }
func (f *fake) Paused() bool                  { return f.paused }
func (f *fake) Control() string               { return "" }
func (f *fake) Restored() <-chan struct{}     { return nil }
func (f *fake) LaunchBeside(_ context.Context, _ procscan.ID, fork func() (procscan.ID, error)) (procscan.ID, error) {
	if f.elected != nil {
		return procscan.ID{}, f.elected
	}
	return fork()
}
func (f *fake) Launch(_ context.Context, _ string, fork func() (procscan.ID, error)) (procscan.ID, error) {
	if f.elected != nil {
		return procscan.ID{}, f.elected
	}
	f.guarded = true
	defer func() { f.guarded = false }()
	return fork()
}

func (f *fake) id(pid int) procscan.ID { return procscan.ID{PID: pid, Start: uint64(pid)} }

func (f *fake) did(format string, args ...any) { f.log = append(f.log, fmt.Sprintf(format, args...)) }

func (f *fake) world() world {
	return world{
		thread: func(f func()) { f() },
		start: func(s process.Spec) (procscan.ID, error) {
			if f.guarded {
				f.did("start")
			} else {
				f.did("start beside")
			}
			if f.startOK != nil {
				return procscan.ID{}, f.startOK
			}
			f.pids++
			pid := 1000 + f.pids
			f.alive[pid] = true
			return f.id(pid), nil
		},
		stop: func(t process.Tree, sig unix.Signal) (asked []procscan.ID) {
			f.did("%s", process.SignalName(sig))
			for pid := range f.alive {
				asked = append(asked, f.id(pid))
				if !f.deaf[pid] {
					f.end(pid, unix.WaitStatus(sig))
				}
			}
			return asked
		},
		permitted: func(procscan.ID) bool { return true },
		stopMain: func(id procscan.ID, sig unix.Signal) {
			f.did("%s", process.SignalName(sig))
			if f.alive[id.PID] && !f.deaf[id.PID] {
				f.end(id.PID, unix.WaitStatus(sig))
			}
		},
		kill: func(t process.Tree) error {
			f.did("kill")
			for pid := range f.alive {
				f.end(pid, unix.WaitStatus(unix.SIGKILL))
			}
			return nil
		},
		members: func(t process.Tree) []procscan.ID {
			var ids []procscan.ID
			for pid := range f.alive {
				ids = append(ids, f.id(pid))
			}
			return ids
		},
		alone:  func([]procscan.ID) bool { return len(f.alive) == 0 && len(f.ended) == 0 },
		reap:   func() []process.Exit { e := f.ended; f.ended = nil; return e },
		send:   func(id procscan.ID, sig unix.Signal) { f.did("send %s", process.SignalName(sig)) },
		wait:   func(id procscan.ID) { <-f.gone },
		lookup: func(pid int) (procscan.Stat, error) { return procscan.Stat{}, os.ErrNotExist },
		hear:   func(string, func(int) bool) (receiver, error) { return f.inbox, nil },
		line:   func(*worker) (int, error) { return 0, nil },
		nap:    time.Sleep,

		ask: func(ctx context.Context, _ probe.Target) error { return f.asked(ctx) },
		look: func(process.Spec) (procscan.ID, error) {
			f.pids++
			f.did("look")
			return f.id(1000 + f.pids), nil
		},
		memory:    func(process.Tree) int64 { return f.memory },
		killGroup: func(pid int) { f.did("kill group %d", pid) },

		foreground: func() bool { return f.typed },
		hungUp:     func() bool { return false },
		cgroup:     func() *process.Cgroup { return nil },
	}
}

// end ends a process with a wait status.
func (f *fake) end(pid int, status unix.WaitStatus) {
	delete(f.alive, pid)
	f.ended = append(f.ended, process.Exit{PID: pid, Status: status})
	select {
	case f.chld <- unix.SIGCHLD:
	default:
	}
}

func (f *fake) exit(code int) { f.end(1000+f.pids, unix.WaitStatus(code<<8)) }

func (f *fake) say(m sdnotify.Message) {
	m.Received = time.Now()
	f.inbox.queue = append(f.inbox.queue, m)
	select {
	case f.inbox.c <- struct{}{}:
	default:
	}
}

// sleep lets time pass for the loop. An event comes first, so the race detector sees
// that the test's writes precede the loop's reads.
func (f *fake) sleep(d time.Duration) {
	f.handOver()
	await.Pass(d)
	f.handOver()
}

func (f *fake) handOver() {
	synctest.Wait()
	f.l.post(func() {})
	synctest.Wait()
}

// state returns the loop's state, read while the loop waits.
func (f *fake) state() string {
	f.sleep(0)
	switch {
	case f.l.goal == over:
		return "finished"
	case f.l.cur == nil:
		return "down"
	}
	return f.l.cur.state.String()
}

func (f *fake) took() []string {
	synctest.Wait()
	log := f.log
	f.log = nil
	f.handOver()
	return log
}

// supervised runs a loop in a bubble and calls test with its fake world.
func supervised(t *testing.T, o Options, setup func(*fake), test func(*fake)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f := &fake{t: t, signals: make(chan os.Signal, 4), chld: make(chan os.Signal, 1), result: make(chan error, 1),
			alive: map[int]bool{}, deaf: map[int]bool{}, gone: make(chan procscan.ID),
			inbox: &fakeReceiver{c: make(chan struct{}, 1)}}
		if setup != nil {
			setup(f)
		}
		job := Job{Options: &o, Hold: f, Argv: []string{"x"}, Warn: func(format string, args ...any) {
			f.warned = append(f.warned, fmt.Sprintf(format, args...))
		}}
		if f.lease != nil {
			job.Lease = f.lease
		}
		f.l = newLoop(job, f.world())
		f.l.control.requests = make(chan *request)
		ctx, cancel := context.WithCancel(t.Context())
		f.cancel = cancel
		defer cancel()
		go func() { f.result <- f.l.run(ctx, f.signals, f.chld) }()
		test(f)
		// End what the test left running.
		f.state()
		if f.l.goal != over {
			f.l.post(func() {
				f.deaf = map[int]bool{}
				for pid := range f.alive {
					f.end(pid, 0)
				}
			})
		}
		f.handOver()
		select {
		case <-f.gone:
		default:
			close(f.gone)
		}
		for f.state() != "finished" {
			f.signals <- unix.SIGTERM
			f.sleep(time.Hour)
		}
		await.Pass(time.Hour) // let pending timers fire
	})
}
