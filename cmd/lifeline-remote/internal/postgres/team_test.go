package postgres_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"lifeline/cmd/lifeline-remote/internal/postgres"
	"lifeline/internal/cluster/engine"
	"lifeline/internal/cluster/enginetest"
	"lifeline/proof/need"
)

// TestTeam checks that a user with rights to a single team's names can use the engine
// for them, but can't read or write another team's.
func TestTeam(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Postgres(t)
	teams := []string{"", "web", "web2"}
	for _, team := range teams {
		if err := postgres.Init(t.Context(), server, team); err != nil {
			t.Fatal(err)
		}
	}
	enginetest.SQL(t, server, "CREATE USER web", "GRANT USAGE ON SCHEMA lifeline_web TO web",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA lifeline_web TO web")
	own := strings.Replace(server, "proof@", "web@", 1)
	enginetest.Suite{
		Open: func(ctx context.Context, name string) (engine.Engine, error) {
			return postgres.Open(ctx, own, "web", name)
		},
		TTL: 1500 * time.Millisecond, Slack: 500 * time.Millisecond,
	}.Run(t)

	c, err := pgx.Connect(t.Context(), own)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if _, err := c.Exec(t.Context(), "LISTEN lifeline; LISTEN lifeline_web2"); err != nil {
		t.Fatal(err)
	}
	for _, team := range []string{"", "web2"} {
		e, err := postgres.Open(t.Context(), server, team, "job")
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		enginetest.JoinAlone(t, e)
		heard, err := c.WaitForNotification(t.Context()) // LISTEN needs no right
		if err != nil || strings.Contains(heard.Payload, "job") {
			t.Errorf("web's user hears a name of %q: %v, %v", team, heard, err)
		}
		_, err = postgres.Open(t.Context(), own, team, "job")
		var refused *engine.Refused
		if !errors.As(err, &refused) || !strings.Contains(refused.Text, "permission denied") {
			t.Errorf("web's user is let in to team %q: %v", team, err)
		}
	}
	for _, sql := range []string{"SELECT name FROM lifeline_web2.name", "SELECT lifeline_web2.leave('job', 'x')",
		"DELETE FROM lifeline.member", "SELECT lifeline.epoch()", "CREATE TABLE lifeline_web.other ()"} {
		if _, err := c.Exec(t.Context(), sql); err == nil {
			t.Errorf("web's user may %s", sql)
		}
	}
}
