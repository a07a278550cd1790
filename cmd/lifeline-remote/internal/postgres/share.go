package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"lifeline/internal/cluster/engine"
)

// Share writes a row, and removes rows that are too old.
func (p *Postgres) Share(ctx context.Context, text []byte) error {
	return p.shares(p.use(ctx, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, in(p.schema, `WITH old AS (
				DELETE FROM lifeline.status WHERE written < clock_timestamp() - $4::interval AND (name, node) <> ($1, $2))
			INSERT INTO lifeline.status (name, node, text, written) VALUES ($1, $2, $3, clock_timestamp())
			ON CONFLICT (name, node) DO UPDATE SET text = excluded.text, written = excluded.written`), p.m.Name, p.m.Node, text, micros(engine.SharedLasts))
		return err
	}))
}

// Shared reads the rows.
func (p *Postgres) Shared(ctx context.Context) (list []engine.Shared, err error) {
	err = p.use(ctx, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, in(p.schema,
			"SELECT name, node, text FROM lifeline.status ORDER BY name, node LIMIT $1"), engine.MostShared)
		if err != nil {
			return err
		}
		list, err = pgx.CollectRows(rows, pgx.RowToStructByPos[engine.Shared])
		return err
	})
	if err = p.shares(err); errors.Is(err, errNoShares) {
		return nil, nil // no node has shared anything
	}
	return list, err
}

// errNoShares is the error of a database that an older lifeline-remote has prepared.
var errNoShares = errors.New("the database lacks the table lifeline.status, or the right to it: run lifeline-remote " +
	"init once, and the GRANTs again")

// shares turns a missing table or right into errNoShares.
func (p *Postgres) shares(err error) error {
	var said *pgconn.PgError
	// undefined_table, insufficient_privilege
	if errors.As(err, &said) && (said.Code == "42P01" || said.Code == "42501") {
		return errNoShares
	}
	return p.refine(err)
}
