package supervisor

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"lifeline/internal/crash"
	"lifeline/internal/process"
	"lifeline/internal/sdnotify"
	"lifeline/procscan"
)

// HandOverVersion is the version of the state that one lifeline hands to a newer one
// through execve. Both must have the same version.
const HandOverVersion = 1

// handed is the loop's state on its way through execve. The process, its children and
// its descriptors stay; handed has everything else. Times are durations, so the two
// programs need no common clock.
type handed struct {
	Version  int
	Worker   *handedWorker
	Down     time.Duration // until the next start, when there is no worker
	Last     *EndError
	Restarts int
	Starts   []time.Duration // how long ago each start was
	Sockets  []handedSocket
	Store    []sdnotify.Stored
	Workers  int // started so far
	Reloads  int
	Reply    int // the connection of the command that asked for the hand-over
	Announce bool
}

type handedWorker struct {
	Generation      string
	PID             int
	Start           uint64
	Ours            bool
	Group           int
	Age, Up         time.Duration
	Deadline, Alarm time.Duration // left; 0 for none
	Period          time.Duration
	Status          string
	Notify, Line    int // descriptors; 0 for none
	Rest            []byte
	Cgroup          string
}

type handedSocket struct {
	Socket
	FD int
}

// onSelf hands over to a newer lifeline in this process.
func (l *loop) onSelf(r *request) {
	first := false
	l.sys.thread(func() { first = onFirstThread() })
	switch w := l.cur; {
	case l.job.Become == nil:
		r.answer("error a lifeline with --cluster can't replace itself: lifeline terminate hands the name over, and " +
			"the next tick starts the new one")
		return
	case !first:
		// execve ends every other thread, and the end of the thread that started the
		// worker would send the death signal.
		r.answer("error it can't be replaced in place: it wasn't started on the first thread")
		return
	case l.next != nil || len(l.leaving) > 0 || !l.reload.again.IsZero():
		r.answer("error a reload is on its way: ask again when it is over")
		return
	case w != nil && (w.state != up || w.ending == killing):
		r.answer(fmt.Sprintf("error the worker is %s: ask again when it is up", w.state))
		return
	}
	err := l.handOver(r)
	l.job.Warn("reload --self failed, this lifeline goes on: %v", err)
	r.answer(fmt.Sprintf("error the old lifeline goes on: %v", err))
}

// handOver collects the state and becomes the newer lifeline. It returns only an
// error, and the loop is then as it was.
func (l *loop) handOver(r *request) (err error) {
	left := func(t time.Time) time.Duration {
		if t.IsZero() {
			return 0
		}
		return max(time.Until(t), 1)
	}
	h := handed{Version: HandOverVersion, Down: left(l.at), Restarts: l.back.restarts, Announce: l.announce,
		Workers: l.starts, Reloads: l.reloads}
	errors.As(l.last, &h.Last)
	for _, t := range l.back.starts {
		h.Starts = append(h.Starts, time.Since(t))
	}
	// Duplicates go through execve; lifeline's own descriptors stay as they are.
	var passed []int
	defer func() {
		for _, fd := range passed {
			_ = unix.Close(fd)
		}
	}()
	pass := func(fd int) int {
		dup, dupErr := unix.FcntlInt(uintptr(fd), unix.F_DUPFD, 10)
		if dupErr != nil {
			err = fmt.Errorf("cannot duplicate a descriptor: %w", dupErr)
			return 0
		}
		passed = append(passed, dup)
		return dup
	}
	for _, s := range l.sockets.list {
		h.Sockets = append(h.Sockets, handedSocket{s.Socket, pass(s.fd)})
	}
	for _, s := range l.store.List() {
		s.FD = pass(s.FD)
		h.Store = append(h.Store, s)
	}
	if conn, ok := r.conn.(*net.UnixConn); ok {
		if raw, rawErr := conn.SyscallConn(); rawErr == nil {
			_ = raw.Control(func(fd uintptr) { h.Reply = pass(int(fd)) })
		}
	}
	if w := l.cur; w != nil {
		w.check.plan(w) // ends a running check
		w.hear()
		hw := &handedWorker{
			Generation: w.generation, PID: w.id.PID, Start: w.id.Start, Ours: w.ours, Group: w.group,
			Age: time.Since(w.began), Up: time.Since(w.ready), Deadline: left(w.deadline), Alarm: left(w.alarm),
			Period: w.period, Status: w.status,
		}
		h.Worker = hw
		if w.cgroup != nil {
			hw.Cgroup = w.cgroup.Path()
		}
		if w.line != nil {
			w.onLine()
			w.line.mu.Lock()
			defer w.line.mu.Unlock()
			hw.Rest = w.line.rest
			if raw, rawErr := w.line.f.SyscallConn(); rawErr == nil {
				_ = raw.Control(func(fd uintptr) { hw.Line = pass(int(fd)) })
			}
		}
		if real, ok := w.notify.(*sdnotify.Receiver); ok {
			fd, rest, detachErr := real.Detach()
			if detachErr != nil {
				return detachErr
			}
			defer func() { // after a failure, listen again
				again, adoptErr := sdnotify.Adopt(fd, sdnotify.Options{Member: w.member})
				if adoptErr != nil {
					l.job.Warn("cannot listen to the worker any more: %v", adoptErr)
					return
				}
				w.notify = again
				go w.listen(again)
			}()
			for _, m := range rest {
				w.onMessage(&m)
				m.Close()
			}
			hw.Notify = pass(fd)
		}
	}
	if err != nil {
		return err
	}
	state, err := json.Marshal(h)
	if err != nil {
		return fmt.Errorf("cannot write the state down: %w", err)
	}
	l.sys.thread(func() { err = l.job.Become(state) })
	return err
}

