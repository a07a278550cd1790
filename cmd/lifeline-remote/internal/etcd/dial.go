package etcd

import (
	"context"
	"net/http"
	"os"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"lifeline/internal/cluster/engine"
)

// dial is an attempt to make a new client. With a user and a password it needs a token,
// which may take a busy etcd most of a second (bcrypt). So the attempt goes on after the
// call has run out of time, and the next call uses its client.
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

// ended reports whether c or err is there.
func (d *dial) ended() bool {
	select {
	case <-d.done:
		return true
	default:
		return false
	}
}

// dialing returns the attempt under way with this configuration, or starts an attempt.
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

// abandon closes the attempt's client when it is made.
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

// takeUp replaces the client by that of a successful attempt.
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
	e.http = &http.Client{Transport: e.transport()} // requests of the old one may be under way
	_ = old.Close()                                 // closing ends its watch, too
}

// takeUpReady takes up an attempt that has succeeded, without waiting.
func (e *Etcd) takeUpReady() {
	e.mu.Lock()
	d := e.next
	e.mu.Unlock()
	if d != nil && d.ended() && d.err == nil {
		e.takeUp(d)
	}
}

// Reconnect makes a new client. The old client would keep a dead connection until its
// keepalive gives up (at least 10 s), and its old password and endpoints.
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

// lookEvery is the pause between two reads of a file that has a password.
const lookEvery = 300 * time.Millisecond

// fromFile reports whether the password may be replaced while this runs.
func fromFile(typed string) bool {
	return strings.HasPrefix(typed, "@") || os.Getenv(engine.EnvPasswordFile) != ""
}

// refresh makes a new client when the password's file has changed, because etcd may refuse
// the old token at the next renewal. A refused password may be newer than etcd's, so
// refresh tries it again with growing pauses.
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
