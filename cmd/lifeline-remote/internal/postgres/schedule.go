package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5" // PostgreSQL's wire protocol

	"lifeline/internal/cluster/engine"
)

// Wish writes the wish and its end into the name's row.
func (p *Postgres) Wish(ctx context.Context, name, node string, lasts time.Duration) error {
	return p.row(ctx, []any{nil}, "SELECT lifeline.make_wish($1, $2, $3::interval)", name, node, micros(lasts))
}

// Mark reads the mark in the name's row.
func (p *Postgres) Mark(ctx context.Context, name string) (m engine.Mark, err error) {
	var claimed, done *time.Time
	err = p.row(ctx, []any{&claimed, &done, &m.Skipped, &m.Serial}, "SELECT claimed, done, skipped, serial FROM "+
		"lifeline.name WHERE name = $1", name)
	if errors.Is(err, pgx.ErrNoRows) {
		return engine.Mark{}, nil
	}
	m.Claimed, m.Done = instant(claimed), instant(done)
	return m, err
}

// Claim moves the mark, and writes the run in the same statement.
func (p *Postgres) Claim(ctx context.Context, from, to engine.Mark, run *engine.Run) error {
	var n int
	sql := "SELECT lifeline.claim($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)"
	args := []any{p.m.Name, p.id, p.fence,
		stamp(from.Claimed), stamp(from.Done), from.Skipped, from.Serial,
		stamp(to.Claimed), stamp(to.Done), to.Skipped, to.Serial}
	if run != nil {
		sql = `WITH claim AS (` + sql + ` AS n), run AS (
			INSERT INTO lifeline.run (name, place, serial, label, node, fence, began, ended, code)
			SELECT $1, $12::bigint, $13::bigint, $14::timestamptz, $15::text, $16::bigint, $17::timestamptz, $18::timestamptz,
				$19::int FROM claim WHERE n = 1
			ON CONFLICT (name, place) DO UPDATE SET serial = excluded.serial, label = excluded.label, node = excluded.node,
				fence = excluded.fence, began = excluded.began, ended = excluded.ended, code = excluded.code)
			SELECT n FROM claim`
		args = append(args, run.Place(), run.Serial, run.Label, run.Node, int64(run.Fence), run.Began, stamp(run.Ended),
			run.Code)
	}
	err := p.row(ctx, []any{&n}, sql, args...)
	switch {
	case err != nil:
		return err
	case n < 0:
		return engine.ErrLost
	case n == 0:
		return engine.ErrClaimed
	}
	return nil
}

// Runs reads the runs' rows.
func (p *Postgres) Runs(ctx context.Context, name string) (runs []engine.Run, err error) {
	err = p.use(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, in(p.schema,
			"SELECT serial, label, node, fence, began, ended, code FROM lifeline.run "+
				"WHERE name = $1 ORDER BY serial DESC"), name)
		if err != nil {
			return p.refine(err)
		}
		defer rows.Close()
		for rows.Next() {
			var r engine.Run
			var ended *time.Time
			if err := rows.Scan(&r.Serial, &r.Label, &r.Node, &r.Fence, &r.Began, &ended, &r.Code); err != nil {
				return err
			}
			r.Label, r.Began, r.Ended = r.Label.UTC(), r.Began.UTC(), instant(ended)
			runs = append(runs, r)
		}
		return p.refine(rows.Err())
	})
	return runs, err
}
