package sdnotify

import (
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The bounds of the queue between the socket and the supervisor's loop. Messages are
// read at once, because a sender blocks after max_dgram_qlen unread messages (unix(7);
// 10 by default). From softQueued on, a heartbeat or status replaces the one before it
// in the queue. At maxQueued messages or maxQueuedFds descriptors reading stops until
// Drain, so a worker that floods waits, and no message is lost.
const (
	softQueued   = 64
	maxQueued    = 512
	maxQueuedFds = 256  // one message may exceed the bound by MaxFds
	maxDrained   = 4096 // datagrams read by one Drain, which must end under a flood
)

func (r *Receiver) full() bool { return len(r.queue) >= maxQueued || r.fds >= maxQueuedFds }

func (r *Receiver) take() []Message {
	q := r.queue
	r.queue, r.fds = nil, 0
	return q
}

// pump reads into the queue until the socket is empty, the queue is full, or limit
// datagrams have been read. It returns whether the socket is empty. The caller holds
// r.mu.
func (r *Receiver) pump(fd, limit int) bool {
	for range limit {
		if r.full() {
			return false
		}
		d, err := recv(fd, r.buf, r.oob)
		switch {
		case err == unix.EAGAIN:
			return true
		case err == unix.EINTR:
		case err != nil:
			// A worker can't cause this error. Reading goes on, because a worker whose
			// heartbeats are missed would be killed.
			r.warn("recv", fmt.Sprintf("cannot read the notify socket: %v", err))
			return true
		default:
			d.received = time.Now() // before the check of the sender, which takes time
			r.accept(d)
		}
	}
	return false
}

// datagram is the result of one recvmsg.
type datagram struct {
	data      []byte // valid until the next recvmsg
	fds       []int
	sender    Sender
	received  time.Time
	truncated bool
}

func (r *Receiver) accept(d datagram) {
	keep := false
	defer func() {
		if !keep {
			closeAll(d.fds)
		}
	}()
	if !r.trusted(d.sender) {
		return
	}
	if d.truncated {
		r.dropped.Truncated++
		r.warn("truncated", fmt.Sprintf("ignored a notify message of process %d: it has more than %d bytes or %d "+
			"descriptors, or there was no room for its descriptors; send less at once",
			d.sender.PID, MaxMessage, MaxFds))
		return
	}
	m, err := Parse(d.data)
	if err == nil && m.Barrier && len(d.fds) != 1 {
		err = fmt.Errorf("BARRIER=1 came with %d descriptors; send exactly one", len(d.fds))
	}
	if err != nil {
		r.dropped.Malformed++
		r.warn("malformed", fmt.Sprintf("ignored a notify message of process %d: %v", d.sender.PID, err))
		return
	}
	if m.content == 0 {
		return // only unknown assignments
	}
	m.Sender, m.Received = d.sender, d.received
	if m.FDStore || m.Barrier {
		m.Fds, keep = d.fds, true
		r.fds += len(d.fds)
	}
	r.enqueue(m)
}

// enqueue appends m. In a long queue a heartbeat or status replaces the sender's last
// one, unless another kind of message has come in between.
func (r *Receiver) enqueue(m Message) {
	if len(r.queue) >= softQueued && m.content == hasHeartbeat {
		for i := len(r.queue) - 1; i >= 0 && r.queue[i].content == hasHeartbeat; i-- {
			old := &r.queue[i]
			if old.Sender != m.Sender {
				continue
			}
			m.Watchdog = m.Watchdog || old.Watchdog
			if !m.HasStatus {
				m.Status, m.HasStatus = old.Status, old.HasStatus
			}
			r.queue = slices.Delete(r.queue, i, i+1)
			break
		}
	}
	r.queue = append(r.queue, m)
}

func (r *Receiver) trusted(s Sender) bool {
	switch {
	case !s.Known && !haveCredentials:
		return true
	case !s.Known || s.PID <= 0:
		// Process id 0 means that the sender lives in a pid namespace hidden from here.
		r.dropped.Forged++
		r.warn("forged", "ignored a notify message whose sender is not known; send it from a process "+
			"that this one can see")
		return false
	case r.member == nil && (s.UID == 0 || s.UID == uint32(os.Geteuid())):
		return true
	case r.member != nil && r.member(s.PID):
		return true
	case r.member != nil && exited(s.PID):
		r.dropped.Gone++
		r.warn("gone", fmt.Sprintf("ignored a notify message of process %d, which exited before it could be checked; "+
			"let the sender wait: use systemd-notify without --no-block, or sd_notify_barrier(3) at its end", s.PID))
		return false
	}
	r.dropped.Forged++
	r.warn("forged", fmt.Sprintf("ignored a notify message of process %d (user %d), which is not part of the worker; "+
		"only processes started by the worker may send one", s.PID, s.UID))
	return false
}

// warn keeps one warning of each kind, because a flood of messages must not become a
// flood of warnings.
func (r *Receiver) warn(kind, text string) {
	if r.warned[kind] {
		return
	}
	if r.warned == nil {
		r.warned = make(map[string]bool)
	}
	r.warned[kind] = true
	r.warnings = append(r.warnings, text)
}
