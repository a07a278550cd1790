// Package postgres is the engine on PostgreSQL 12 or later.
//
//	postgres://USER@HOST:5432,HOST:5432/DATABASE?sslmode=verify-full
//
// The address and the environment (PGPASSWORD, PGPASSFILE, PGSSLCERT, …) are libpq's own.
// A lease is a row in which its session counts beats. lifeline-remote init installs
// schema.sql, the database's part. Because the database's clock may be set, other nodes
// measure beats by their own clocks (beats.go). A slot is free after a whole TTL without a
// beat.
package postgres

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	_ "embed"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5" // PostgreSQL's wire protocol
	"github.com/jackc/pgx/v5/pgconn"

	"lifeline/internal/cluster/address"
	"lifeline/internal/cluster/engine"
)

//go:embed schema.sql
var schema string

// Schema returns the SQL of lifeline-remote init.
func Schema(team string) string { return in(schemaOf(team), schema) }

// schemaOf returns the schema of a team's names.
func schemaOf(team string) string {
	if team == "" {
		return "lifeline"
	}
	return "lifeline_" + team
}

// forTeam returns the variable for a lifeline-remote command about the schema.
func forTeam(schema string) string {
	if team, is := strings.CutPrefix(schema, "lifeline_"); is {
		return engine.EnvPrefix + "=" + team + " "
	}
	return ""
}

var isSchema = regexp.MustCompile(`\blifeline([.;'])`)

// in replaces the schema lifeline by a schema in SQL. A team's schema needs no quotes.
func in(schema, sql string) string { return isSchema.ReplaceAllString(sql, schema+"$1") }

const version = 3 // of the schema

// Postgres is the engine. It has one connection (line.go).
type Postgres struct {
	url          string
	config       *pgx.ConnConfig // as first read, for messages
	name         string
	hash         string // of the name, in notifications
	schema       string
	line         *line
	m            engine.Member
	id           string // of the session, "" for none
	fence        int64
	changes      chan struct{}
	stop         context.CancelFunc
	over         sync.WaitGroup
	observations observations
	epoch        string // at the last Look
}

// Open connects to PostgreSQL for a team's name. "" is no team; with the name "" the
// engine only looks.
func Open(ctx context.Context, url, team, name string) (*Postgres, error) {
	config, err := parse(url)
	if err != nil {
		return nil, err
	}
	p := &Postgres{url: url, config: config, name: name, hash: fmt.Sprintf("%x", sha256.Sum256([]byte(name))),
		schema: schemaOf(team), changes: make(chan struct{}, 1), line: newLine()}
	listening, stop := context.WithCancel(context.Background())
	p.stop = stop
	err = p.use(ctx, p.check)
	if err == nil && name != "" {
		err = p.use(ctx, p.subscribe)
	}
	if err != nil {
		p.Close()
		return nil, err
	}
	if name != "" {
		p.over.Add(1)
		go p.listen(listening)
	}
	return p, nil
}

// connect opens a connection. It reads the files of the password and the certificates
// again, because an operator may have replaced them.
func (p *Postgres) connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := parse(p.url)
	if err != nil {
		return nil, err
	}
	c, err := dial(ctx, config)
	return c, p.refine(err)
}

// row runs a query that returns one row.
func (p *Postgres) row(ctx context.Context, into []any, sql string, args ...any) error {
	return p.use(ctx, func(ctx context.Context, c *pgx.Conn) error { return p.ask(ctx, c, into, sql, args...) })
}

func (p *Postgres) ask(ctx context.Context, c *pgx.Conn, into []any, sql string, args ...any) error {
	return p.refine(c.QueryRow(ctx, in(p.schema, sql), args...).Scan(into...))
}

// Changes rings when something about the name has changed.
func (p *Postgres) Changes() <-chan struct{} { return p.changes }

// Close ends the connection, not the session.
func (p *Postgres) Close() {
	p.stop()
	p.over.Wait()
	p.line.close()
}

func micros(d time.Duration) string { return fmt.Sprintf("%d microseconds", d.Microseconds()) }

// Join makes a row for the session.
func (p *Postgres) Join(ctx context.Context, m engine.Member) (time.Duration, error) {
	if p.id != "" { // a session that was lost, or a request without an answer
		_ = p.Leave(ctx)
	}
	p.m, p.id, p.fence = m, rand.Text(), 0
	var theirs string
	err := p.row(ctx, []any{&theirs}, "SELECT lifeline.join_name($1, $2, $3, $4::interval, $5, $6)", m.Name, p.id,
		m.Node, micros(m.TTL), m.Options, m.Force)
	if err == nil && theirs != "" {
		p.id = ""
		err = engine.Disagree(theirs, m.Options)
	}
	return m.TTL, err
}

// Renew counts a beat.
func (p *Postgres) Renew(ctx context.Context) (time.Duration, error) {
	var ok bool
	err := p.row(ctx, []any{&ok}, "SELECT lifeline.renew($1, $2)", p.id, p.fence)
	if err == nil && !ok {
		err = engine.ErrLost
	}
	return p.m.TTL, err
}

