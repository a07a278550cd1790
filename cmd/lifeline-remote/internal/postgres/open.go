package postgres

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"lifeline/internal/cluster/address"
	"lifeline/internal/cluster/engine"
)

// settings makes the functions look again after they have waited, and makes
// every granted lease survive a crash.
const settings = "SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on"

var secret = regexp.MustCompile(`//[^@/]*@`)

// parse reads the address as libpq does, and adds what must be so.
func parse(url string) (*pgx.ConnConfig, error) {
	if err := address.Check(url); err != nil {
		return nil, engine.Misused("--cluster: %v", err)
	}
	secrets, err := engine.ReadSecrets()
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		var wrong *pgconn.ParseConfigError
		if errors.As(err, &wrong) { // its own words have the address in them
			if inner := errors.Unwrap(err); inner != nil {
				return nil, engine.Misused("--cluster %s: %s", address.Hide(url), secret.ReplaceAllString(inner.Error(), "//"))
			}
		}
		return nil, engine.Misused("--cluster %s can't be read; an address is postgres://USER@HOST:5432/DATABASE",
			address.Hide(url))
	}
	if secrets.User != "" {
		config.User = secrets.User
	}
	if secrets.Password != "" {
		config.Password = secrets.Password
	}
	if config.ConnectTimeout == 0 || config.ConnectTimeout > 5*time.Second {
		config.ConnectTimeout = 3 * time.Second
	}
	if config.ValidateConnect == nil { // several hosts: the one that can be written to
		config.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "lifeline-remote"
	}
	// The settings aren't startup parameters, because poolers refuse those.
	config.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		_, err := c.Exec(ctx, settings).ReadAll()
		return err
	}
	return config, nil
}

// check finds out whether this PostgreSQL can give leases.
func (p *Postgres) check(ctx context.Context) error {
	if err := p.pooled(ctx); err != nil {
		return err
	}
	var number int
	if err := p.row(ctx, []any{&number}, "SELECT current_setting('server_version_num')::int"); err != nil {
		return err
	}
	if number < 120000 {
		return engine.Refuse("this PostgreSQL is version %d.%d: 12 or later is needed", number/10000, number/100%100)
	}
	var n int
	if err := p.row(ctx, []any{&n}, "SELECT max(version) FROM lifeline.version"); err != nil {
		return err
	}
	if n != version {
		return engine.Refuse("lifeline's tables in the database %s are of version %d, this lifeline-remote knows %d: "+
			"install the same one on all nodes, then lifeline-remote init", p.config.Database, n, version)
	}
	return nil
}

// pooled refuses a pooler that gives each transaction another session: LISTEN
// and all settings get lost in one. PostgreSQL tells every client its server
// process at the start; where that isn't the one that answers, there is a
// pooler in between. Whether it pools by transaction shows when two of its
// clients meet the same server process, or one of them meets two.
func (p *Postgres) pooled(ctx context.Context) error {
	a, err := p.conn(ctx)
	if err != nil {
		return err
	}
	pid := func(c interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}) (n uint32, err error) {
		err = c.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&n)
		return n, refine(err, p.config)
	}
	first, err := pid(a)
	if err != nil || first == a.PgConn().PID() {
		return err
	}
	b, err := p.connect(ctx)
	if err != nil {
		return refine(err, p.config)
	}
	defer b.Close(context.WithoutCancel(ctx))
	tx, err := b.Begin(ctx)
	if err != nil {
		return refine(err, p.config)
	}
	other, err := pid(tx)
	if err != nil {
		return err
	}
	again, err := uint32(0), error(nil)
	if other != first {
		if again, err = pid(a); err != nil {
			return err
		}
	}
	_ = tx.Rollback(ctx)
	if other == first || again != first {
		return engine.Refuse("%s is a pooler that changes the session with every transaction (pgbouncer's "+
			"pool_mode=transaction): a lease needs a session of its own; give the address of PostgreSQL itself, or of a "+
			"pool with pool_mode=session",
			fmt.Sprintf("%s:%d", p.config.Host, p.config.Port))
	}
	return nil
}
