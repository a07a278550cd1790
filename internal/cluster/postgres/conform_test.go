package postgres_test

import (
	"context"
	"testing"
	"time"

	"lifeline/internal/cluster/engine"
	"lifeline/internal/cluster/enginetest"
	"lifeline/internal/cluster/postgres"
)

func TestConform(t *testing.T) {
	server := enginetest.Postgres(t)
	if err := postgres.Init(t.Context(), server); err != nil {
		t.Fatal(err)
	}
	if err := postgres.Init(t.Context(), server); err != nil {
		t.Fatalf("a second time: %v", err)
	}
	enginetest.Suite{
		Open: func(ctx context.Context, name string) (engine.Engine, error) {
			return postgres.Open(ctx, server, name)
		},
		TTL: 1500 * time.Millisecond, Slack: 500 * time.Millisecond,
	}.Run(t)
}
