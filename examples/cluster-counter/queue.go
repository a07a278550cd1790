//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
)

// schema makes the queue, which is a table. NOTIFY says that the queue has a
// message, and SKIP LOCKED gives each message to one listener only.
const schema = `
create table if not exists counter (one boolean primary key default true check (one), number bigint not null, fence bigint not null);
insert into counter values (true, 0, 0) on conflict do nothing;
create table if not exists message (number bigint primary key, counted_by text not null);
`

// connect connects to $DATABASE and makes the tables. Two programs may do that
// at once.
func connect(ctx context.Context) (*pgx.Conn, error) {
	conn, err := pgx.Connect(ctx, os.Getenv("DATABASE"))
	if err != nil {
		return nil, fmt.Errorf("cannot reach PostgreSQL (set DATABASE to its URL): %w", err)
	}
	_, err = conn.Exec(ctx, "begin; select pg_advisory_xact_lock(7);"+schema+"commit")
	return conn, err
}

// publish does the work that may run only once. After a machine was suspended, two
// publishers may run for a moment. The older one then has a lower fence: its update
// finds no row, and it ends.
func publish(ctx context.Context) error {
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	fence, _ := strconv.ParseInt(os.Getenv("LIFELINE_FENCE"), 10, 64)
	node := os.Getenv("NODE")
	clock := time.NewTicker(time.Second)
	defer clock.Stop()
	for {
		var number int64
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			err := tx.QueryRow(ctx, "update counter set number = number + 1, fence = $1 where fence "+
				"<= $1 returning number",
				fence).Scan(&number)
			if errors.Is(err, pgx.ErrNoRows) {
				return fmt.Errorf("another publisher has a higher fence than %d: this publisher has come too late",
					fence)
			}
			if err == nil {
				_, err = tx.Exec(ctx, "insert into message values ($1, $2)", number, node)
			}
			if err == nil {
				_, err = tx.Exec(ctx, "notify message")
			}
			return err
		})
		if err != nil {
			return err
		}
		fmt.Printf("%s counts %d\n", node, number)
		select {
		case <-ctx.Done():
			return nil
		case <-clock.C:
		}
	}
}

// listen takes every message that no other listener has. It deletes a message after
// printing it, so a message of a killed listener goes to another listener.
func listen(ctx context.Context) error {
	conn, err := connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err := conn.Exec(ctx, "listen message"); err != nil {
		return err
	}
	for {
		err := pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			var number int64
			var by string
			err := tx.QueryRow(ctx, `delete from message where number =
				(select number from message order by number for update skip locked limit 1) returning number, counted_by`).Scan(&number, &by)
			if err == nil {
				fmt.Printf("    %s got %d from %s\n", os.Getenv("NODE"), number, by)
			}
			return err
		})
		if errors.Is(err, pgx.ErrNoRows) {
			_, err = conn.WaitForNotification(ctx)
		}
		if err != nil {
			return err
		}
	}
}
