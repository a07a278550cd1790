package etcd_test

import (
	"context"
	"testing"
	"time"

	"lifeline/cmd/lifeline-remote/internal/etcd"
	"lifeline/internal/cluster/engine"
	"lifeline/internal/cluster/enginetest"
	"lifeline/proof/need"
)

func TestConform(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Etcd(t)
	enginetest.Suite{
		Open: func(ctx context.Context, name string) (engine.Engine, error) {
			return etcd.Open(ctx, server, "", name)
		},
		TTL: 2 * time.Second, Slack: 3 * time.Second,
	}.Run(t)
}
