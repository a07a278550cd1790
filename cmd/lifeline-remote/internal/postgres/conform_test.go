package postgres_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"lifeline/cmd/lifeline-remote/internal/postgres"
	"lifeline/internal/cluster/engine"
	"lifeline/internal/cluster/enginetest"
	"lifeline/proof/need"
)

func TestConform(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Postgres(t)
	if err := postgres.Init(t.Context(), server, ""); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Init(t.Context(), server, ""); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	enginetest.Suite{
		Open: func(ctx context.Context, name string) (engine.Engine, error) {
			return postgres.Open(ctx, server, "", name)
		},
		TTL: 1500 * time.Millisecond, Slack: 500 * time.Millisecond,
	}.Run(t)
}

// TestPasswordRotated checks that the lease is renewed with the new password from the
// file, after all connections have ended.
func TestPasswordRotated(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Postgres(t, "host all proof 127.0.0.1/32 trust", "host all worker 127.0.0.1/32 scram-sha-256")
	if err := postgres.Init(t.Context(), server, ""); err != nil {
		t.Fatal(err)
	}
	c, err := pgx.Connect(t.Context(), server)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	file := filepath.Join(t.TempDir(), "password")
	t.Setenv("LIFELINE_CLUSTER_PASSWORD_FILE", file)
	rotate := func(to string, statements ...string) {
		if err := os.WriteFile(file, []byte(to+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		for _, s := range append(statements, "ALTER USER worker PASSWORD '"+to+"'",
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'worker'") {
			if _, err := c.Exec(t.Context(), s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
	}
	rotate("old", "CREATE USER worker", "GRANT USAGE ON SCHEMA lifeline TO worker",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lifeline TO worker")
	p, err := postgres.Open(t.Context(), strings.Replace(server, "proof@", "worker@", 1), "", "web")
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if _, err := p.Join(t.Context(), engine.Member{Name: "web", Node: "a", TTL: time.Minute, Slots: 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Acquire(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	rotate("new")
	_, _ = p.Renew(t.Context()) // hears that the connection has ended
	if _, err := p.Renew(t.Context()); err != nil {
		t.Errorf("with the new password in the file: %v", err)
	}
}