// Acquire takes a slot.
func (p *Postgres) Acquire(ctx context.Context, above uint64) (engine.Grant, error) {
	var fence int64
	if p.epoch == "" {
		if _, err := p.Look(ctx, p.m.Name); err != nil {
			return engine.Grant{}, err
		}
	}
	dead, beats := p.observations.dead(p.id)
	err := p.row(ctx, []any{&fence}, "SELECT lifeline.acquire($1, $2, $3, $4, $5, $6, $7, $8)",
		p.m.Name, p.id, p.m.Slots, p.m.Options, p.epoch, int64(above), dead, beats)
	switch {
	case err != nil:
		return engine.Grant{}, err
	case fence == -2:
		p.epoch = ""
		return engine.Grant{}, &engine.Taken{}
	case fence < 0:
		return engine.Grant{}, engine.ErrLost
	case fence == 0:
		return engine.Grant{}, &engine.Taken{After: p.observations.after(p.id)}
	}
	p.fence = fence
	if uint64(fence) <= above { // the session's slot of a time to which the database has gone back
		return engine.Grant{}, cmp.Or(p.Release(ctx), error(&engine.Taken{}))
	}
	return engine.Grant{Fence: uint64(fence)}, nil
}

// Release gives the slot back.
func (p *Postgres) Release(ctx context.Context) error {
	if p.fence == 0 {
		return nil
	}
	err := p.row(ctx, []any{nil}, "SELECT lifeline.release($1, $2, $3)", p.m.Name, p.id, p.fence)
	if err == nil {
		p.fence = 0
	}
	return err
}

// Leave deletes the session's row.
func (p *Postgres) Leave(ctx context.Context) error {
	if p.id == "" {
		return nil
	}
	err := p.row(ctx, []any{nil}, "SELECT lifeline.leave($1, $2)", p.m.Name, p.id)
	if err == nil {
		p.id, p.fence = "", 0
	}
	return err
}

// Look reads the living sessions and removes the dead ones.
func (p *Postgres) Look(ctx context.Context, name string) (v engine.View, err error) {
	err = p.use(ctx, func(ctx context.Context, c *pgx.Conn) error {
		v, err = p.look(ctx, c, name)
		return err
	})
	if dead, beats := p.observations.dead(p.id); err == nil && p.fence > 0 && len(dead) > 0 {
		err = p.row(ctx, []any{nil}, "SELECT lifeline.bury($1, $2, $3)", name, dead, beats)
	}
	return v, err
}

func (p *Postgres) look(ctx context.Context, c *pgx.Conn, name string) (v engine.View, err error) {
	sent := time.Now()
	rows, err := c.Query(ctx, in(p.schema, `SELECT lifeline.epoch(), (pg_current_wal_insert_lsn() - '0/0')::bigint, clock_timestamp(),
			n.name, CASE WHEN n.wish_until > clock_timestamp() THEN coalesce(n.wish, '') ELSE '' END,
			n.claimed, n.done, n.skipped, n.serial, n.fence, m.id, m.node, m.since, m.slot, m.fence, m.joined, m.beat, m.ttl,
			clock_timestamp() - m.renewed, m.ahead, (SELECT coalesce(array_agg(node), '{}') FROM lifeline.drain
				WHERE until IS NULL OR until > clock_timestamp())
		FROM (SELECT) one LEFT JOIN lifeline.name n ON $1 IN ('', n.name) AND n.name <> '' LEFT JOIN lifeline.member m ON m.name = n.name
		ORDER BY n.name, m.slot NULLS LAST, m.since`), name)
	if err != nil {
		return v, p.refine(err)
	}
	defer rows.Close()
	type row struct {
		name, wish, id, node *string
		claimed, done, since *time.Time
		skipped, serial      *int64
		top, fence           *int64
		slot                 *int
		joined, beat         *int64
		ttl, age, ahead      *time.Duration
	}
	var list []row
	var clock time.Time
	var lsn int64
	for rows.Next() {
		var r row
		if err := rows.Scan(&v.Epoch, &lsn, &clock, &r.name, &r.wish, &r.claimed, &r.done,
			&r.skipped, &r.serial, &r.top,
			&r.id, &r.node, &r.since, &r.slot, &r.fence, &r.joined, &r.beat, &r.ttl, &r.age, &r.ahead,
			&v.Drained); err != nil {
			return v, err
		}
		list = append(list, r)
	}
	if err := rows.Err(); err != nil {
		return v, p.refine(err)
	}
	v.Revision = uint64(lsn)
	v.History, _, _ = strings.Cut(v.Epoch, ".")
	if p.epoch != "" && p.epoch != v.Epoch {
		p.observations = observations{}
	}
	p.epoch = v.Epoch
	p.observations.look(sent, time.Now(), clock)
	for _, r := range list {
		if r.name == nil {
			continue
		}
		if len(v.States) == 0 || v.States[len(v.States)-1].Name != *r.name {
			v.States = append(v.States, engine.State{Name: *r.name, Wish: *r.wish, Fence: uint64(*r.top),
				Mark: engine.Mark{Claimed: instant(r.claimed), Done: instant(r.done),
					Skipped: *r.skipped, Serial: *r.serial}})
		}
		if r.id == nil {
			continue
		}
		m := engine.Status{ID: *r.id, Node: *r.node, Since: *r.since, Slot: -1, Mine: *r.id == p.id,
			Order: uint64(*r.joined),
			Ahead: r.ahead}
		if r.slot != nil && r.fence != nil {
			m.Slot, m.Fence = *r.slot, uint64(*r.fence)
		}
		if p.id != "" {
			m.TTL = p.observations.left(m.ID, m.Slot >= 0, *r.beat, *r.ttl, *r.age)
		} else { // without a session, the database's clock is enough
			m.TTL = *r.ttl - max(*r.age, 0)
		}
		if m.TTL <= 0 && !m.Mine {
			continue
		}
		last := &v.States[len(v.States)-1]
		last.Members = append(last.Members, m)
	}
	return v, nil
}

