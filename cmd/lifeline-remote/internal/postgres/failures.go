package postgres

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5" // PostgreSQL's wire protocol
	"github.com/jackc/pgx/v5/pgconn"

	"lifeline/internal/cluster/engine"
)

func (p *Postgres) refine(err error) error { return refine(err, p.config, p.schema) }

// refine turns errors that stay until an operator acts into Refused. Codes: PostgreSQL,
// appendix A.
func refine(err error, config *pgx.ConnConfig, schema string) error {
	var said *pgconn.PgError
	var refused *engine.Refused
	switch {
	case err == nil, errors.As(err, &refused):
		return err
	case errors.As(err, &said):
		switch said.Code {
		case "28P01", "28000":
			return engine.Refuse("PostgreSQL doesn't let the user %s in: %s; see PGPASSWORD, PGPASSFILE or %s",
				config.User,
				said.Message, engine.EnvPasswordFile)
		case "3D000":
			return engine.Refuse("there is no database %s: %s", config.Database, said.Message)
		case "3F000", "42P01", "42883": // no schema, table, function
			return engine.Refuse("lifeline's tables aren't in the schema %s of the database %s: %slifeline-remote "+
				"init makes them",
				schema, config.Database, forTeam(schema))
		case "42501":
			return engine.ReadOnly("the user %s lacks a permission: %s; have its owner run %s",
				config.User, said.Message, grants(config.User, schema))
		case "22P05", "22021": // untranslatable_character, character_not_in_repertoire
			return engine.Misused("the database %s can't hold it in its encoding: %s; keep --node to ASCII, or make "+
				"the database with ENCODING 'UTF8'", config.Database, said.Message)
		case "25006":
			return readOnly()
		case "53100", "53400": // disk_full, configuration_limit_exceeded
			return engine.ReadOnly("PostgreSQL has no room left: %s", said.Message)
		}
	}
	text := err.Error()
	if strings.Contains(text, "read only connection") { // of pgconn.ValidateConnectTargetSessionAttrsReadWrite
		return readOnly()
	}
	for _, sign := range []string{"x509: ", "tls: ", "server refused TLS"} {
		if i := strings.Index(text, sign); i >= 0 && !mayBePlain(config) {
			return engine.Refuse("no TLS connection to PostgreSQL: %s", text[i:])
		}
	}
	if errors.As(err, new(*unconnected)) {
		return fmt.Errorf("no connection to PostgreSQL: %s", shorter(text))
	}
	return err
}

// mayBePlain reports whether a connection without TLS is tried, too (sslmode prefer, the
// default). A TLS error is then no refusal, because a server without TLS may only be
// starting.
func mayBePlain(config *pgx.ConnConfig) bool {
	return config.TLSConfig == nil || slices.ContainsFunc(config.Fallbacks, func(f *pgconn.FallbackConfig) bool {
		return f.TLSConfig == nil
	})
}

func readOnly() error {
	return engine.ReadOnly("this PostgreSQL is read-only, a standby or default_transaction_read_only perhaps: name " +
		"the primary, or all of them")
}

// shorter joins the different lines of a text into one, because pgx reports the attempts
// with and without TLS.
func shorter(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "; ")
}
