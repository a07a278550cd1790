package etcd

import (
	"context"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lifeline/internal/cluster/engine"
)

// dial is a new client that is being made. With a user and a password that takes
// a token, which may cost a busy etcd most of a second (bcrypt), and so most of
// the time that a call has. The attempt goes on when the call's time is over,
// and the next call takes it up.
type dial struct {
	config *clientv3.Config
	done   chan struct{} // closed when c or err is there
	c      *clientv3.Client
	err    error
}

// alike reports whether two configurations ask for the same token.
func alike(a, b *clientv3.Config) bool {
	return a.Username == b.Username && a.Password == b.Password &&
		strings.Join(a.Endpoints, ",") == strings.Join(b.Endpoints, ",")
}

// ended reports that c or err is there.
func (d *dial) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// dialing is the attempt that is under way with this configuration, or a new one.
func (e *Etcd) dialing(config *clientv3.Config) *dial {
	e.mu.Lock()
	defer e.mu.Unlock()
	if d := e.next; d != nil && alike(d.config, config) && !(d.ended() && d.err != nil) {
		return d
	}
	e.next.abandon()
	d := &dial{config: config, done: make(chan struct{})}
	e.next = d
	go func() {
		d.c, d.err = e.connect(config)
		close(d.done)
	}()
	return d
}

// abandon closes the client when there is one.
func (d *dial) abandon() {
	if d == nil {
		return
	}
	go func() {
		<-d.done
		if d.c != nil {
			_ = d.c.Close()
		}
	}()
}

// takeUp uses the new client of an attempt that has ended well.
func (e *Etcd) takeUp(d *dial) {
	e.mu.Lock()
	if e.next != d {
		e.mu.Unlock()
		return
	}
	old := e.c
	e.next, e.c, e.now, e.config = nil, d.c, d.c, d.config
	e.mu.Unlock()
	e.endBeat()
	e.http.Transport = e.transport()
	_ = old.Close() // which ends its watch
}

// takeUpReady does so where the attempt has ended, without waiting.
func (e *Etcd) takeUpReady() {
	e.mu.Lock()
	d := e.next
	e.mu.Unlock()
	if d != nil && d.ended() && d.err == nil {
		e.takeUp(d)
	}
}

// Reconnect makes a new client. The old one would keep a connection that no
// longer hears anything until its keepalive gives it up (at least 10 s), and the
// password and endpoints that it began with.
func (e *Etcd) Reconnect(ctx context.Context) error {
	config, err := parse(e.typed)
	if err != nil {
		return err
	}
	d := e.dialing(config)
	select {
	case <-d.done:
	case <-ctx.Done():
		return ctx.Err()
	}
	if d.err != nil {
		return d.err
	}
	e.takeUp(d)
	return nil
}

// lookEvery is the pause between two looks at a file that has a password.
const lookEvery = 300 * time.Millisecond

// fromFile reports whether the password may be replaced while this runs.
func fromFile(typed string) bool {
	return strings.HasPrefix(typed, "@") || os.Getenv(engine.EnvPasswordFile) != ""
}

// refresh makes a new client as soon as another password is in its file. The
// token of the old one may be refused at the next renewal, and the new token is
// there by then. A password that etcd refuses may be ahead of etcd's: it is tried
// again, ever more seldom.
func (e *Etcd) refresh(ctx context.Context) {
	defer e.over.Done()
	clock := time.NewTicker(lookEvery)
	defer clock.Stop()
	var after time.Time
	pause := 2 * time.Second
	for {
		select {
		case <-ctx.Done():
			return
		case <-clock.C:
		}
		config, err := parse(e.typed)
		if err != nil || time.Now().Before(after) {
			continue
		}
		e.mu.Lock()
		same := alike(config, e.config)
		e.mu.Unlock()
		if same {
			pause = 2 * time.Second
			continue
		}
		d := e.dialing(config)
		select {
		case <-ctx.Done():
			return
		case <-d.done:
		}
		if d.err != nil {
			after, pause = time.Now().Add(pause), min(2*pause, 30*time.Second)
		}
	}
}