// Raise raises the fence and the mark in the name's row.
func (p *Postgres) Raise(ctx context.Context, name string, f engine.Floor) error {
	return p.row(ctx, []any{nil}, "SELECT lifeline.raise_name($1, $2, $3, $4, $5, $6)", name, int64(f.Fence),
		stamp(f.Mark.Claimed), stamp(f.Mark.Done), f.Mark.Skipped, f.Mark.Serial)
}

// Drain writes a row.
func (p *Postgres) Drain(ctx context.Context, node string, lasts time.Duration) error {
	var until *string
	if lasts != engine.Always {
		text := micros(lasts)
		if lasts == engine.Never {
			text = "-1 second"
		}
		until = &text
	}
	return p.row(ctx, []any{nil}, "SELECT lifeline.drain_node($1, $2::interval)", node, until)
}

// Tell writes a column of the session's row.
func (p *Postgres) Tell(ctx context.Context, ahead time.Duration) error {
	var ok bool
	err := p.row(ctx, []any{&ok},
		"WITH told AS (UPDATE lifeline.member SET ahead = $2::interval WHERE id = $1 RETURNING 1) "+
			"SELECT EXISTS (SELECT FROM told)", p.id, micros(ahead))
	if err == nil && !ok {
		err = engine.ErrLost
	}
	return err
}

// Forget removes the rows of a name. A session is dead after a whole TTL without a beat,
// by this machine's clock.
func (p *Postgres) Forget(ctx context.Context, name string) error {
	ids, beats, nodes, longest := []string{}, []int64{}, []string{}, 0.0
	err := p.row(ctx, []any{&ids, &beats, &nodes, &longest}, `SELECT coalesce(array_agg(id), '{}'), coalesce(array_agg(beat), '{}'),
		coalesce(array_agg(node), '{}'), coalesce(max(extract(epoch FROM ttl)), 0)::float8 FROM lifeline.member WHERE name = $1`, name)
	if err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(longest * float64(time.Second))):
	}
	var gone bool
	err = p.row(ctx, []any{&gone}, "SELECT lifeline.forget_name($1, $2, $3)", name, ids, beats)
	if err == nil && !gone {
		return engine.Lives(name, nodes)
	}
	return err
}

// Clock returns the database's clock.
func (p *Postgres) Clock(ctx context.Context, _ func() time.Time) (engine.Clock, error) {
	var at time.Time
	err := p.row(ctx, []any{&at}, "SELECT clock_timestamp()")
	return engine.Engines(at), err
}

// Reconnect does nothing, because a failed connection is closed.
func (p *Postgres) Reconnect(context.Context) error { return nil }

// Test renews a session that doesn't exist.
func (p *Postgres) Test(ctx context.Context) error {
	var ok bool
	return p.row(ctx, []any{&ok}, "SELECT lifeline.renew('', 0)")
}

// Reason returns nil, because the errors of calls have the reason.
func (p *Postgres) Reason(context.Context) error { return nil }

func instant(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.UTC()
}

func stamp(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// Init makes the tables and functions.
func Init(ctx context.Context, url, team string) error {
	config, err := parse(url)
	if err != nil {
		return err
	}
	c, err := dial(ctx, config)
	if err != nil {
		return refine(err, config, schemaOf(team))
	}
	defer c.Close(context.WithoutCancel(ctx))
	_, err = c.PgConn().Exec(ctx, Schema(team)).ReadAll()
	var said *pgconn.PgError
	if errors.As(err, &said) && said.Code == "42501" { // insufficient_privilege
		return engine.Refuse("the user %s may not make the schema %s in %s: have a user who may run what "+
			"`%slifeline-remote init --print %s` prints, and then %s",
			config.User, schemaOf(team), config.Database, forTeam(schemaOf(team)),
			address.Hide(url), grants(config.User, schemaOf(team)))
	}
	return refine(err, config, schemaOf(team))
}

// grants returns the SQL that lets a user other than the owner use the schema.
func grants(user, schema string) string {
	to := pgx.Identifier{user}.Sanitize()
	return "GRANT USAGE ON SCHEMA " + schema + " TO " + to +
		"; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + schema + " TO " + to
}
