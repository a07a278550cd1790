package postgres

import (
	"context"
	"errors"
	"fmt"
	neturl "net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"lifeline/internal/cluster/address"
	"lifeline/internal/cluster/engine"
)

// settings makes pgx's SQL independent of the database's encoding and defaults. Read
// committed makes the functions see changes after a wait, and synchronous_commit makes
// granted leases survive a crash.
const settings = "SET client_encoding = 'UTF8'; SET standard_conforming_strings = on; " +
	"SET default_transaction_isolation = 'read committed'; SET synchronous_commit = on"

// parse reads the address as libpq does, and adds what lifeline-remote requires.
func parse(typed string) (*pgx.ConnConfig, error) {
	url, err := address.Read(typed)
	if err == nil && !strings.HasPrefix(url, "postgres") {
		err = errors.New("the address is another engine's now: lifeline terminate NAME, and the next tick uses that")
	}
	if err != nil {
		return nil, engine.Misused("--cluster: %v", err)
	}
	secrets, err := engine.ReadSecrets()
	if err != nil {
		return nil, err
	}
	config, err := pgx.ParseConfig(url)
	if err != nil {
		var wrong *pgconn.ParseConfigError
		var text *neturl.Error
		if inner := errors.Unwrap(err); errors.As(err, &wrong) && inner != nil && !errors.As(inner, &text) {
			return nil, engine.Misused("--cluster %s: %v", address.Hide(url), inner) // other errors contain the address
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
	if config.ValidateConnect == nil { // of several hosts, use the primary
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

// dial connects to the first server that is as asked for. Each address gets its share of
// the time. pgx would give all of it to a machine that has died and so answers nothing.
func dial(ctx context.Context, config *pgx.ConnConfig) (*pgx.Conn, error) {
	list, failed := addresses(ctx, config)
	for i, one := range list {
		asking, cancel := ctx, func() {}
		if end, has := ctx.Deadline(); has {
			asking, cancel = context.WithTimeout(ctx, time.Until(end)/time.Duration(len(list)-i))
		}
		c, err := pgx.ConnectConfig(asking, one)
		cancel()
		if err == nil {
			return c, nil
		}
		if of := new(pgconn.ConnectError); errors.As(err, &of) {
			err = of.Unwrap() // without user and database
		}
		failed = append(failed, err)
	}
	return nil, &unconnected{errors.Join(failed...)}
}

// unconnected is the error of dial: what kept it from each address.
type unconnected struct{ error }

func (u *unconnected) Unwrap() error { return u.error }

// addresses returns a configuration for each address of each host, with and without TLS
// where both may be tried, and the errors of hosts that have no address.
func addresses(ctx context.Context, config *pgx.ConnConfig) (list []*pgx.ConnConfig, failed []error) {
	first := &pgconn.FallbackConfig{Host: config.Host, Port: config.Port, TLSConfig: config.TLSConfig}
	at := map[string]*pgx.ConnConfig{}
	for _, f := range append([]*pgconn.FallbackConfig{first}, config.Fallbacks...) {
		hosts := []string{f.Host}
		if !strings.HasPrefix(f.Host, "/") { // else the directory of a Unix socket
			var err error
			if hosts, err = config.LookupFunc(ctx, f.Host); err != nil {
				failed = append(failed, err)
			}
		}
		for _, host := range hosts {
			key := fmt.Sprintf("%s %d", host, f.Port)
			if one := at[key]; one != nil {
				one.Fallbacks = append(one.Fallbacks, &pgconn.FallbackConfig{Host: host, Port: f.Port,
					TLSConfig: f.TLSConfig})
				continue
			}
			one := config.Copy()
			one.Host, one.Port, one.TLSConfig, one.Fallbacks = host, f.Port, f.TLSConfig, nil
			at[key], list = one, append(list, one)
		}
	}
	return list, failed
}

// check refuses a PostgreSQL that can't grant leases.
func (p *Postgres) check(ctx context.Context, c *pgx.Conn) error {
	if err := p.pooled(ctx, c); err != nil {
		return err
	}
	var number int
	if err := p.ask(ctx, c, []any{&number}, "SELECT current_setting('server_version_num')::int"); err != nil {
		return err
	}
	if number < 120000 {
		return engine.Refuse("this PostgreSQL is version %d.%d: 12 or later is needed", number/10000, number/100%100)
	}
	var n int
	if err := p.ask(ctx, c, []any{&n}, "SELECT max(version) FROM lifeline.version"); err != nil {
		return err
	}
	if n != version {
		return engine.Refuse("lifeline's tables in the database %s are of version %d, this lifeline-remote knows %d: "+
			"install the same one on all nodes, then %slifeline-remote init", p.config.Database, n, version,
			forTeam(p.schema))
	}
	return nil
}

// pooled refuses a pooler that changes the session with each transaction or statement,
// because LISTEN and settings would get lost. A pooler is there if another server process
// answers than PostgreSQL named at the start. A pooler by statement refuses transactions.
// With a pooler by transaction, two clients meet the same server process, or a client
// meets two.
func (p *Postgres) pooled(ctx context.Context, a *pgx.Conn) error {
	pid := func(c interface {
		QueryRow(context.Context, string, ...any) pgx.Row
	}) (n uint32, err error) {
		err = c.QueryRow(ctx, "SELECT pg_backend_pid()", pgx.QueryExecModeSimpleProtocol).Scan(&n)
		return n, p.refine(err)
	}
	refuse := func(unit string) error {
		return engine.Refuse("%s:%d is a pooler that changes the session with every %s (pgbouncer's pool_mode=%s): a "+
			"lease needs a session of its own; give the address of PostgreSQL itself, or of a pool with "+
			"pool_mode=session",
			p.config.Host, p.config.Port, unit, unit)
	}
	first, err := pid(a)
	if err != nil || first == a.PgConn().PID() {
		return err
	}
	b, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer b.Close(context.WithoutCancel(ctx))
	tx, err := b.Begin(ctx)
	var said *pgconn.PgError
	if errors.As(err, &said) && said.Code == "08P01" { // protocol_violation, pgbouncer's word for it
		return refuse("statement")
	}
	if err != nil {
		return p.refine(err)
	}
	other, err := pid(tx)
	if err != nil {
		return err
	}
	again := first
	if other != first {
		if again, err = pid(a); err != nil {
			return err
		}
	}
	_ = tx.Rollback(ctx)
	if other == first || again != first {
		return refuse("transaction")
	}
	return nil
}
