package postgres

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// line is the connection to a server. Calls and the wait for notifications take turns. A
// call interrupts the wait.
type line struct {
	turn   chan struct{} // has its value while nothing uses c
	c      *pgx.Conn     // nil, or closed, after an error: the next call opens a connection
	opened chan struct{} // rung when c has been opened
	listen bool          // a new connection does LISTEN

	mu      sync.Mutex
	calls   int                // calls that wait for their turn
	endWait context.CancelFunc // ends the wait for notifications; nil without a wait
}

func newLine() *line {
	l := &line{turn: make(chan struct{}, 1), opened: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	return l
}

// take waits for the turn of a call.
func (l *line) take(ctx context.Context) error {
	l.mu.Lock()
	l.calls++
	if l.endWait != nil {
		l.endWait()
	}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.calls--
		l.mu.Unlock()
	}()
	select {
	case <-l.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *line) give() { l.turn <- struct{}{} }

// waiting begins the wait for notifications, in its turn. The wait ends with
// the context.
func (l *line) waiting(ctx context.Context) (waiting context.Context, end func()) {
	waiting, cancel := context.WithCancel(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.endWait = cancel
	if l.calls > 0 {
		cancel()
	}
	return waiting, func() {
		l.mu.Lock()
		l.endWait = nil
		l.mu.Unlock()
		cancel()
	}
}

func (l *line) open() bool { return l.c != nil && !l.c.IsClosed() }

func (l *line) close() {
	<-l.turn
	l.drop()
	l.give()
}

func (l *line) drop() {
	if l.c == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = l.c.Close(ctx)
	l.c = nil
}

// use runs call with the connection, which it opens if necessary. It drops a connection
// that has failed.
func (p *Postgres) use(ctx context.Context, call func(context.Context, *pgx.Conn) error) error {
	l := p.line
	if err := l.take(ctx); err != nil {
		return err
	}
	defer l.give()
	if !l.open() {
		l.drop()
		c, err := p.connect(ctx)
		if err != nil {
			return err
		}
		l.c = c
		if l.listen {
			if err := p.subscribe(ctx, c); err != nil {
				l.drop()
				return err
			}
		}
	}
	err := call(ctx, l.c)
	if !intact(err) {
		l.drop()
	}
	return err
}

// intact reports whether a connection can be used after err: an error from the server, or
// a missing row.
func intact(err error) bool {
	var said *pgconn.PgError
	return err == nil || errors.As(err, &said) || errors.Is(err, pgx.ErrNoRows)
}

// subscribe asks for the notifications of this schema.
func (p *Postgres) subscribe(ctx context.Context, c *pgx.Conn) error {
	p.line.listen = true
	if _, err := c.Exec(ctx, "LISTEN "+p.schema); err != nil {
		return p.refine(err)
	}
	select {
	case p.line.opened <- struct{}{}:
	default:
	}
	p.ring() // notifications before LISTEN were missed
	return nil
}

// listen rings for notifications until ctx ends.
func (p *Postgres) listen(ctx context.Context) {
	defer p.over.Done()
	l := p.line
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.turn:
		}
		open := l.open()
		broke := open && !p.hear(ctx)
		l.give()
		if broke { // ring makes the next call open a connection, at random times on all nodes
			select {
			case <-ctx.Done():
			case <-time.After(100*time.Millisecond + rand.N(300*time.Millisecond)):
			}
			p.ring()
		}
		if !open || broke {
			select {
			case <-ctx.Done():
			case <-l.opened:
			}
		}
	}
}

// hear rings until a call wants the connection; false if the connection broke.
func (p *Postgres) hear(ctx context.Context) bool {
	waiting, end := p.line.waiting(ctx)
	defer end()
	for {
		n, err := p.line.c.WaitForNotification(waiting)
		switch {
		case err == nil && (n.Payload == p.hash || n.Payload == p.name): // the payload is the name until the next init
			p.ring()
		case err != nil && waiting.Err() != nil:
			return true
		case err != nil:
			p.line.drop()
			return false
		}
	}
}

func (p *Postgres) ring() {
	select {
	case p.changes <- struct{}{}:
	default:
	}
}
