package etcd_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"lifeline/cmd/lifeline-remote/internal/etcd"
	"lifeline/internal/cluster/engine"
	"lifeline/internal/cluster/enginetest"
	"lifeline/proof/need"
)

// TestTeam checks that a user with rights to a single team's names can use the engine
// for them, but can't read or write another team's.
func TestTeam(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Etcd(t, "--bcrypt-cost=4") // else many clients at once take seconds
	enginetest.EtcdAuth(t, server, "root", "root")
	admin, err := clientv3.New(clientv3.Config{Endpoints: []string{strings.TrimPrefix(server, "etcd://")},
		Username: "root",
		Password: "root"})
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	end := clientv3.GetPrefixRangeEnd("/web/lifeline/")
	for _, err := range []error{
		second(admin.UserAdd(t.Context(), "web", "secret")),
		second(admin.RoleAdd(t.Context(), "web")),
		second(admin.RoleGrantPermission(t.Context(), "web", "/web/lifeline/", end,
			clientv3.PermissionType(clientv3.PermReadWrite))),
		second(admin.UserGrantRole(t.Context(), "web", "web")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	at := func(user string) string { return strings.Replace(server, "://", "://"+user+"@", 1) }
	enginetest.Suite{
		Open: func(ctx context.Context, name string) (engine.Engine, error) {
			return etcd.Open(ctx, at("web:secret"), "web", name)
		},
		TTL: 3 * time.Second, Slack: 3 * time.Second,
	}.Run(t)
	for _, team := range []string{"", "web2", "db"} {
		e, err := etcd.Open(t.Context(), at("root:root"), team, "job")
		if err != nil {
			t.Fatal(err)
		}
		defer e.Close()
		enginetest.JoinAlone(t, e)
		_, err = etcd.Open(t.Context(), at("web:secret"), team, "job")
		var refused *engine.Refused
		if !errors.As(err, &refused) || !strings.Contains(refused.Text, "readwrite --prefix=true /") {
			t.Errorf("web's user is let in to team %q: %v", team, err)
		}
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: admin.Endpoints(), Username: "web", Password: "secret",
		Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for _, key := range []string{"/lifeline/v2/job/options", "/web2/lifeline/v2/job/options", "/db/lifeline/version"} {
		if _, err := c.Get(t.Context(), key); err == nil {
			t.Errorf("web's user reads %s", key)
		}
		if _, err := c.Delete(t.Context(), key); err == nil {
			t.Errorf("web's user deletes %s", key)
		}
	}
}

// TestTeamClosedAtOnce replaces and closes a team's client while its watch begins.
func TestTeamClosedAtOnce(t *testing.T) {
	need.Time(t, "seconds on a quiet machine")
	server := enginetest.Etcd(t)
	for range 20 {
		e, err := etcd.Open(t.Context(), server, "web", "job")
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Reconnect(t.Context()); err != nil {
			t.Error(err)
		}
		e.Close()
	}
}

func second[T any](_ T, err error) error { return err }