// restore takes over the state that an older lifeline has handed over.
func (l *loop) restore(state []byte) error {
	var h handed
	err := json.Unmarshal(state, &h)
	if err != nil || h.Version != HandOverVersion {
		return fmt.Errorf("cannot read what the old lifeline handed over (version %d, %w)", h.Version, err)
	}
	after := func(d time.Duration) time.Time {
		if d <= 0 {
			return time.Time{}
		}
		return time.Now().Add(d)
	}
	l.at, l.back.restarts, l.announce = after(h.Down), h.Restarts, h.Announce
	l.starts, l.reloads, l.settled = h.Workers, h.Reloads, true
	crash.Point("handover.restored")
	l.control.listen(l.job.Hold.Control(), l.job.Warn)
	if h.Last != nil {
		l.last = h.Last
	}
	for _, age := range h.Starts {
		l.back.starts = append(l.back.starts, time.Now().Add(-age))
	}
	for _, s := range h.Sockets {
		unix.CloseOnExec(s.FD)
		o := openSocket{Socket: s.Socket, fd: s.FD}
		if o.hasFile() {
			if o.file, err = os.Lstat(o.spare()); err != nil {
				o.made()
			}
		}
		l.sockets.list = append(l.sockets.list, o)
	}
	l.sockets.watch()
	for _, s := range h.Store {
		unix.CloseOnExec(s.FD)
		if err := l.store.Add(s.Name, s.FD, s.Poll); err != nil {
			l.job.Warn("cannot keep a descriptor for the worker: %v", err)
		}
	}
	if h.Reply != 0 {
		unix.CloseOnExec(h.Reply)
		f := os.NewFile(uintptr(h.Reply), "reply")
		if conn, err := net.FileConn(f); err == nil {
			(&request{conn: conn}).answer(fmt.Sprintf("ok pid %d goes on", os.Getpid()))
		}
		f.Close()
	}
	if h.Worker == nil {
		return nil
	}
	hw := h.Worker
	w := l.newWorker(hw.Generation)
	w.id = procscan.ID{PID: hw.PID, Start: hw.Start}
	w.ours, w.group, w.period, w.status = hw.Ours, hw.Group, hw.Period, hw.Status
	w.pid = hw.PID
	w.began, w.ready = time.Now().Add(-hw.Age), time.Now().Add(-hw.Up)
	w.state, w.deadline, w.alarm = up, after(hw.Deadline), after(hw.Alarm)
	l.cur = w
	if hw.Cgroup != "" {
		if c, err := process.OpenCgroup(hw.Cgroup); err == nil {
			w.cgroup = c
		}
	}
	w.limitMemory()
	w.check.plan(w)
	w.planWeighing()
	w.recycleAt = l.o.Recycle.next(w.lived(), time.Now())
	if hw.Line != 0 {
		unix.CloseOnExec(hw.Line)
		if err := w.takeLine(hw.Line, hw.Rest); err != nil {
			l.job.Warn("%v", err)
		}
	}
	if hw.Notify != 0 {
		r, err := sdnotify.Adopt(hw.Notify, sdnotify.Options{Member: w.member})
		if err != nil {
			l.job.Warn("cannot listen to the worker any more: %v", err)
		} else {
			w.notify = r
			go w.listen(r)
		}
	}
	if s, err := procscan.Lookup(w.id.PID); !w.ours || err != nil || s.PPID != os.Getpid() {
		w.watch(w.id) // not lifeline's child, so SIGCHLD doesn't tell of its end
	}
	return nil
}
